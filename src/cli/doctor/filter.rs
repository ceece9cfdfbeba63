//! What Envoy is told of the filter in a VM, and of the VM.

use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::compiled::Config;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::render::needs::{NeededSecret, secrets};

use super::findings::Findings;
use super::layout::Placed;
use super::shell::ConfiguredPolicy;

const FLAG: &str = "allow_on_headers_stop_iteration";

/// Checks it.
pub(super) fn check(filter: &Placed<'_>, findings: &mut Findings) {
    failure(filter, findings);
    machine(filter, findings);
    if let ConfiguredPolicy::Loaded(config) = &filter.policy {
        hold(filter, config, findings);
        environment(filter, config, findings);
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
