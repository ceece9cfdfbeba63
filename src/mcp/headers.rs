//! Request headers, read once from bytes: what the front door refuses at sight, and the facts that later stages need.
//!
//! Nothing is assumed of a value's encoding: a value that is not UTF-8 simply equals nothing that we compare it with.

use super::{Refusal, TOOLS_CALL, message::Message};
use crate::json::Value;
use crate::mcp::percent::percent_decoded;
use crate::reason::Reason;

pub mod credential;
pub mod facts;
mod media;
pub mod steering;

use facts::Facts;

/// Name and value as Envoy hands them over: the name in lower case, the value as bytes.
pub type Header<'h> = (&'h [u8], &'h [u8]);

/// What the filter keeps of the request's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How a denial is framed.
    pub framing: Framing,
    /// `X-Request-Id`, as Envoy made or accepted it.
    pub request_id: Option<Vec<u8>>,
    /// How long a body is announced that is longer than what is read.
    pub oversized: Option<String>,
    mirror: Mirror,
}

/// How a reply to the request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// `application/json`
    #[default]
    Json,
    /// `text/event-stream`, where the client accepts nothing else.
    EventStream,
}

impl Framing {
    /// The content type.
    #[must_use]
    pub fn media(self) -> &'static str {
        match self {
            Framing::Json => "application/json",
            Framing::EventStream => "text/event-stream",
        }
    }
}

/// What a request is, going by its headers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A CORS preflight: it passes.
    Preflight,
    /// A GET for events, whose response may be a stream of messages.
    Stream,
    /// A DELETE that ends a session.
    End,
    /// A POST: its body is to be judged.
    Judge(Box<Head>),
}

/// The headers that mirror the body (MCP 2026-07-28, and the version header since 2025-06-18).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mirror {
    method: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    version: Option<Vec<u8>>,
}

/// Whether a body follows the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// The message ends with its headers.
    Nothing,
    /// A body or trailers follow.
    Body,
}

impl Follows {
    /// That the stream ends with the headers, or does not.
    #[must_use]
    pub fn when(ends: bool) -> Follows {
        if ends { Follows::Nothing } else { Follows::Body }
    }
}

/// The first revision whose clients must mirror method and name in headers.
const MIRRORED_SINCE: &[u8] = b"2026-07-28";

/// Most digits of a length that are repeated.
const MAX_DIGITS: usize = 20;

