//! What a policy needs of the deployment around it.

use crate::policy::approvals::ApprovalWay;
use crate::policy::callers::{AsksAddress, Peer, Source};
use crate::policy::compiled::Config;
use crate::policy::sessions::Sessions;

use super::Deployable;
use super::options::{RenderOptions, RenderTarget};
use crate::tree::notes::Notes;
use crate::tree::{Map, Node, TreeMember};

/// Adds what the filter needs to know to the policy, and notes what the operator must see to.
///
/// # Errors
/// Where the target cannot give what the policy asks for.
pub(super) fn meet(all: &mut Deployable, options: &RenderOptions) -> Result<Notes, String> {
    let mut notes = std::mem::take(&mut all.notes);
    let (config, target) = (&all.config, options.target);
    if let Some(note) = hold(&mut all.document, target)? {
        notes.add("requests.hold_headers", note);
    }
    around(all.servers.is_empty(), options, &mut notes);
    if let Sessions::Pinned(pins) = &config.sessions
        && let Some(first) = pins.variables.first()
    {
        notes.add(
            "sessions.pin",
            format!("needs a secret in the environment of Envoy, as `{first}`"),
        );
    }
    approvals(config, &mut notes);
    for (place, source) in sources(config) {
        let need = match source {
            Source::JwtClaim { .. } => "needs Envoy's jwt_authn filter before this one",
            Source::Peer(Peer::Spiffe | Peer::Subject | Peer::Digest) => {
                "needs clients that come with certificates, which Envoy verifies"
            }
            Source::SourceIp if !target.is_envoy() => {
                "needs `use_remote_address: true` in the HTTP connection manager"
            }
            Source::Header(_) | Source::Credential(_) | Source::SourceIp => continue,
        };
        notes.add(&place, need);
    }
    let by_address = config.asks_address == AsksAddress::Always;
    if by_address && !target.is_envoy() {
        notes.add(
            "scope: address",
            "needs `use_remote_address: true` in the HTTP connection manager",
        );
    }
    Ok(notes)
}

/// Gives a policy that stands alone the name of its deployment, unless it has one: by it replies, logs and metrics tell one from the other.
pub(super) fn named(all: &mut Deployable, name: &str) {
    let Some(members) = all.document.as_map_mut() else { return };
    let has_names = members.get("policies").is_some() || members.get("name").is_some();
    if has_names || name.is_empty() {
        return;
    }
    let at = members.0.len().min(1);
    let (comments, key) = (Vec::new(), "name".to_owned());
    members.0.insert(at, TreeMember { comments, key, value: Node::text(name) });
    let note = format!(
        "is `{name}` in the result; write it into the policy, for `digest`, tests and logs to say the same"
    );
    all.notes.add("name", note);
}

/// What is to be known of the servers, and of the mesh.
fn around(is_one_server: bool, options: &RenderOptions, notes: &mut Notes) {
    let target = options.target;
    if target.is_whole_envoy() && is_one_server && options.upstream.is_plain_by_default() {
        let at = &options.upstream.at;
        let authority = format!("{}:{}", at.host, at.port);
        let note = format!(
            "calls go to {authority} as plain text; write https://{authority} if it speaks TLS, or http://{authority} if it does not"
        );
        notes.add("--upstream", note);
    }
    if target.is_istio() && options.wasm.is_none() {
        notes.add("--wasm", "the address of the filter in the result is an example: give your own");
    }
    if target.is_istio() && !is_one_server {
        let note = "the result has their policies and bindings alone: routes, TLS and other paths are for your mesh";
        notes.add("servers", note);
    }
}

