//! The ports on which it answers: each can be shut, muted and opened again, and each connection can be reset.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tonic::transport::server::Connected;

/// How a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Open,
    /// Nobody listens there, and what was connected is reset.
    Shut,
    /// Connections stay, and no byte moves: as behind a network that is cut.
    Muted,
}

/// All ports by number.
pub struct Doors(HashMap<u16, watch::Sender<Door>>);

impl Doors {
    /// Opens the ports; connections come out of the receiver.
    pub async fn open(ports: &[u16]) -> io::Result<(Doors, mpsc::Receiver<io::Result<Wired>>)> {
        let (into, incoming) = mpsc::channel(64);
        let mut doors = HashMap::new();
        for port in ports {
            let listener = TcpListener::bind(("127.0.0.1", *port)).await?;
            let (sender, receiver) = watch::channel(Door::Open);
            tokio::spawn(attend(*port, listener, receiver, into.clone()));
            doors.insert(*port, sender);
        }
        Ok((Doors(doors), incoming))
    }

    /// Sets how a port is, and says whether there is such a port.
    pub fn set(&self, port: u16, door: Door) -> bool {
        self.0.get(&port).is_some_and(|sender| sender.send(door).is_ok())
    }
}

async fn attend(
    port: u16,
    listener: TcpListener,
    mut door: watch::Receiver<Door>,
    into: mpsc::Sender<io::Result<Wired>>,
) {
    let mut listener = Some(listener);
    let mut connected: Vec<Weak<Line>> = Vec::new();
    loop {
        let now = *door.borrow_and_update();
        connected.retain(|line| line.strong_count() > 0);
        for line in connected.iter().filter_map(Weak::upgrade) {
            match now {
                Door::Shut => line.cut(),
                Door::Muted => line.mute(true),
                Door::Open => line.mute(false),
            }
        }
        match now {
            Door::Shut => listener = None,
            Door::Muted => {}
            Door::Open if listener.is_none() => {
                listener = TcpListener::bind(("127.0.0.1", port)).await.ok();
            }
            Door::Open => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = door.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((tcp, _)) = accepted {
                let _ = tcp.set_nodelay(true);
                let line = Arc::new(Line::default());
                line.mute(now == Door::Muted);
                connected.push(Arc::downgrade(&line));
                if into.send(Ok(Wired { tcp, line })).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What tests may do to one connection.
#[derive(Default)]
pub struct Line {
    is_cut: AtomicBool,
    is_muted: AtomicBool,
    waiting: Mutex<[Option<Waker>; 2]>,
}

impl Line {
    /// Resets the connection.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn mute(&self, yes: bool) {
        self.is_muted.store(yes, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }

    /// Whether bytes may move; who may not is woken when that changes.
    fn passes(&self, way: usize, context: &Context<'_>) -> Poll<io::Result<()>> {
        if let Some(place) =
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).get_mut(way)
        {
            *place = Some(context.waker().clone());
        }
        if self.is_cut.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match self.is_muted.load(Ordering::SeqCst) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

/// A connection that can be cut.
pub struct Wired {
    tcp: TcpStream,
    line: Arc<Line>,
}

impl Drop for Wired {
    fn drop(&mut self) {
        if self.line.is_cut.load(Ordering::SeqCst) {
            // With this, closing sends a reset.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl Connected for Wired {
    type ConnectInfo = Arc<Line>;

    fn connect_info(&self) -> Arc<Line> {
        self.line.clone()
    }
}

impl AsyncRead for Wired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.line.passes(0, context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.tcp).poll_read(context, into),
            not_now => not_now,
        }
    }
}

impl AsyncWrite for Wired {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.line.passes(1, context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.tcp).poll_write(context, bytes),
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
