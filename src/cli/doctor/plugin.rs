//! What Envoy is told of the filter and of the module alike: the policy, the program, and the name that counters belong to.

use mcp_policy::language::diagnostic::Code;

use super::findings::Findings;
use super::layout::{Layout, Placed};
use super::shell::{ConfiguredPolicy, Shell};
use super::{filter, module};

/// Checks one of them.
pub(super) fn check(placed: &Placed<'_>, findings: &mut Findings) {
    configuration(placed, findings);
    program(placed, findings);
    match placed.shell {
        Shell::Filter => filter::check(placed, findings),
        Shell::Module | Shell::ModuleOnRoute => module::check(placed, findings),
    }
}

fn configuration(placed: &Placed<'_>, findings: &mut Findings) {
    let (called, field) = (placed.shell.called(), placed.shell.policy_field());
    match &placed.policy {
        ConfiguredPolicy::Missing => findings.error(
            &placed.plugin,
            Code::NoPolicy,
            &format!("the {called} has no configuration: Envoy does not start"),
            &format!(
                "add `{field}`, a google.protobuf.StringValue with the policy as its `value`; `mcp-policy render` writes it"
            ),
        ),
        ConfiguredPolicy::Unread(at) => findings.error(
            at,
            Code::NoPolicy,
            &format!(
                "the policy is not a StringValue: the {called} refuses protobuf, in which large numbers are rounded"
            ),
            "write `\"@type\": type.googleapis.com/google.protobuf.StringValue`, and the policy as text under `value`",
        ),
        ConfiguredPolicy::Refused(at, first) => findings.error(
            at,
            Code::NoPolicy,
            &format!("the {called} refuses this policy: {first}"),
            "`mcp-policy validate POLICY` shows every problem in its line",
        ),
        ConfiguredPolicy::Loaded(_) => {}
    }
}

fn program(placed: &Placed<'_>, findings: &mut Findings) {
    let remote = placed.plugin.path(placed.shell.program()).and_then(|code| code.at("remote"));
    let Some(remote) = remote.filter(|remote| remote.text("sha256").is_none()) else { return };
    let fetched_by_istio = remote
        .path(&["http_uri"])
        .is_some_and(|uri| uri.text("uri").is_some_and(|uri| uri.starts_with("oci://")));
    if !fetched_by_istio {
        findings.error(
            &remote,
            Code::UnpinnedModule,
            "Envoy fetches no module without its `sha256`",
            "add `sha256`, as SHA256SUMS of the release has it",
        );
    }
}

/// Checks what several have together.
pub(super) fn together(layout: &Layout<'_>, findings: &mut Findings) {
    for (at, placed) in layout.placed.iter().enumerate() {
        let Some(id) = placed.scope() else { continue };
        let before = layout.placed.iter().take(at);
        let mut same = before.filter(|other| {
            other.shell.counts_with(placed.shell)
                && other.scope().is_some_and(|other| other.value == id.value)
        });
        if same.any(|other| other.policy_value() != placed.policy_value()) {
            let field = id.key();
            findings.warning(
                &id,
                Code::CountersShared,
                &format!("another policy has the same `{field}`: counters of one name are one"),
                &format!(
                    "give each policy a `{field}` of its own, unless they are to count together"
                ),
            );
        }
    }
}
