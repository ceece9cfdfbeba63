//! What somebody would write who asks a service of his own for each call (Envoy's `ext_authz`): one thread, which reads the call and looks
//! its tool's name up.
//!
//!     load authorize tool_00 tool_01 …      says its port, and answers until its input ends

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;

use crate::http;

const ALLOWED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const DENIED: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
const LISTENER: Token = Token(0);

/// As much of a call as is looked at.
#[derive(Deserialize)]
struct Call {
    method: String,
    params: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// A connection of Envoy's, and what has come of its next request.
struct Asker {
    stream: TcpStream,
    read: Vec<u8>,
}

/// Answers for ever.
pub(crate) fn serve(tools: HashSet<String>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
    crate::say(&mut io::stdout().lock(), &listener.local_addr()?.port())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut askers: HashMap<Token, Asker> = HashMap::new();
    let mut next = 0;
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    next += 1;
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    askers.insert(Token(next), Asker { stream, read: Vec::new() });
                }
            } else if let Some(asker) = askers.get_mut(&event.token())
                && !asker.answer(&tools)
            {
                askers.remove(&event.token());
            }
        }
    }
}

impl Asker {
    /// Answers what there is; false if the connection has ended.
    fn answer(&mut self, tools: &HashSet<String>) -> bool {
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(size) => self.read.extend_from_slice(&chunk[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while let Some(end) = http::end(&self.read) {
            let body = http::find(&self.read, b"\r\n\r\n").map_or(end, |head| head + 4);
            let answer = if is_allowed(&self.read[body..end], tools) { ALLOWED } else { DENIED };
            self.read.drain(..end);
            if self.stream.write_all(answer).is_err() {
                return false;
            }
        }
        true
    }
}

fn is_allowed(body: &[u8], tools: &HashSet<String>) -> bool {
    let Ok(call) = serde_json::from_slice::<Call>(body) else { return false };
    let name = call.params.and_then(|params| params.name);
    call.method != "tools/call" || name.is_some_and(|name| tools.contains(&name))
}
