//! An MCP client that connects, reads every page of `tools/list`, and leaves.
#![expect(clippy::wildcard_enum_match_arm, reason = "the errors are foreign enums")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ClientRequest, Implementation, ListToolsRequest,
    PaginatedRequestParams, ProtocolVersion, ServerResult,
};
use rmcp::service::{ClientInitializeError, ClientServiceExt as _, RunningService, ServiceError};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpError,
};
use rmcp::transport::{IntoTransport, StreamableHttpClientTransport};
use rmcp::{ClientLifecycleMode, RoleClient};
use serde_json::Value;

use super::listing::ToolsRead;
use super::process::Started;
use super::sse::SseTransport;
use super::target::{Process, Remote, Target};
use mcp_policy::tools::one_line;

/// How long a server may take to say good-bye.
const GRACE: Duration = Duration::from_secs(2);

/// Longest text of an error that is shown.
const MOST_ERROR: usize = 300;

/// What has been read so far, and who hears how much it is.
struct ToolsReading<'r> {
    read: RefCell<ToolsRead>,
    progress: &'r dyn Fn(usize),
}

/// Reads the tools of a server; `progress` hears how many there are so far. What came before something went wrong is kept.
///
/// # Errors
/// One line that says what did not work.
pub(super) async fn tools(
    target: &Target,
    within: Duration,
    progress: &dyn Fn(usize),
) -> Result<ToolsRead, String> {
    let reading = ToolsReading { read: RefCell::default(), progress };
    let done = match target {
        Target::Process(process) => {
            match read_process(process, within, newest_first(), &reading).await {
                // It has answered the first question after all, in place of the second.
                Err(Unanswered { crossed: true, .. }) => {
                    let older = ClientLifecycleMode::Initialize;
                    read_process(process, within, older, &reading).await
                }
                other => other,
            }
        }
        Target::Remote(remote) => {
            let done = tokio::time::timeout(within, read_remote(remote, &reading)).await;
            done.unwrap_or_else(|_| Err(late(within).into()))
        }
    };
    let done = done.map_err(|unanswered| unanswered.problem);
    let mut found = reading.read.into_inner();
    match done {
        Ok(()) => Ok(found),
        Err(problem) if found.tools.is_empty() => Err(problem),
        Err(problem) => {
            found.leave_out(format!("the rest of tools/list: {problem}"));
            Ok(found)
        }
    }
}

/// Why nothing could be read.
struct Unanswered {
    problem: String,
    /// Whether a server that is slow to start has answered a question that was given up.
    crossed: bool,
}

impl From<String> for Unanswered {
    fn from(problem: String) -> Unanswered {
        Unanswered { problem, crossed: false }
    }
}

/// Starts a server, reads its tools and ends it.
async fn read_process(
    process: &Process,
    within: Duration,
    lifecycle: ClientLifecycleMode,
    reading: &ToolsReading<'_>,
) -> Result<(), Unanswered> {
    let (started, transport) = Started::new(process)?;
    let done = tokio::time::timeout(within, read(transport, lifecycle, reading)).await;
    let done = done.unwrap_or_else(|_| Err(late(within).into()));
    let words = started.end().await;
    done.map_err(|unanswered| match words {
        Some(words) => Unanswered {
            problem: format!("{}; it wrote: {words}", unanswered.problem),
            ..unanswered
        },
        None => unanswered,
    })
}

/// The newest revision, and where there is none the handshake of the older ones.
fn newest_first() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    }
}

fn late(within: Duration) -> String {
    format!("no answer within {} s; --timeout sets how long to wait", within.as_secs())
}

/// Over Streamable HTTP; a server that has none is asked again over HTTP with SSE, as the first revision had it.
async fn read_remote(remote: &Remote, reading: &ToolsReading<'_>) -> Result<(), Unanswered> {
    let client = http_client(remote)?;
    if remote.sse {
        let transport = SseTransport::connect(client, &remote.url).await?;
        return read(transport, newest_first(), reading).await;
    }
    let config = StreamableHttpClientTransportConfig::with_uri(remote.url.as_str());
    let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
    let Err(problem) = read(transport, newest_first(), reading).await else { return Ok(()) };
    if !reading.read.borrow().tools.is_empty() {
        return Err(problem);
    }
    match SseTransport::connect(client, &remote.url).await {
        Ok(transport) => read(transport, newest_first(), reading).await,
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

async fn read<T, E, A>(
    transport: T,
    lifecycle: ClientLifecycleMode,
    reading: &ToolsReading<'_>,
) -> Result<(), Unanswered>
where
    T: IntoTransport<RoleClient, E, A>,
    E: Error + Send + Sync + 'static,
{
    let client = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
    );
    let server = client.serve_with_lifecycle(transport, lifecycle).await.map_err(|error| {
        Unanswered { problem: unconnected(&error), crossed: has_crossed(&error) }
    })?;
    let called = server.peer_info().and_then(|info| Some(info.server_info.as_ref()?.name.clone()));
    reading.read.borrow_mut().server =
        called.map(|name| one_line(&name, 100)).filter(|name| !name.is_empty());
    let read = pages(&server, reading).await;
    // What a server makes of our leaving is not our problem.
    let _ = tokio::time::timeout(GRACE, server.cancel()).await;
    Ok(read?)
}

/// Whether the server has answered another question than the one that was open.
fn has_crossed(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => has_crossed(fallback),
        ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. } => true,
        _ => false,
    }
}

async fn pages(
    server: &RunningService<RoleClient, ClientConfig>,
    reading: &ToolsReading<'_>,
) -> Result<(), String> {
    let mut cursor: Option<String> = None;
    loop {
        let request = ListToolsRequest {
            method: Default::default(),
            params: Some(PaginatedRequestParams::default().with_cursor(cursor)),
            extensions: Default::default(),
        };
        let request = ClientRequest::ListToolsRequest(request);
        let page = server.send_request(request).await.map_err(|error| unlisted(&error))?;
        let next = reading.read.borrow_mut().take(&as_it_came(page));
        let count = reading.read.borrow().tools.len();
        (reading.progress)(count);
        match next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// A page as JSON. What the SDK does not take for a list of tools, since one of them is odd, it leaves as it came.
fn as_it_came(page: ServerResult) -> Value {
    match page {
        ServerResult::ListToolsResult(page) => serde_json::to_value(page).unwrap_or_default(),
        ServerResult::CustomResult(page) => page.0,
        _ => Value::Null,
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
