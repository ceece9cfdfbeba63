//! Whether the tokens whose claims the policy reads are verified before it, and the claims where it reads them.

use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::approvals::ApprovalWay;
use mcp_policy::policy::callers::Source;
use mcp_policy::policy::compiled::Config;
use mcp_policy::render::needs::MODULE_PAYLOADS;

use super::findings::Findings;
use super::found::Found;
use super::layout::FilterChain;
use super::shell::Shell;

/// Checks a policy in its chain.
pub(super) fn check(
    shell: Shell,
    at: usize,
    chain: &FilterChain<'_>,
    config: &Config,
    findings: &mut Findings,
) {
    verified(shell, at, chain, config, findings);
    if shell != Shell::Filter {
        written_down(at, chain, config, findings);
    }
}

/// The verified tokens that the policy reads, by where Envoy puts them.
fn payloads(config: &Config) -> Vec<&str> {
    let keys = config.callers.keys.iter().flat_map(|key| &key.sources);
    let mut payloads: Vec<&str> = Vec::new();
    for source in config.callers.grant.iter().chain(keys) {
        if let Source::JwtClaim { payload, .. } = source {
            payloads.push(payload);
        }
    }
    if config.policies().any(|policy| policy.names_way(ApprovalWay::Token)) {
        payloads.push(&config.approvals.tokens.payload);
    }
    payloads.sort_unstable();
    payloads.dedup();
    payloads
}

fn verified(
    shell: Shell,
    at: usize,
    chain: &FilterChain<'_>,
    config: &Config,
    findings: &mut Findings,
) {
    let verifiers = chain.filters.iter().filter(|filter| verifies(filter));
    let providers: Vec<Found<'_>> = verifiers
        .filter_map(|filter| filter.path(&["typed_config", "providers"]))
        .flat_map(|providers| providers.children())
        .collect();
    for payload in payloads(config) {
        if providers.iter().any(|provider| provider.text("payload_in_metadata") == Some(payload)) {
            continue;
        }
        let (place, trouble) = match (providers.first(), chain.filters.get(at)) {
            (Some(provider), _) => (
                provider,
                format!(
                    "the policy reads claims from `{payload}`, and no provider puts them there: every caller is anonymous to it"
                ),
            ),
            (None, Some(itself)) => (
                itself,
                format!(
                    "the policy reads claims from `{payload}`, and nothing before this filter verifies tokens"
                ),
            ),
            (None, None) => continue,
        };
        let mut cure = format!(
            "add envoy.filters.http.jwt_authn before this filter, with `payload_in_metadata: {payload}` at the provider"
        );
        if shell != Shell::Filter {
            cure.push_str(&format!(", and between both the filter `{MODULE_PAYLOADS}`"));
        }
        findings.error(place, Code::TokensUnread, &trouble, &cure);
    }
    if config.policies().any(|policy| policy.names_way(ApprovalWay::Token)) {
        let approvals = &config.approvals.tokens.payload;
        let forwards = |provider: &&Found<'_>| {
            provider.text("payload_in_metadata") == Some(approvals) && provider.is_set("forward")
        };
        for provider in providers.iter().filter(forwards) {
            let trouble =
                "the server gets the token that approves the call, and could use it itself";
            findings.warning(provider, Code::TokensUnread, trouble, "take `forward` away");
        }
    }
}

/// Whether verified tokens are written down for the module, which cannot read them where jwt_authn puts them.
fn written_down(at: usize, chain: &FilterChain<'_>, config: &Config, findings: &mut Findings) {
    let Some(itself) = chain.filters.get(at) else { return };
    let before = chain.filters.get(..at).unwrap_or_default();
    let verifier = before.iter().rposition(verifies);
    // Where there is none, that is what is wrong.
    let (Some(verifier), false) = (verifier, payloads(config).is_empty()) else { return };
    if before.iter().skip(verifier).any(writes_payloads) {
        return;
    }
    let cure = format!(
        "put the filter `{MODULE_PAYLOADS}` between jwt_authn and the module, as `mcp-policy render --for envoy-module` writes it"
    );
    match before.iter().find(|filter| writes_payloads(filter)) {
        Some(early) => findings.error(
            early,
            Code::TokensUnread,
            "it writes down for the module what jwt_authn verifies only afterwards: every caller is anonymous to the policy",
            &cure,
        ),
        None => findings.error(
            itself,
            Code::TokensUnread,
            "nothing writes down for the module what jwt_authn has verified, and it cannot read it otherwise: every caller is anonymous to the policy",
            &cure,
        ),
    }
}

/// Whether a filter is Envoy's own that verifies tokens.
fn verifies(filter: &Found<'_>) -> bool {
    filter.is_configured_as("http.jwt_authn.v3.JwtAuthentication")
}

/// Whether a filter writes down what jwt_authn has verified, where the module reads it.
fn writes_payloads(filter: &Found<'_>) -> bool {
    let writes = |value: &Found<'_>| {
        let format = value.path(&["format_string", "text_format_source", "inline_string"]);
        value.text("object_key") == Some(MODULE_PAYLOADS)
            && format.and_then(|format| format.value.as_str())
                == Some("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%")
    };
    let values = filter
        .at("typed_config")
        .filter(|typed| typed.is_a("http.set_filter_state.v3.Config"))
        .and_then(|typed| typed.at("on_request_headers"));
    values.is_some_and(|values| values.children().iter().any(writes))
}
