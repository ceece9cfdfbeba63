//! An MCP client that connects, reads every page of `tools/list`, and leaves.
#![expect(clippy::wildcard_enum_match_arm, reason = "the errors are foreign enums")]

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::process::Stdio;
use std::time::Duration;

use process_wrap::tokio::{CommandWrap, KillOnDrop, ProcessGroup};
use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, PaginatedRequestParams, ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, ClientServiceExt as _, RunningService, ServiceError};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};
use rmcp::transport::{IntoTransport, StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientLifecycleMode, RoleClient};
use tokio::io::AsyncReadExt as _;
use tokio::process::{ChildStderr, Command};

use super::MOST_BYTES;
use super::sse::SseTransport;
use super::target::{Process, Remote, Target};
use mcp_policy::tools::{Tool, one_line};

/// More tools than any server has; a list that goes on is one that never ends.
const MOST_TOOLS: usize = 10_000;
const MOST_PAGES: usize = 1_000;

/// How long a server may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// How much of what a process wrote last is kept, in bytes.
const MOST_LAST_WORDS: usize = 4096;

/// Longest text of an error that is shown.
const MOST_ERROR: usize = 300;

/// Reads the tools of a server; `progress` hears how many there are so far.
///
/// # Errors
/// One line that says what did not work.
pub(in crate::cli) async fn tools(
    target: &Target,
    within: Duration,
    progress: &dyn Fn(usize),
) -> Result<Vec<Tool>, String> {
    let late =
        || format!("no answer within {} s; --timeout sets how long to wait", within.as_secs());
    match target {
        Target::Process(process) => {
            let (transport, stderr) = start(process)?;
            let last_words = tokio::spawn(last_line(stderr));
            let read = tokio::time::timeout(within, read(transport, progress)).await;
            // What it started holds its standard error open, so this is also until all of it has ended: dropped, the
            // transport kills the group, and for that the runtime must still run.
            let words =
                tokio::time::timeout(GRACE, last_words).await.ok().and_then(Result::ok).flatten();
            match (read, words) {
                (Ok(Ok(tools)), _) => Ok(tools),
                (Ok(Err(problem)), Some(words)) => Err(format!("{problem}; it wrote: {words}")),
                (Ok(Err(problem)), None) => Err(problem),
                (Err(_), _) => Err(late()),
            }
        }
        Target::Remote(remote) => {
            let read = tokio::time::timeout(within, read_remote(remote, progress)).await;
            read.unwrap_or_else(|_| Err(late()))
        }
    }
}

/// Over Streamable HTTP; a server that has none is asked again over HTTP with SSE, as the first revision had it.
async fn read_remote(remote: &Remote, progress: &dyn Fn(usize)) -> Result<Vec<Tool>, String> {
    let client = http_client(remote)?;
    if remote.sse {
        return read(SseTransport::connect(client, &remote.url).await?, progress).await;
    }
    let config = StreamableHttpClientTransportConfig::with_uri(remote.url.as_str());
    let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
    let problem = match read(transport, progress).await {
        Ok(tools) => return Ok(tools),
        Err(problem) => problem,
    };
    match SseTransport::connect(client, &remote.url).await {
        Ok(transport) => read(transport, progress).await,
        Err(_) => Err(problem),
    }
}