/// What approvals need.
fn approvals(config: &Config, notes: &mut Notes) {
    let settings = &config.approvals;
    let names = |way| config.policies().any(|policy| policy.names_way(way));
    if let Some(first) = settings.variables.first().filter(|_| names(ApprovalWay::User)) {
        let note = format!("needs a secret in the environment of Envoy, as `{first}`");
        notes.add("approval: user", note);
    }
    if let Some(approver) = settings.approver.as_ref().filter(|_| names(ApprovalWay::Approver)) {
        let (cluster, wait) = (&approver.cluster, settings.wait_millis / 1000);
        let note = format!(
            "needs a cluster `{cluster}` in Envoy; calls are held for up to {wait} s, so a `stream_idle_timeout` has to be longer"
        );
        notes.add("approvals.approver.cluster", note);
        if let Some(variable) = &approver.variable {
            let note = format!("needs that header in the environment of Envoy, as `{variable}`");
            notes.add("approvals.approver.authorization", note);
        }
    }
    if names(ApprovalWay::Token) {
        let payload = &settings.tokens.payload;
        let note = format!(
            "needs Envoy's jwt_authn filter before this one, with a provider that says `payload_in_metadata: {payload}`, and that does not forward the header of its token"
        );
        notes.add("approval: token", note);
    }
}

/// Where the native module reads what jwt_authn has verified: a value of filter state, which a filter of Envoy's own has to write before it.
pub const MODULE_PAYLOADS: &str = "mcp_policy.jwt_payloads";

/// An environment variable that the filter reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSecret {
    /// Its name.
    pub name: Box<str>,
    /// Whether the filter refuses its configuration without it.
    pub is_required: bool,
}

/// The environment variables that the filter reads.
#[must_use]
pub fn secrets(config: &Config) -> Vec<NeededSecret> {
    // Of several secrets for one purpose the first one seals. The others only open what an older one has sealed.
    let set = |names: &[Box<str>], is_required| {
        let names = names.iter().cloned().enumerate();
        names
            .map(|(at, name)| NeededSecret { name, is_required: is_required && at == 0 })
            .collect::<Vec<_>>()
    };
    let mut found = match &config.sessions {
        Sessions::Pinned(pins) => set(&pins.variables, true),
        Sessions::Trusted | Sessions::Untrusted => Vec::new(),
    };
    let names = |way| config.policies().any(|policy| policy.names_way(way));
    let approvals = &config.approvals;
    let asks_users = names(ApprovalWay::User);
    // Without a secret an approver can be asked too, but clients cannot come again by themselves.
    if asks_users || names(ApprovalWay::Approver) {
        found.extend(set(&approvals.variables, asks_users));
    }
    if let Some(name) = approvals.approver.as_ref().and_then(|approver| approver.variable.clone()) {
        found.push(NeededSecret { name, is_required: true });
    }
    found
}

/// The sources of names, each with its place; of those alike in one place, one.
fn sources(config: &Config) -> Vec<(String, &Source)> {
    let grant = ("identity.grant".to_owned(), &config.callers.grant);
    let keys = config.callers.keys.iter();
    let keys = keys.map(|key| (format!("identity.keys.{}", key.name), &key.sources));
    let mut found: Vec<(String, &Source)> = Vec::new();
    for (place, sources) in std::iter::once(grant).chain(keys) {
        for source in sources {
            let kind = std::mem::discriminant(source);
            let known = |(at, other): &(String, &Source)| {
                *at == place && std::mem::discriminant(*other) == kind
            };
            if !found.iter().any(known) {
                found.push((place.clone(), source));
            }
        }
    }
    found
}

/// Whether the filter holds headers: the templates say the flag that lets it, or have no place for the flag.
fn hold(document: &mut Node, target: RenderTarget) -> Result<Option<&'static str>, String> {
    let Some(root) = document.as_map_mut() else { return Ok(None) };
    let said = root.get("requests").and_then(|requests| requests.as_map()?.text("hold_headers"));
    match (target, said) {
        (RenderTarget::IstioWasmplugin, Some("always")) => Err("requests.hold_headers is `always`, which would refuse every call: a WasmPlugin cannot \
            let the filter hold headers; use --for istio-envoyfilter, or set it to `auto`"
            .to_owned()),
        (
            RenderTarget::Envoy
            | RenderTarget::EnvoyModule
            | RenderTarget::EnvoyFilter
            | RenderTarget::IstioEnvoyfilter,
            None,
        ) => {
            if root.get("requests").is_none() {
                root.push("requests", Node::Map(Map::default()));
            }
            if let Some(requests) = root.get_mut("requests").and_then(Node::as_map_mut) {
                requests.push("hold_headers", Node::text("always"));
            }
            Ok(Some("is `always` in the result, and the file allows it: not even the headers of a denied call reach the server"))
        }
        _ => Ok(None),
    }
}
