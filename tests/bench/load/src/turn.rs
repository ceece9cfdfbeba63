//! The callers of one row, and their turn.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};

use crate::{Cost, Net, Row, clock, http, server};

/// What comes after an answer, such as the access log, belongs to the call.
const AFTER: Duration = Duration::from_millis(2);

/// An Envoy that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that stay open, each of a caller who makes one call after another.
pub(crate) struct Callers {
    row: Row,
    connections: Vec<Caller>,
}

struct Caller {
    token: Token,
    stream: TcpStream,
    read: Vec<u8>,
    sent: usize,
    began: Instant,
}

impl Callers {
    pub(crate) fn connect(net: &mut Net, row: Row) -> io::Result<Callers> {
        let mut connections = Vec::new();
        for _ in &row.callers {
            let stream = std::net::TcpStream::connect(("127.0.0.1", row.port))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let (token, mut stream) = (net.token(), TcpStream::from_std(stream));
            net.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            let (read, sent, began) = (Vec::new(), 0, Instant::now());
            connections.push(Caller { token, stream, read, sent, began });
        }
        Ok(Callers { row, connections })
    }

    /// One turn: so many calls, and what they cost.
    pub(crate) fn round(&mut self, net: &mut Net, row: usize, calls: usize) -> io::Result<Cost> {
        // The first ones warm the caches that the others' turns have filled.
        let (mut waits, mut wrong) = (Vec::with_capacity(calls), 0);
        self.call(net, 2 * self.connections.len(), &mut waits, &mut wrong)?;
        waits.clear();
        let before = self.cpu()?;
        self.call(net, calls, &mut waits, &mut wrong)?;
        let after = self.cpu()?;
        let spent = after.iter().zip(&before).map(|(after, before)| after - before);
        let cpu = spent.map(|spent| spent as f64 / calls as f64).collect();
        waits.sort_unstable();
        let wait = waits.get(waits.len() / 2).copied().unwrap_or(0);
        let mean_wait = waits.iter().sum::<u64>() / waits.len().max(1) as u64;
        Ok(Cost { row, cpu, wait, mean_wait, wrong })
    }

    fn cpu(&self) -> io::Result<Vec<u64>> {
        std::thread::sleep(AFTER);
        self.row.pids.iter().map(|pid| clock::cpu(*pid)).collect()
    }

    fn call(
        &mut self,
        net: &mut Net,
        calls: usize,
        waits: &mut Vec<u64>,
        wrong: &mut usize,
    ) -> io::Result<()> {
        let (mut sent, mut answered) = (0, 0);
        for (at, caller) in self.connections.iter_mut().enumerate().take(calls) {
            caller.send(&self.row.callers[at])?;
            sent += 1;
        }
        let mut chunk = [0; 65536];
        while answered < calls {
            net.poll.poll(&mut net.events, Some(PATIENCE))?;
            let ready: Vec<Token> = net.events.iter().map(mio::event::Event::token).collect();
            if ready.is_empty() {
                let silent = format!("port {} is silent", self.row.port);
                return Err(io::Error::new(io::ErrorKind::TimedOut, silent));
            }
            for token in ready {
                if server::ready(net, token)? {
                    continue;
                }
                let place = self.connections.iter().position(|caller| caller.token == token);
                let Some(at) = place else { continue };
                let caller = &mut self.connections[at];
                caller.receive(&mut chunk)?;
                while let Some(end) = http::end(&caller.read) {
                    waits
                        .push(u64::try_from(caller.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    let answer: Vec<u8> = caller.read.drain(..end).collect();
                    *wrong += usize::from(!is_right(&answer, &self.row.answer));
                    answered += 1;
                    if sent < calls {
                        caller.send(&self.row.callers[at])?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Caller {
    fn send(&mut self, requests: &[String]) -> io::Result<()> {
        let request = requests.get(self.sent % requests.len()).ok_or(io::ErrorKind::NotFound)?;
        self.sent += 1;
        self.began = Instant::now();
        let mut rest = request.as_bytes();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(size) => rest = &rest[size..],
                // A long body waits until Envoy has read some of it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_micros(50));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        loop {
            match self.stream.read(chunk) {
                Ok(0) => {
                    let said = String::from_utf8_lossy(&self.read).into_owned();
                    let closed = format!(
                        "port {} closed a connection after {said:?}",
                        self.stream.peer_addr()?.port()
                    );
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, closed));
                }
                Ok(size) => self.read.extend_from_slice(&chunk[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_right(answer: &[u8], part: &str) -> bool {
    answer.starts_with(b"HTTP/1.1 200 ") && http::find(answer, part.as_bytes()).is_some()
}
