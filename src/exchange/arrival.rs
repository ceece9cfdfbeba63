//! What is settled by the headers of a request: which policy governs it, who sends it, and in which session.

use super::{Exchange, HeaderEdit};
use crate::approval::call::Site;
use crate::identity::Caller;
use crate::mcp::Refusal;
use crate::mcp::headers::facts::Facts;
use crate::mcp::headers::{Header, is_preflight};
use crate::pins::ServerId;
use crate::policy::binding::{self, Ambiguous, BindingInput, RouteFact, Unmatched};
use crate::policy::compiled::Config;
use crate::policy::entry::Scope;
use crate::policy::sessions::Sessions;
use crate::rate::table::CallerId;
use crate::reason::Reason;
use crate::world::World;

/// Who sends a request.
pub(super) struct Arrived {
    pub(super) caller: Caller,
    /// The server's own session id, to take the place of the sealed one.
    pub(super) session: Option<String>,
    /// To whom session ids in the response are sealed.
    pub(super) sealed_to: Option<CallerId>,
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To MCP at this server, which the policy with this index governs.
    Governed(usize, ServerId),
    /// To MCP of which no binding speaks: a POST, which is answered when its id is known.
    Unmatched,
    /// To something that passes unread.
    Unread,
}

/// Names the caller, unless that has been done, and opens the session id if that is pinned.
pub(super) fn identify<W: World>(
    config: &Config,
    facts: &Facts<'_>,
    world: &W,
    known: Option<Caller>,
) -> Result<Arrived, Refusal> {
    let stated = facts.session.value("mcp-session-id")?;
    let caller = known.map_or_else(|| Caller::read(config, facts, world), Ok)?;
    let Sessions::Pinned(pins) = &config.sessions else {
        let caller = caller.in_session(&config.sessions, stated);
        return Ok(Arrived { caller, session: None, sealed_to: None });
    };
    if caller.is_ambiguous_as(Scope::Grant) {
        return Err(Refusal::new(Reason::CredentialAmbiguous, ""));
    }
    let grant = caller.grant();
    let seals = pins.seals.as_ref();
    let session = match stated {
        Some(sealed) => match seals.and_then(|seals| seals.open(grant, sealed)) {
            Some(id) => Some(id),
            None => return Err(Refusal::new(Reason::SessionUnknown, "")),
        },
        None => None,
    };
    let caller = caller.in_session(&config.sessions, session.as_deref().map(str::as_bytes));
    Ok(Arrived { caller, session, sealed_to: Some(grant) })
}

/// Where a request goes, and its caller if bindings ask for him. The only place that says so: what no setting names is refused here,
/// whatever its method.
pub(super) fn route<W: World>(
    config: &Config,
    headers: &[Header<'_>],
    facts: &Facts<'_>,
    world: &W,
) -> Result<(Route, Option<Caller>), Refusal> {
    if config.doors.let_by(facts.method, is_preflight(headers), facts.path) {
        return Ok((Route::Unread, None));
    }
    let ambiguous = |_: Ambiguous| Refusal::new(Reason::PathAmbiguous, "");
    if !config.doors.speak_mcp(facts.path).map_err(ambiguous)? {
        return Err(Refusal::new(Reason::PathNotMcp, ""));
    }
    let Some(bindings) = &config.bindings else {
        return Ok((Route::Governed(0, config.policy.server), None));
    };
    let caller = match bindings.ask_identity() {
        true => Some(Caller::read(config, facts, world)?.suits_bindings()?),
        false => None,
    };
    let host = facts.authority.and_then(binding::host);
    let path = facts.path.and_then(binding::path);
    let selected = match (&host, &path) {
        (Some(host), Some(path)) => {
            let route = |fact: RouteFact<'_>| world.route(fact);
            let identity = |at| caller.as_ref().and_then(|caller| caller.key(at));
            bindings.select(&BindingInput { host, path, route: &route, identity: &identity })
        }
        _ => Err(Ambiguous),
    };
    let route = match (selected.map_err(ambiguous)?, bindings.unmatched) {
        (Some(row), _) => Route::Governed(row.policy, row.server),
        (None, Unmatched::Pass) => Route::Unread,
        (None, Unmatched::Deny) if facts.method == Some(b"POST") => Route::Unmatched,
        (None, Unmatched::Deny) => return Err(Refusal::new(Reason::Unmatched, "")),
    };
    Ok((route, caller))
}

impl Exchange {
    /// Where the request goes, where an approval has to be bound to it.
    pub(super) fn site(&self, facts: &Facts<'_>) -> Option<Box<Site>> {
        self.policy().filter(|policy| policy.asks())?;
        let [host, path] =
            [facts.authority, facts.path].map(|part| part.unwrap_or_default().to_vec());
        Some(Box::new(Site { host, path }))
    }
}

/// The session id as this caller may use it; none at all where it cannot be sealed.
pub(super) fn seal_session(sessions: &Sessions, grant: CallerId, id: &[u8]) -> HeaderEdit {
    let seals = match sessions {
        Sessions::Pinned(pins) => pins.seals.as_ref(),
        Sessions::Untrusted | Sessions::Trusted => None,
    };
    match seals.and_then(|seals| seals.seal(grant, id)) {
        Some(sealed) => HeaderEdit::Set("mcp-session-id", sealed.into()),
        None => HeaderEdit::Remove("mcp-session-id".into()),
    }
}
