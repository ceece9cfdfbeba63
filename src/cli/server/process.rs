//! A server that is started: over its standard input and output it speaks MCP, and whatever else it writes is kept for the case that
//! it does not.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::said;
use super::target::Process;
use mcp_policy::tools::one_line;

/// How long a server may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the first and of the last that a process wrote is kept, in bytes.
const MOST_KEPT: usize = 16 << 10;

/// A process that was started, in a group of its own that ends with us.
pub(super) struct Started {
    child: Box<dyn ChildWrapper>,
    errors: JoinHandle<String>,
    output: Arc<Mutex<Noise>>,
}

/// Its standard output, as a transport reads it. What the transport leaves unread goes back to whoever asks why the process ended.
pub(super) struct ProcessOutput {
    stdout: Option<ChildStdout>,
    noise: Arc<Mutex<Noise>>,
}

impl Drop for ProcessOutput {
    fn drop(&mut self) {
        if let Ok(mut noise) = self.noise.lock() {
            noise.unread = self.stdout.take();
        }
    }
}

/// What a process writes to its standard output that is no message.
#[derive(Default)]
struct Noise {
    kept: Vec<u8>,
    within: Option<bool>,
    unread: Option<ChildStdout>,
}

impl Noise {
    fn hear(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let message = *self.within.get_or_insert(byte == b'{' || byte == b'[');
            if !message && self.kept.len() < MOST_KEPT {
                self.kept.push(byte);
            }
            if byte == b'\n' {
                self.within = None;
            }
        }
    }
}

impl AsyncRead for ProcessOutput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let Some(stdout) = &mut self.stdout else { return Poll::Ready(Ok(())) };
        let read = Pin::new(stdout).poll_read(context, buffer);
        if let (Poll::Ready(Ok(())), Ok(mut noise)) = (&read, self.noise.lock()) {
            noise.hear(buffer.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl Started {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no such command, or it may not be started.
    pub(super) fn new(process: &Process) -> Result<(Started, (ProcessOutput, ChildStdin)), String> {
        let mut command = Command::new(&process.command);
        command.args(&process.arguments).envs(&process.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(directory) = &process.directory {
            command.current_dir(directory);
        }
        let mut command = CommandWrap::from(command);
        command.wrap(KillOnDrop).wrap(ProcessGroup::leader());
        let named = || format!("cannot start `{}`", one_line(&process.command, 100));
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", named()))?;
        let (stdin, stdout) = (child.stdin().take(), child.stdout().take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err(named()) };
        let errors = tokio::spawn(kept(child.stderr().take()));
        let output = Arc::new(Mutex::new(Noise::default()));
        let overheard = ProcessOutput { stdout: Some(stdout), noise: Arc::clone(&output) };
        Ok((Started { child, errors, output }, (overheard, stdin)))
    }

    /// Lets it end, ends it, and returns what it wrote that says why it ended.
    pub(super) async fn end(mut self) -> Option<String> {
        let unread = self.output.lock().ok().and_then(|mut noise| noise.unread.take());
        let rest = tokio::time::timeout(GRACE, unread_rest(unread));
        let (ended, rest) = tokio::join!(tokio::time::timeout(GRACE, self.child.wait()), rest);
        // The whole group: what it started may still hold its standard error open.
        let _ = self.child.start_kill();
        let errors = tokio::time::timeout(GRACE, self.errors).await.ok().and_then(Result::ok);
        let output = self.output.lock().map(|mut noise| {
            noise.hear(&rest.unwrap_or_default());
            String::from_utf8_lossy(&noise.kept).into_owned()
        });
        said::why(&errors.unwrap_or_default(), &output.unwrap_or_default()).or_else(|| {
            let status = ended.ok().and_then(Result::ok).filter(|status| !status.success())?;
            Some(format!("nothing, and ended with {status}"))
        })
    }
}

/// What a process had written and no transport read: it may end before the first message to it is on its way.
async fn unread_rest(stdout: Option<ChildStdout>) -> Vec<u8> {
    let mut rest = Vec::new();
    if let Some(stdout) = stdout {
        // What was read before an error is kept.
        let _ = stdout.take(MOST_KEPT as u64).read_to_end(&mut rest).await;
    }
    rest
}

/// The first and the last of what is written.
async fn kept(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut piece = Vec::with_capacity(4096);
    while let Ok(1..) = stderr.read_buf(&mut piece).await {
        let room = MOST_KEPT.saturating_sub(first.len()).min(piece.len());
        first.extend(piece.drain(..room));
        last.append(&mut piece);
        let surplus = last.len().saturating_sub(MOST_KEPT);
        last.drain(..surplus);
    }
    first.append(&mut last);
    String::from_utf8_lossy(&first).into_owned()
}
