//! Where the filter stands in Envoy's configuration, and what stands around it.

use mcp_policy::json::Value;
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::{SourceText, Syntax};

use super::found::Found;

const WASM: &str = "http.wasm.v3.Wasm";

/// An HTTP connection manager.
pub(super) struct FilterChain<'v> {
    pub(super) manager: Found<'v>,
    /// The listener that it is in, where the document has it.
    pub(super) listener: Option<Found<'v>>,
    pub(super) filters: Vec<Found<'v>>,
}

/// The filter, where it stands.
pub(super) struct Placed<'v> {
    /// Its name in the list of filters, by which routes know it.
    pub(super) name: &'v str,
    /// Its `config`.
    pub(super) plugin: Found<'v>,
    pub(super) policy: ConfiguredPolicy<'v>,
    /// Its chain, and its place there: `None` in a resource of its own, such as an EnvoyFilter's, whose place another document says.
    pub(super) place: Option<FilterPlace>,
}

/// A place in a list of filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilterPlace {
    /// Which chain of the layout.
    pub(super) chain: usize,
    /// Which of its filters.
    pub(super) at: usize,
}

/// What the filter is configured with.
pub(super) enum ConfiguredPolicy<'v> {
    /// Nothing.
    Missing,
    /// Something else than a StringValue.
    Unread(Found<'v>),
    /// A text that the filter refuses, and why.
    Refused(Found<'v>, String),
    /// A policy.
    Loaded(Box<Config>),
}

/// All that the documents have of it.
pub(super) struct Layout<'v> {
    pub(super) chains: Vec<FilterChain<'v>>,
    pub(super) placed: Vec<Placed<'v>>,
    /// Filters whose configuration comes from elsewhere, and is in none of the documents.
    pub(super) elsewhere: Vec<Found<'v>>,
    /// The names of clusters, where the documents have any.
    pub(super) clusters: Vec<&'v str>,
}

impl<'v> Layout<'v> {
    /// Reads the documents.
    pub(super) fn of(documents: &'v [Value<'v>]) -> Layout<'v> {
        let mut layout = Layout {
            chains: Vec::new(),
            placed: Vec::new(),
            elsewhere: Vec::new(),
            clusters: Vec::new(),
        };
        let mut resources = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            Found::root(at, document).visit(&mut Vec::new(), &mut |found, above| {
                if let Some(filters) = found.at("http_filters") {
                    let listener =
                        above.iter().rev().find(|around| around.at("filter_chains").is_some());
                    layout.chains.push(FilterChain {
                        manager: found.clone(),
                        listener: listener.cloned(),
                        filters: filters.children(),
                    });
                }
                if found.at("load_assignment").is_some() || found.at("lb_policy").is_some() {
                    layout.clusters.extend(found.text("name"));
                }
                let in_chain = above.iter().any(|around| around.at("http_filters").is_some());
                let Some(holder) = above.last() else { return };
                if found.is_a(WASM) && !in_chain {
                    resources.push((holder.text("name").unwrap_or_default(), found.clone()));
                }
            });
        }
        layout.place(&resources);
        layout
    }

    /// Finds the filter in the chains, and in the resources that chains only name.
    fn place(&mut self, resources: &[(&'v str, Found<'v>)]) {
        let mut taken = Vec::new();
        let mut placed = Vec::new();
        for (chain, each) in self.chains.iter().enumerate() {
            for (at, filter) in each.filters.iter().enumerate() {
                let name = filter.text("name").unwrap_or_default();
                let place = Some(FilterPlace { chain, at });
                if let Some(typed) = filter.at("typed_config") {
                    let config = typed.at("config").filter(|_| typed.is_a(WASM));
                    placed.extend(config.filter(is_ours).map(|plugin| Placed {
                        name,
                        policy: policy(&plugin),
                        plugin,
                        place,
                    }));
                } else if let Some(discovery) = filter.at("config_discovery") {
                    let wanted = resources.iter().enumerate();
                    let wanted = wanted
                        .filter(|(_, (known, _))| *known == name)
                        .map(|(index, (_, typed))| (index, typed));
                    let before = placed.len();
                    for (index, typed) in wanted {
                        taken.push(index);
                        let Some(plugin) = typed.at("config") else { continue };
                        placed.push(Placed { name, policy: policy(&plugin), plugin, place });
                    }
                    if before == placed.len() && named_as_ours(name) {
                        self.elsewhere.push(discovery);
                    }
                }
            }
        }
        for (index, (name, typed)) in resources.iter().enumerate() {
            let config = typed.at("config").filter(|_| !taken.contains(&index));
            placed.extend(config.filter(is_ours).map(|plugin| Placed {
                name,
                policy: policy(&plugin),
                plugin,
                place: None,
            }));
        }
        self.placed = placed;
    }
}

fn named_as_ours(text: &str) -> bool {
    text.contains("mcp_policy") || text.contains("mcp-policy")
}

/// Whether the configuration of a Wasm filter is of this one: by a name or a file in it, or by a policy in it.
fn is_ours(plugin: &Found<'_>) -> bool {
    let mut ours = matches!(policy(plugin), ConfiguredPolicy::Loaded(_));
    plugin.visit(&mut Vec::new(), &mut |found, _| {
        ours |= found.value.as_str().is_some_and(named_as_ours);
    });
    ours
}

fn policy<'v>(plugin: &Found<'v>) -> ConfiguredPolicy<'v> {
    let Some(configuration) = plugin.at("configuration") else { return ConfiguredPolicy::Missing };
    let text = configuration.at("value").filter(|_| configuration.is_a("protobuf.StringValue"));
    let Some((value, text)) = text.and_then(|value| Some((value.clone(), value.value.as_str()?)))
    else {
        return ConfiguredPolicy::Unread(configuration);
    };
    let source = SourceText { name: String::new(), text: text.to_owned(), syntax: Syntax::Json };
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