/// A client that sends these headers with everything, but to no other server.
fn http_client(remote: &Remote) -> Result<reqwest::Client, String> {
    // Whoever comes second finds it installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HashMap::new();
    for (name, value) in &remote.headers {
        let name: HeaderName =
            name.parse().map_err(|_| format!("not a header name: `{}`", one_line(name, 60)))?;
        let mut value: HeaderValue = value.parse().map_err(|_| {
            format!("the value of header `{name}` has characters that a header cannot have")
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let same_server = reqwest::redirect::Policy::custom(|attempt| {
        let first = attempt.previous().first();
        if attempt.previous().len() > 3 {
            attempt.error("too many redirects")
        } else if first.is_some_and(|first| first.origin() == attempt.url().origin()) {
            attempt.follow()
        } else {
            attempt.error("it redirects to another server; scan that one")
        }
    });
    reqwest::Client::builder()
        .default_headers(headers.into_iter().collect())
        .redirect(same_server)
        .connect_timeout(Duration::from_secs(10))
        .build()
        .map_err(|error| cause(&error))
}

/// Starts the server in a process group of its own, which ends with us.
fn start(process: &Process) -> Result<(TokioChildProcess, Option<ChildStderr>), String> {
    let mut command = Command::new(&process.command);
    command.args(&process.arguments).envs(&process.environment);
    if let Some(directory) = &process.directory {
        command.current_dir(directory);
    }
    let mut command = CommandWrap::from(command);
    command.wrap(KillOnDrop).wrap(ProcessGroup::leader());
    let spawned = TokioChildProcess::builder(command).stderr(Stdio::piped()).spawn();
    spawned.map_err(|error| format!("cannot start `{}`: {error}", one_line(&process.command, 100)))
}

/// The last line that says something.
async fn last_line(stderr: Option<ChildStderr>) -> Option<String> {
    let mut stderr = stderr?;
    let mut tail = Vec::new();
    while let Ok(1..) = stderr.read_buf(&mut tail).await {
        let surplus = tail.len().saturating_sub(MOST_LAST_WORDS);
        tail.drain(..surplus);
    }
    let text = String::from_utf8_lossy(&tail);
    text.lines().rev().map(|line| one_line(line, 200)).find(|line| !line.is_empty())
}

async fn read<T, E, A>(transport: T, progress: &dyn Fn(usize)) -> Result<Vec<Tool>, String>
where
    T: IntoTransport<RoleClient, E, A>,
    E: Error + Send + Sync + 'static,
{
    let client = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
    );
    let lifecycle = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    let server = client
        .serve_with_lifecycle(transport, lifecycle)
        .await
        .map_err(|error| unconnected(&error))?;
    let tools = pages(&server, progress).await;
    // What a server makes of our leaving is not our problem.
    let _ = tokio::time::timeout(GRACE, server.cancel()).await;
    tools
}

async fn pages(
    server: &RunningService<RoleClient, ClientConfig>,
    progress: &dyn Fn(usize),
) -> Result<Vec<Tool>, String> {
    let mut tools: Vec<Tool> = Vec::new();
    let mut cursors = HashSet::new();
    let mut cursor: Option<String> = None;
    let mut bytes = 0;
    loop {
        let page = PaginatedRequestParams::default().with_cursor(cursor.clone());
        let page = server.list_tools(Some(page)).await.map_err(|error| unlisted(&error))?;
        let read =
            page.tools.iter().filter_map(|tool| Tool::read(serde_json::to_value(tool).ok()?));
        for tool in read {
            bytes += tool.raw.to_string().len();
            tools.push(tool);
        }
        progress(tools.len());
        cursor = page.next_cursor.map(|cursor| cursor.to_string());
        let Some(next) = cursor.clone() else { return Ok(tools) };
        bytes += next.len();
        if !cursors.insert(next) {
            return Err("tools/list never ends: it gave the same cursor twice".to_owned());
        }
        if tools.len() > MOST_TOOLS || cursors.len() > MOST_PAGES || bytes > MOST_BYTES {
            return Err(format!(
                "tools/list never ends: {} tools on {} pages so far",
                tools.len(),
                cursors.len()
            ));
        }
    }
}

/// Why a connection did not come about, in a few words.
fn unconnected(error: &ClientInitializeError) -> String {
    let words = match error {
        ClientInitializeError::TransportError { error, .. } => of_transport(error.error.as_ref()),
        // The older handshake came second, and is what a server without the newer one would have answered.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
            return unconnected(fallback);
        }
        ClientInitializeError::ConnectionClosed(_) => {
            "it closed the connection without an answer".to_owned()
        }
        ClientInitializeError::JsonRpcError(error) => {
            format!("it answered with an error: {}", error.message)
        }
        other => other.to_string(),
    };
    format!("cannot connect: {}", one_line(&words, MOST_ERROR))
}

fn unlisted(error: &ServiceError) -> String {
    let words = match error {
        ServiceError::TransportSend(error) => of_transport(error.error.as_ref()),
        ServiceError::TransportClosed => "it closed the connection".to_owned(),
        ServiceError::McpError(error) => format!("it answered with an error: {}", error.message),
        other => other.to_string(),
    };
    format!("cannot read tools/list: {}", one_line(&words, MOST_ERROR))
}

fn of_transport(error: &(dyn Error + Send + Sync + 'static)) -> String {
    type Http = StreamableHttpError<reqwest::Error>;
    match error.downcast_ref::<Http>() {
        Some(Http::Client(error)) => cause(error),
        Some(Http::AuthRequired(_) | Http::InsufficientScope(_)) => {
            "it asks for credentials; --bearer-env or --header-env send them".to_owned()
        }
        // The page that came with an HTTP status says no more than the status.
        Some(other) => other.to_string().split(": <").next().unwrap_or_default().to_owned(),
        None => cause(error),
    }
}

/// The innermost cause, which is the one that a person can do something about.
fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
