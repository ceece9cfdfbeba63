//! `mcp-policy page`: the page on this machine, with a policy that it saves back to.
//!
//! Whoever can write the policy decides what agents may do. So only this machine reaches the page, only under the address that is
//! printed, and nothing that another page in the same browser can make it do changes the file: see [`door`].

mod door;
mod files;
mod rendered;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderName;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::server::connected;
use super::{Exit, report};
use crate::cli::out::out;
use door::{Door, DoorRequest, Errand, TOKEN_HEADER};
use files::PageFiles;
use rendered::rendered;

/// Show a policy on a page in the browser, which runs the engine, and save it back.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  mcp-policy page policy.yaml
  mcp-policy page policy.yaml --page /usr/share/mcp-policy/page --port 8765

It prints an address. Whoever knows it, on this machine, can change the policy and the tests beside it; nobody else can. The page
is what `make page` builds; it also works by itself, opened from disk.

Exit codes: 2 it cannot be shown; else it runs until it is interrupted.")]
pub(super) struct Arguments {
    /// The policy or plugin configuration, JSON or YAML. It is made if it is not there.
    policy: PathBuf,
    /// The folder with the built page.
    #[arg(long, value_name = "FOLDER", default_value = "target/page")]
    page: PathBuf,
    /// The port on which it listens, on this machine alone; by default one that is free.
    #[arg(long, default_value = "0")]
    port: u16,
}

/// Longest text that is saved: as long as what the command reads.
const LONGEST: usize = 16 << 20;

/// What every answer says of itself.
const HEADERS: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("content-security-policy", "frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Serves the page until it is interrupted.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let served = token().and_then(|token| {
        let files = PageFiles::open(&arguments.policy, &arguments.page)?;
        connected(serve(arguments.port, token, files))
    });
    match served {
        Ok(Err(problem)) | Err(problem) => {
            report::trouble(&problem);
            Exit::Unusable
        }
        Ok(Ok(never)) => match never {},
    }
}

/// 128 bits that nobody guesses.
fn token() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("there is no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn serve(port: u16, token: String, files: PageFiles) -> Result<Infallible, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let bound = listener.and_then(|listener| listener.local_addr().map(|at| (listener, at)));
    let (listener, at) = bound.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let shown = Arc::new((Door::new(at.port(), token), files));
    out!("{}", shown.0.address());
    report::note("open it in a browser of this machine; whoever knows it can change the policy");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files: some are closed in a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let shown = Arc::clone(&shown);
        tokio::spawn(async move {
            let answer = service_fn(|request| answered(Arc::clone(&shown), request));
            // Whoever hangs up has no answer.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answered(
    shown: Arc<(Door, PageFiles)>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (door, files) = &*shown;
    let (status, kind, text) = match admitted(door, &request) {
        Err((status, why)) => (status, "text/plain", why.to_owned()),
        Ok(Errand::Show) => match files.page(door.token()) {
            Ok(page) => (200, "text/html", page),
            Err(problem) => (500, "text/plain", problem),
        },
        Ok(errand @ (Errand::Save | Errand::Render)) => {
            let (status, text) = match Limited::new(request.into_body(), LONGEST).collect().await {
                Err(_) => (413, "longer than any policy".to_owned()),
                Ok(body) => done(errand, files, &body.to_bytes())
                    .await
                    .map_or_else(|problem| (409, problem), |text| (200, text)),
            };
            (status, "text/plain", text)
        }
    };
    let response =
        Response::builder().status(status).header("content-type", format!("{kind}; charset=utf-8"));
    let response =
        HEADERS.iter().fold(response, |response, (name, value)| response.header(*name, *value));
    let failed = || Response::new(Full::default());
    Ok(response.body(Full::from(text)).unwrap_or_else(|_| failed()))
}

/// Does what the page asks for with a body.
async fn done(errand: Errand, files: &PageFiles, body: &[u8]) -> Result<String, String> {
    match errand {
        Errand::Render => rendered(files.stem(), body).await,
        Errand::Save | Errand::Show => files.save(body).map(|()| "saved".to_owned()),
    }
}

fn admitted(door: &Door, request: &Request<Incoming>) -> Result<Errand, (u16, &'static str)> {
    let header = |name: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let mut values = request.headers().get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    door.admit(&DoorRequest {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("", |target| target.as_str()),
        host: header("host"),
        origin: header("origin"),
        token: header(TOKEN_HEADER),
    })
}