/// Judges a request by its headers.
///
/// # Errors
/// A refusal by the strict front door.
pub fn admit(
    headers: &[Header<'_>],
    follows: Follows,
    max_body: usize,
) -> Result<Admission, Refusal> {
    let facts = Facts::of(headers, &[]);
    if headers.iter().any(|(name, _)| steering::overrides(name))
        || facts.path.is_some_and(names_method)
    {
        return Err(Refusal::new(Reason::MethodOverride, ""));
    }
    match (facts.method, follows) {
        (Some(b"POST"), _) => {
            read_post(headers, max_body).map(|head| Admission::Judge(Box::new(head)))
        }
        (Some(b"GET" | b"HEAD" | b"OPTIONS" | b"DELETE"), Follows::Nothing) => {
            read_bodiless(headers, &facts)
        }
        (Some(b"GET" | b"HEAD" | b"OPTIONS" | b"DELETE"), Follows::Body) => {
            Err(Refusal::new(Reason::BodyNotAllowed, ""))
        }
        (Some(_) | None, _) => Err(Refusal::new(Reason::MethodNotAllowed, "")),
    }
}

/// What has no body is MCP in three shapes. On servers whose tools are routes, anything else may run one.
fn read_bodiless(headers: &[Header<'_>], facts: &Facts<'_>) -> Result<Admission, Refusal> {
    let upgrades = headers.iter().any(|(name, _)| matches!(*name, b"upgrade" | b":protocol"));
    let session = facts.session.value("mcp-session-id")?;
    let odd = session.is_some_and(|id| id.is_empty() || !id.iter().all(u8::is_ascii_graphic));
    match facts.method {
        _ if upgrades => Err(Refusal::new(Reason::NotMcp, "")),
        Some(b"GET") if media::wants_events(headers) => Ok(Admission::Stream),
        // No server gives out such an id.
        Some(b"DELETE") if odd => Err(Refusal::new(Reason::SessionUnknown, "")),
        Some(b"DELETE") if session.is_some() => Ok(Admission::End),
        Some(b"OPTIONS") if is_preflight(headers) => Ok(Admission::Preflight),
        Some(_) | None => Err(Refusal::new(Reason::NotMcp, "")),
    }
}

/// Whether a request only asks what a browser may send: a CORS preflight (the Fetch standard).
#[must_use]
pub fn is_preflight(headers: &[Header<'_>]) -> bool {
    let once = |wanted: &[u8]| headers.iter().filter(|(name, _)| *name == wanted).count() == 1;
    headers.contains(&(b":method", b"OPTIONS"))
        && once(b"origin")
        && once(b"access-control-request-method")
}

/// Whether a query has `_method`, by which frameworks let a link be another method.
fn names_method(target: &[u8]) -> bool {
    let Some(start) = target.iter().position(|&byte| byte == b'?') else { return false };
    let pairs = target.get(start + 1..).unwrap_or_default();
    pairs.split(|byte| matches!(byte, b'&' | b';' | b'?')).any(|pair| {
        let key = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        percent_decoded(key).eq_ignore_ascii_case(b"_method")
    })
}

fn read_post(headers: &[Header<'_>], max_body: usize) -> Result<Head, Refusal> {
    let mut post = Post { max_body, ..Post::default() };
    for &(name, value) in headers {
        post.read(name, value)?;
    }
    if !post.content_type.is_some_and(media::is_json) {
        return Err(Refusal::new(Reason::ContentType, ""));
    }
    Ok(Head { framing: post.accept.framing(), ..post.head })
}

/// The headers of a POST as they are read, one by one.
#[derive(Default)]
struct Post<'h> {
    head: Head,
    content_type: Option<&'h [u8]>,
    accept: media::Accept,
    parameters: Vec<&'h [u8]>,
    max_body: usize,
}

impl<'h> Post<'h> {
    fn read(&mut self, name: &'h [u8], value: &'h [u8]) -> Result<(), Refusal> {
        let repeated = Reason::RepeatedHeader;
        match name {
            b"content-type" => once(&mut self.content_type, value, repeated, "content-type")?,
            b"content-encoding" if !value.eq_ignore_ascii_case(b"identity") => {
                return Err(Refusal::new(Reason::ContentEncoding, ""));
            }
            b"content-length" => self.read_length(value)?,
            b"accept" => self.accept.add(value),
            b"x-request-id" => self.head.request_id = Some(value.to_vec()),
            mirrored if mirrored.starts_with(b"mcp-") => return self.read_mirrored(name, value),
            _ => {}
        }
        Ok(())
    }

    /// A body that is announced too long is refused once its beginning has come, where the request's id is.
    fn read_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let text = std::str::from_utf8(value).unwrap_or_default().trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::new(Reason::BodyTooLarge, "its length is no number"));
        }
        // A number beyond all numbers is long too.
        if text.parse().is_ok_and(|length: usize| length <= self.max_body) {
            return Ok(());
        }
        self.head.oversized = Some(text.get(..MAX_DIGITS).unwrap_or(text).to_owned());
        Ok(())
    }

    /// Reads a header that mirrors the body; unknown ones pass.
    fn read_mirrored(&mut self, name: &'h [u8], value: &'h [u8]) -> Result<(), Refusal> {
        let mirror = &mut self.head.mirror;
        let reason = Reason::HeaderMismatch;
        match name {
            b"mcp-method" => once(&mut mirror.method, value.to_vec(), reason, "Mcp-Method"),
            b"mcp-name" => once(&mut mirror.name, decoded(value, "Mcp-Name")?, reason, "Mcp-Name"),
            b"mcp-protocol-version" => {
                once(&mut mirror.version, value.to_vec(), reason, "MCP-Protocol-Version")
            }
            parameter if parameter.starts_with(b"mcp-param-") => {
                decoded(value, "Mcp-Param")?;
                if self.parameters.contains(&name) {
                    return Err(Refusal::new(reason, "Mcp-Param"));
                }
                self.parameters.push(name);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Keeps the one value that a header may have.
fn once<T>(
    slot: &mut Option<T>,
    value: T,
    reason: Reason,
    name: &'static str,
) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(reason, name)),
    }
}

/// A mirrored value: plain, or `=?base64?…?=` (MCP 2026-07-28, Streamable HTTP, value encoding).
fn decoded(value: &[u8], name: &'static str) -> Result<Vec<u8>, Refusal> {
    let encoded = value.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?="));
    let refused = || Refusal::new(Reason::HeaderMismatch, name);
    match encoded {
        Some(encoded) => {
            let bytes = media::base64(encoded).ok_or_else(refused)?;
            std::str::from_utf8(&bytes).map_err(|_| refused())?;
            Ok(bytes)
        }
        None if value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => Ok(value.to_vec()),
        None => Err(refused()),
    }
}

impl Head {
    /// Checks that the mirrored headers say what the message says.
    ///
    /// # Errors
    /// [`Reason::HeaderMismatch`] where a header differs, or is missing although the version requires it.
    pub fn agrees_with(&self, message: &Message<'_>) -> Result<(), Refusal> {
        let mismatch =
            |name| Err(Refusal::new(Reason::HeaderMismatch, name).answering(message.id()));
        let mirror = &self.mirror;
        let version = mirror.version.as_deref();
        let mirrored = self.is_modern();
        let request = message.request();
        let stated = request.and_then(|request| request.version);
        if mirrored && stated.is_some_and(|stated| Some(stated.as_bytes()) != version) {
            return mismatch("MCP-Protocol-Version");
        }
        match (mirror.method.as_deref(), request.map(|request| request.method)) {
            (None, Some(_)) if mirrored && message.id().is_some() => return mismatch("Mcp-Method"),
            (Some(stated), method) if method.map(str::as_bytes) != Some(stated) => {
                return mismatch("Mcp-Method");
            }
            _ => {}
        }
        let agrees = match (mirror.name.as_deref(), Mirrored::of(message)) {
            (None, Mirrored::Name(name)) => !mirrored || name.is_none(),
            (None, Mirrored::Unspecified(_)) => true,
            (Some(stated), Mirrored::Name(name)) => name.map(str::as_bytes) == Some(stated),
            (Some(stated), Mirrored::Unspecified(params)) => {
                params.and_then(Value::as_object).is_some_and(|params| {
                    params.0.iter().any(|member| {
                        member.value.as_str().is_some_and(|text| text.as_bytes() == stated)
                    })
                })
            }
        };
        if agrees { Ok(()) } else { mismatch("Mcp-Name") }
    }

    /// Checks that no header speaks of one message where the body holds many.
    ///
    /// # Errors
    /// [`Reason::HeaderMismatch`] where one does.
    pub fn agrees_with_batch(&self) -> Result<(), Refusal> {
        let silent = self.mirror.method.is_none() && self.mirror.name.is_none();
        if silent { Ok(()) } else { Err(Refusal::new(Reason::HeaderMismatch, "Mcp-Method")) }
    }

    /// `MCP-Protocol-Version`.
    #[must_use]
    pub fn version(&self) -> Option<&[u8]> {
        self.mirror.version.as_deref()
    }

    /// Whether the request is of revision 2026-07-28 or newer.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        let version = self.mirror.version.as_deref();
        version.is_some_and(|version| is_date(version) && version >= MIRRORED_SINCE)
    }
}

