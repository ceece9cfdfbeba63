//! The MCP server: reads a request to its end, and answers it as it answers all on that port.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};

use crate::{Net, http};

/// Listeners and connections, by token.
#[derive(Default)]
pub(crate) struct Servers {
    listeners: HashMap<Token, (TcpListener, Arc<[u8]>)>,
    connections: HashMap<Token, Connection>,
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    answer: Arc<[u8]>,
}

/// Listens on a port for each answer.
pub(crate) fn listen(net: &mut Net, answers: &[String]) -> io::Result<Vec<u16>> {
    let mut ports = Vec::new();
    for body in answers {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        ports.push(listener.local_addr()?.port());
        let token = net.token();
        net.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        net.servers.listeners.insert(token, (listener, answer.into_bytes().into()));
    }
    Ok(ports)
}

/// Something has happened to one of the server's sockets; false if the token is not one of them.
pub(crate) fn ready(net: &mut Net, token: Token) -> io::Result<bool> {
    if net.servers.listeners.contains_key(&token) {
        accept(net, token)?;
        return Ok(true);
    }
    let Some(connection) = net.servers.connections.get_mut(&token) else { return Ok(false) };
    if !connection.serve() {
        net.servers.connections.remove(&token);
    }
    Ok(true)
}

fn accept(net: &mut Net, listener: Token) -> io::Result<()> {
    loop {
        let token = net.token();
        let Some((socket, answer)) = net.servers.listeners.get(&listener) else { return Ok(()) };
        let answer = answer.clone();
        match socket.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                net.poll.registry().register(&mut stream, token, Interest::READABLE)?;
                let connection = Connection { stream, read: Vec::new(), answer };
                net.servers.connections.insert(token, connection);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

impl Connection {
    /// Reads and answers what there is; false if the connection has ended.
    fn serve(&mut self) -> bool {
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(size) => self.read.extend_from_slice(&chunk[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while let Some(end) = http::end(&self.read) {
            self.read.drain(..end);
            // One answer is under way, so the kernel takes all of it.
            if self.stream.write_all(&self.answer).is_err() {
                return false;
            }
        }
        true
    }
}
