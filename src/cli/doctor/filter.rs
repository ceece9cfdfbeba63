//! What Envoy is told of the filter itself.

use mcp_policy::json::Value;
use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::render::needs::{NeededSecret, secrets};

use super::findings::Findings;
use super::layout::{ConfiguredPolicy, Layout, Placed};

const FLAG: &str = "allow_on_headers_stop_iteration";

/// Checks one filter.
pub(super) fn check(filter: &Placed<'_>, findings: &mut Findings) {
    configuration(filter, findings);
    failure(filter, findings);
    machine(filter, findings);
    if let ConfiguredPolicy::Loaded(config) = &filter.policy {
        hold(filter, config, findings);
        environment(filter, config, findings);
    }
}

fn configuration(filter: &Placed<'_>, findings: &mut Findings) {
    match &filter.policy {
        ConfiguredPolicy::Missing => findings.error(
            &filter.plugin,
            Code::NoPolicy,
            "the filter has no configuration: Envoy does not start",
            "add `configuration`, a google.protobuf.StringValue with the policy as its `value`; `mcp-policy render` writes it",
        ),
        ConfiguredPolicy::Unread(at) => findings.error(
            at,
            Code::NoPolicy,
            "the policy is not a StringValue: the filter refuses protobuf, in which large numbers are rounded",
            "write `\"@type\": type.googleapis.com/google.protobuf.StringValue`, and the policy as text under `value`",
        ),
        ConfiguredPolicy::Refused(at, first) => findings.error(
            at,
            Code::NoPolicy,
            &format!("the filter refuses this policy: {first}"),
            "`mcp-policy validate POLICY` shows every problem in its line",
        ),
        ConfiguredPolicy::Loaded(_) => {}
    }
}

fn hold(filter: &Placed<'_>, config: &Config, findings: &mut Findings) {
    let may = filter.plugin.is_set(FLAG);
    let add = format!("add `{FLAG}: true` to the filter's `config`");
    let (at, code) = (&filter.plugin, Code::HeadersPass);
    match (may, config.requests.hold_headers) {
        (true, HoldHeaders::Always) => {}
        (false, HoldHeaders::Always) => findings.error(
            at,
            code,
            "the policy says `hold_headers: always`, and Envoy does not let the filter hold headers: every POST gets 503",
            &add,
        ),
        (false, HoldHeaders::Auto) => findings.warning(
            at,
            code,
            "headers of denied calls reach the server: Envoy does not let the filter hold them",
            &format!("{add}, and `\"requests\": {{\"hold_headers\": \"always\"}}` to the policy"),
        ),
        (true, HoldHeaders::Auto) => findings.warning(
            at,
            code,
            "the filter finds out anew on each thread whether it may hold headers",
            "say so in the policy: `\"requests\": {\"hold_headers\": \"always\"}`",
        ),
        (_, HoldHeaders::Never) => findings.warning(
            at,
            code,
            "headers of denied calls reach the server: the policy says `hold_headers: never`",
            &format!("{add}, and write `always` in the policy"),
        ),
    }
}

fn failure(filter: &Placed<'_>, findings: &mut Findings) {
    let plugin = &filter.plugin;
    let cure = "write `failure_policy: FAIL_RELOAD`";
    let policy = plugin.text("failure_policy");
    if plugin.is_set("fail_open") || policy == Some("FAIL_OPEN") {
        let at = plugin.at("failure_policy").or_else(|| plugin.at("fail_open"));
        let message = "after one crash, every call passes unread, silently and for good";
        findings.error(&at.unwrap_or_else(|| plugin.clone()), Code::FailsOpen, message, cure);
    } else if policy != Some("FAIL_RELOAD") {
        let message = "after one crash, every request gets 503 until Envoy is restarted";
        findings.warning(plugin, Code::FailsOpen, message, cure);
    }
}

/// What `vm_config` says.
fn machine(filter: &Placed<'_>, findings: &mut Findings) {
    let Some(vm) = filter.plugin.at("vm_config") else { return };
    if vm.text("vm_id").unwrap_or_default().is_empty() {
        findings.warning(
            &vm,
            Code::CountersShared,
            "there is no `vm_id`: counters are shared with every other filter that has none",
            "give it one that no other filter has, and keep it: `vm_id: mcp_policy`",
        );
    }
    let remote = vm.path(&["code", "remote"]);
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

/// The secrets that the filter reads.
fn environment(filter: &Placed<'_>, config: &Config, findings: &mut Findings) {
    let Some(vm) = filter.plugin.at("vm_config") else { return };
    let keys = vm.path(&["environment_variables", "host_env_keys"]);
    let passed: Vec<&str> =
        keys.iter().flat_map(|keys| keys.children()).filter_map(|key| key.value.as_str()).collect();
    let written = vm.path(&["environment_variables", "key_values"]);
    for NeededSecret { name, is_required } in secrets(config) {
        let inline = written.as_ref().and_then(|written| written.at(&name));
        if let Some(inline) = inline {
            findings.warning(
                &inline,
                Code::SecretMissing,
                &format!("the secret `{name}` stands in this file"),
                "let Envoy's own environment have it, from a Secret, and name it in `host_env_keys`",
            );
        } else if is_required && !passed.contains(&&*name) {
            findings.error(
                &vm,
                Code::SecretMissing,
                &format!("the policy needs the secret `{name}`, and the filter cannot read it: it refuses its configuration"),
                &format!("add `environment_variables: {{ host_env_keys: [\"{name}\"] }}` to `vm_config`, and the variable to Envoy's environment"),
            );
        }
    }
}

/// Checks what filters have together.
pub(super) fn together(layout: &Layout<'_>, findings: &mut Findings) {
    let text = |filter: &Placed<'_>| {
        filter
            .plugin
            .path(&["configuration", "value"])
            .and_then(|value| value.value.as_str().map(str::to_owned))
    };
    for (at, filter) in layout.placed.iter().enumerate() {
        let id = filter
            .plugin
            .path(&["vm_config", "vm_id"])
            .filter(|id| *id.value != Value::String("".into()));
        let Some(id) = id else { continue };
        let before = layout.placed.iter().take(at);
        let mut same = before.filter(|other| {
            other.plugin.path(&["vm_config", "vm_id"]).is_some_and(|other| other.value == id.value)
        });
        if same.any(|other| text(other) != text(filter)) {
            findings.warning(
                &id,
                Code::CountersShared,
                "another policy has the same `vm_id`: counters of one name are one",
                "give each policy a `vm_id` of its own, unless they are to count together",
            );
        }
    }
}
