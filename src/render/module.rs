//! The engine as a native module in the place of the filter.

use crate::policy::approvals::ApprovalWay;
use crate::policy::callers::Source;
use crate::policy::compiled::Config;

/// The type of the filter that Envoy makes of a module.
pub(super) const TYPE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter";

/// Where the module is built to.
pub(super) const BUILT: &str = "target/libmcp_policy.so";

/// What is below `- name: mcp_policy`.
const FILTER: &str = r#"typed_config:
  "@type": TYPE
  dynamic_module_config:
    # Built for one minor version of Envoy and one architecture: another Envoy refuses to load it.
    module: { local: { filename: FILE } }
    # Counters live in the module's memory.
    do_not_close: true
    # The names of the metrics are those of the proxy-wasm filter, as `stats_config` below has them.
    metrics_namespace: wasmcustom
  # Counters belong to this name: keep it unique.
  filter_name: NAME
  # StringValue: the module reads this text as it stands.
  filter_config:
    "@type": type.googleapis.com/google.protobuf.StringValue
    value: |
"#;

/// The ABI of modules hands over no metadata that is an object, so a filter of Envoy's own writes verified tokens down before the module.
const PAYLOADS: &str = r#"# Put jwt_authn before this: what it has verified is written down for the module, which cannot read it otherwise.
- name: mcp_policy.jwt_payloads
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
    on_request_headers:
      - object_key: mcp_policy.jwt_payloads
        factory_key: envoy.string
        format_string: { text_format_source: { inline_string: "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%" } }
        skip_if_empty: true
"#;

/// What stands beside the listener.
pub(super) const PLAIN_NAMES: &str = r#"# Without this Envoy puts `envoy_` and a namespace before the names of a module's metrics, which have their labels already.
layered_runtime:
  layers:
    - name: mcp_policy
      static_layer: { envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix: true }
    # As Envoy has it where nothing is said.
    - { name: admin, admin_layer: {} }

"#;

/// The filter, from below its name on, with a policy that is JSON.
pub(super) fn filter(file: &str, name: &str, policy: &str) -> String {
    let mut text = FILTER.replace("TYPE", TYPE).replace("FILE", file).replace("NAME", name);
    for line in policy.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

/// What stands before the filter, for policies that read verified tokens; nothing for others.
pub(super) fn before(config: &Config) -> &'static str {
    let tokens = config.policies().any(|policy| policy.names_way(ApprovalWay::Token));
    let keys = config.callers.keys.iter().map(|key| &key.sources);
    let mut sources = std::iter::once(&config.callers.grant).chain(keys).flatten();
    let claims = sources.any(|source| matches!(source, Source::JwtClaim { .. }));
    if tokens || claims { PAYLOADS } else { "" }
}