/// What `Mcp-Name` mirrors for a method.
enum Mirrored<'v> {
    /// A member of params, `None` where the body lacks it.
    Name(Option<&'v str>),
    /// Nothing that is specified: at least it must be somewhere in params.
    Unspecified(Option<&'v Value<'v>>),
}

impl<'v> Mirrored<'v> {
    fn of(message: &Message<'v>) -> Mirrored<'v> {
        let Some(request) = message.request() else {
            return Mirrored::Unspecified(None);
        };
        let member = |key| {
            let params = request.params.and_then(Value::as_object);
            Mirrored::Name(params.and_then(|params| params.get(key)).and_then(Value::as_str))
        };
        match request.method {
            TOOLS_CALL | "prompts/get" => member("name"),
            "resources/read" => member("uri"),
            _ => Mirrored::Unspecified(request.params),
        }
    }
}

/// Revisions are dates; anything else is some other product's business.
fn is_date(version: &[u8]) -> bool {
    let digit = |at: usize| version.get(at).is_some_and(u8::is_ascii_digit);
    let dash = |at: usize| version.get(at) == Some(&b'-');
    version.len() == 10 && (0..10).all(|at| if matches!(at, 4 | 7) { dash(at) } else { digit(at) })
}

#[cfg(test)]
mod tests;
