//! A request as an author names it, and the headers that it becomes.

use crate::json::Value;
use crate::mcp::headers::Header;
use crate::time::UnixMillis;

use super::names::{CallerName, GRANT};

/// One request as the filter would see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedRequest {
    /// The JSON-RPC message.
    pub body: String,
    /// Who calls, by which names. One whom neither `grant` nor a header names is anonymous.
    pub names: Vec<CallerName>,
    /// The MCP session.
    pub session: Option<String>,
    /// Where it goes.
    pub target: Destination,
    /// Further headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// When.
    pub at: UnixMillis,
    /// What the server answers, if it is asked.
    pub response: SimulatedResponse,
}

/// Where a request goes, for bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The host; `localhost` by default.
    pub host: Option<String>,
    /// The path; by default the first of `requests.paths`, or `/mcp`.
    pub path: Option<String>,
    /// The name of Envoy's route.
    pub route: Option<String>,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimulatedResponse {
    /// A result.
    Result,
    /// An error, so that what counts successes only is given back.
    Error,
}

impl SimulatedRequest {
    /// A request by an anonymous caller, that the server answers with a result.
    #[must_use]
    pub fn new(body: String, at: UnixMillis) -> SimulatedRequest {
        SimulatedRequest {
            body,
            names: Vec::new(),
            session: None,
            target: Destination::default(),
            headers: Vec::new(),
            at,
            response: SimulatedResponse::Result,
        }
    }

    /// The same, called by this one.
    #[must_use]
    pub fn by(mut self, caller: Option<String>) -> SimulatedRequest {
        self.names.extend(caller.map(|name| (GRANT.to_owned(), Value::String(name.into()))));
        self
    }

    /// The name of the caller.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.names.iter().find(|(key, _)| key == GRANT).and_then(|(_, name)| name.as_str())
    }

    /// All headers, with a path where the request says none.
    pub(super) fn headers<'r>(&'r self, place: Option<&'r str>) -> Vec<(&'r str, &'r str)> {
        let host = self.target.host.as_deref().unwrap_or("localhost");
        let path = self.target.path.as_deref().or(place).unwrap_or("/mcp");
        let mut headers = vec![
            (":method", "POST"),
            (":authority", host),
            (":path", path),
            ("content-type", "application/json"),
        ];
        headers.extend(self.session.iter().map(|session| ("mcp-session-id", &**session)));
        headers.retain(|(name, _)| !self.headers.iter().any(|(own, _)| own == name));
        headers.extend(self.headers.iter().map(|(name, value)| (&**name, &**value)));
        headers
    }
}

/// The headers as the filter is given them.
pub(super) fn borrowed<'h>(headers: &[(&'h str, &'h str)]) -> Vec<Header<'h>> {
    headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}
