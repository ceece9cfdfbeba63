//! What the engine runs in, by what Envoy's configuration says of it.

use base64ct::{Base64, Encoding as _};
use mcp_policy::json::canonical;
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::{SourceText, Syntax};

use super::found::Found;

/// What the engine runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    /// The filter in a VM.
    Filter,
    /// The native module.
    Module,
    /// The native module, on the routes that have a configuration of their own for it.
    ModuleOnRoute,
}

/// What is configured.
pub(super) enum ConfiguredPolicy<'v> {
    /// Nothing.
    Missing,
    /// Something that is not read as a policy.
    Unread(Found<'v>),
    /// A text that is refused, and why.
    Refused(Found<'v>, String),
    /// A policy.
    Loaded(Box<Config>),
}

/// A message of protobuf that a policy can stand in.
enum PolicyMessage {
    StringValue,
    BytesValue,
    Struct,
}

impl Shell {
    pub(super) const ALL: [Shell; 3] = [Shell::Filter, Shell::Module, Shell::ModuleOnRoute];

    /// The end of the type of its configuration.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Shell::Filter => "http.wasm.v3.Wasm",
            Shell::Module => "http.dynamic_modules.v3.DynamicModuleFilter",
            Shell::ModuleOnRoute => "http.dynamic_modules.v3.DynamicModuleFilterPerRoute",
        }
    }

    /// What to call it.
    pub(super) const fn called(self) -> &'static str {
        match self {
            Shell::Filter => "filter",
            Shell::Module | Shell::ModuleOnRoute => "module",
        }
    }

    /// Of a configuration of its type, the part that all else is in.
    pub(super) fn plugin<'v>(self, typed: &Found<'v>) -> Option<Found<'v>> {
        match self {
            Shell::Filter => typed.at("config"),
            Shell::Module | Shell::ModuleOnRoute => Some(typed.clone()),
        }
    }

    /// The field that the policy is in.
    pub(super) const fn policy_field(self) -> &'static str {
        match self {
            Shell::Filter => "configuration",
            Shell::Module | Shell::ModuleOnRoute => "filter_config",
        }
    }

    /// Where the field is whose text counters belong to, its name last.
    pub(super) const fn scope(self) -> &'static [&'static str] {
        match self {
            Shell::Filter => &["vm_config", "vm_id"],
            Shell::Module => &["filter_name"],
            Shell::ModuleOnRoute => &["per_route_config_name"],
        }
    }

    /// Where the file or the address of its program is.
    pub(super) const fn program(self) -> &'static [&'static str] {
        match self {
            Shell::Filter => &["vm_config", "code"],
            Shell::Module | Shell::ModuleOnRoute => &["dynamic_module_config", "module"],
        }
    }

    /// Whether counters under one name are the same: those of all VMs are, and those of the module everywhere in the process.
    pub(super) fn counts_with(self, other: Shell) -> bool {
        (self == Shell::Filter) == (other == Shell::Filter)
    }

    /// Whether a configuration is of this product: by a name or a file in it, or by a policy in it.
    pub(super) fn is_ours(self, plugin: &Found<'_>) -> bool {
        let mut ours = matches!(self.policy(plugin), ConfiguredPolicy::Loaded(_));
        plugin.visit(&mut Vec::new(), &mut |found, _| {
            ours |= found.value.as_str().is_some_and(named_as_ours);
        });
        ours
    }

    /// What is configured.
    pub(super) fn policy<'v>(self, plugin: &Found<'v>) -> ConfiguredPolicy<'v> {
        let Some(configuration) = plugin.at(self.policy_field()) else {
            return ConfiguredPolicy::Missing;
        };
        let message = self.messages().iter().find(|(end, _)| configuration.is_a(end));
        let read = message.zip(configuration.at("value"));
        let read = read.and_then(|((_, message), value)| Some((message.text(&value)?, value)));
        let Some((text, value)) = read else { return ConfiguredPolicy::Unread(configuration) };
        let source = SourceText { name: String::new(), text, syntax: Syntax::Json };
        let (config, problems) = source.compile();
        match config {
            Some(config) => ConfiguredPolicy::Loaded(Box::new(config)),
            None => {
                let first = problems.iter().find(|problem| problem.is_error());
                let first = first.map(|problem| problem.diagnostic.message.clone());
                ConfiguredPolicy::Refused(value, first.unwrap_or_default())
            }
        }
    }

    /// The messages whose content reaches it as the text of a policy. Envoy hands a filter all others as bytes of protobuf, and a module some of
    /// them as text.
    const fn messages(self) -> &'static [(&'static str, PolicyMessage)] {
        match self {
            Shell::Filter => &[("protobuf.StringValue", PolicyMessage::StringValue)],
            Shell::Module | Shell::ModuleOnRoute => &[
                ("protobuf.StringValue", PolicyMessage::StringValue),
                ("protobuf.BytesValue", PolicyMessage::BytesValue),
                (STRUCT, PolicyMessage::Struct),
            ],
        }
    }
}

/// The end of the type whose numbers are all doubles.
pub(super) const STRUCT: &str = "protobuf.Struct";

impl PolicyMessage {
    fn text(&self, value: &Found<'_>) -> Option<String> {
        match self {
            PolicyMessage::StringValue => value.value.as_str().map(str::to_owned),
            PolicyMessage::BytesValue => {
                String::from_utf8(Base64::decode_vec(value.value.as_str()?).ok()?).ok()
            }
            PolicyMessage::Struct => value.value.as_object().map(|_| canonical(value.value).text),
        }
    }
}

pub(super) fn named_as_ours(text: &str) -> bool {
    text.contains("mcp_policy") || text.contains("mcp-policy")
}
