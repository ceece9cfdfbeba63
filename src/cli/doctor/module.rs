//! What Envoy is told of the native module, and what only the module needs around it.

use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::settings::HoldHeaders;
use mcp_policy::render::needs::secrets;

use super::findings::Findings;
use super::found::Found;
use super::layout::{Layout, Placed};
use super::shell::{ConfiguredPolicy, STRUCT, Shell};

/// Without it, Envoy puts a prefix before the names of a module's metrics.
const PLAIN_NAMES: [&str; 3] =
    ["envoy", "reloadable_features", "dynamic_modules_strip_custom_stat_prefix"];

/// Under which the shipped `stats_config` has the buckets of histograms.
const NAMESPACE: &str = "wasmcustom";

/// Checks it.
pub(super) fn check(module: &Placed<'_>, findings: &mut Findings) {
    if let Some(rounded) =
        module.plugin.at(module.shell.policy_field()).filter(|found| found.is_a(STRUCT))
    {
        findings.warning(
            &rounded,
            Code::NoPolicy,
            "the policy is a Struct: Envoy rounds large numbers in it before the module reads them",
            "write `\"@type\": type.googleapis.com/google.protobuf.StringValue`, and the policy as text under `value`",
        );
    }
    if let Some(remote) =
        module.plugin.path(module.shell.program()).and_then(|program| program.at("remote"))
    {
        findings.error(
            &remote,
            Code::FailsOpen,
            "while Envoy does not have the module from that server, every call passes unread",
            "put the module beside Envoy: `module: { local: { filename: /etc/envoy/libmcp_policy.so } }`",
        );
    }
    if module.scope().is_none() {
        let name = module.shell.scope().join(".");
        findings.warning(
            &module.plugin,
            Code::CountersShared,
            &format!(
                "there is no `{name}`: counters are shared with every other policy that has none"
            ),
            &format!("give it one that no other policy has, and keep it: `{name}: mcp_policy`"),
        );
    }
    let ConfiguredPolicy::Loaded(config) = &module.policy else { return };
    let namespace = ["dynamic_module_config", "metrics_namespace"];
    let namespace = module.plugin.path(&namespace).and_then(|found| found.value.as_str());
    if config.telling.metrics && module.shell == Shell::Module && namespace != Some(NAMESPACE) {
        findings.warning(
            &module.plugin,
            Code::MetricsRenamed,
            "the metrics are in another namespace than those of the filter: histograms do not get the buckets that the shipped `stats_config` gives them",
            &format!("add `metrics_namespace: {NAMESPACE}` to `dynamic_module_config`"),
        );
    }
    if config.requests.hold_headers == HoldHeaders::Never {
        findings.warning(
            &module.plugin,
            Code::HeadersPass,
            "headers of denied calls reach the server: the policy says `hold_headers: never`",
            "write `always` in the policy, or leave it out: headers can always wait for the module",
        );
    }
}

/// The secrets that the policy needs from the environment of Envoy's process, which no file of Envoy's names.
pub(super) fn needed(module: &Placed<'_>) -> Vec<String> {
    let ConfiguredPolicy::Loaded(config) = &module.policy else { return Vec::new() };
    let needed = secrets(config).into_iter().filter(|secret| secret.is_required);
    match module.shell {
        Shell::Filter => Vec::new(),
        Shell::Module | Shell::ModuleOnRoute => {
            needed.map(|secret| secret.name.into_string()).collect()
        }
    }
}

/// Checks what is said of the module elsewhere than in chains.
pub(super) fn around(layout: &Layout<'_>, findings: &mut Findings) {
    for module in layout.placed.iter().filter(|placed| placed.shell == Shell::ModuleOnRoute) {
        if module.place.is_none() && layout.chain_around(&module.plugin).is_some() {
            let name = &module.name;
            findings.error(
                &module.plugin,
                Code::NoFilter,
                &format!("no module in this list of filters is called `{name}`: this policy holds nowhere"),
                "write it under the name that the module has in `http_filters`",
            );
        }
    }
    metrics(layout, findings);
}

/// Whether the metrics have the names that dashboards and alerts ask for.
fn metrics(layout: &Layout<'_>, findings: &mut Findings) {
    let tells = |placed: &Placed<'_>| {
        placed.shell == Shell::Module
            && matches!(&placed.policy, ConfiguredPolicy::Loaded(config) if config.telling.metrics)
    };
    let Some(whole) = layout.whole.as_ref().filter(|_| layout.placed.iter().any(tells)) else {
        return;
    };
    let mut layers = Vec::new();
    layers.extend(whole.path(&["layered_runtime", "layers"]).map(|found| found.children()));
    let layers: Vec<Found<'_>> = layers.concat();
    let is_plain = layers.iter().filter_map(|layer| layer.at("static_layer")).any(|layer| {
        let [first, second, last] = PLAIN_NAMES;
        layer.is_set(&PLAIN_NAMES.join("."))
            || layer.path(&[first, second]).is_some_and(|layer| layer.is_set(last))
    });
    // What those say is not in this file.
    let is_elsewhere =
        |layer: &Found<'_>| layer.at("rtds_layer").or_else(|| layer.at("disk_layer")).is_some();
    if !is_plain && !layers.iter().any(is_elsewhere) {
        let flag = PLAIN_NAMES.join(".");
        findings.warning(
            &layout_place(whole),
            Code::MetricsRenamed,
            "Envoy puts `envoy_` and a namespace before the names of the module's metrics: dashboards and alerts do not find them",
            &format!(
                "add `layered_runtime: {{ layers: [{{ name: mcp_policy, static_layer: {{ {flag}: true }} }}] }}` beside `static_resources`"
            ),
        );
    }
}

/// Where the layers of the runtime are, or should be.
fn layout_place<'v>(whole: &Found<'v>) -> Found<'v> {
    whole.at("layered_runtime").unwrap_or_else(|| whole.clone())
}
