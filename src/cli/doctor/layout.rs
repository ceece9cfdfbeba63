//! Where the filter or the module stands in Envoy's configuration, and what stands around it.

use mcp_policy::json::Value;

use super::found::Found;
use super::shell::{ConfiguredPolicy, Shell, named_as_ours};

/// An HTTP connection manager.
pub(super) struct FilterChain<'v> {
    pub(super) manager: Found<'v>,
    /// The listener that it is in, where the document has it.
    pub(super) listener: Option<Found<'v>>,
    pub(super) filters: Vec<Found<'v>>,
}

/// The filter or the module, where it stands.
pub(super) struct Placed<'v> {
    /// Its name in the list of filters, by which routes know it.
    pub(super) name: String,
    pub(super) shell: Shell,
    /// What Envoy is told of it: the filter's `config`, or the module's whole message.
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

/// All that the documents have of it.
#[derive(Default)]
pub(super) struct Layout<'v> {
    pub(super) chains: Vec<FilterChain<'v>>,
    pub(super) placed: Vec<Placed<'v>>,
    /// Filters whose configuration comes from elsewhere, and is in none of the documents.
    pub(super) elsewhere: Vec<Found<'v>>,
    /// The names of clusters, where the documents have any.
    pub(super) clusters: Vec<&'v str>,
    /// A configuration of a whole Envoy.
    pub(super) whole: Option<Found<'v>>,
}

/// A configuration in a resource of its own, or of a route, by the name of the filter that it is for.
struct TypedConfig<'v> {
    name: String,
    shell: Shell,
    typed: Found<'v>,
}

impl<'v> Layout<'v> {
    /// Reads the documents.
    pub(super) fn of(documents: &'v [Value<'v>]) -> Layout<'v> {
        let mut layout = Layout::default();
        let mut resources = Vec::new();
        let mut routes = Vec::new();
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
                if layout.whole.is_none() && found.at("static_resources").is_some() {
                    layout.whole = Some(found.clone());
                }
                let in_chain = above.iter().any(|around| around.at("http_filters").is_some());
                let Some(holder) = above.last() else { return };
                match shell_of(found) {
                    Some(shell @ Shell::ModuleOnRoute) => {
                        let wrapped = holder.is_a("route.v3.FilterConfig");
                        let name = if wrapped { holder.key() } else { found.key() };
                        routes.push(TypedConfig { name, shell, typed: found.clone() });
                    }
                    Some(shell @ (Shell::Filter | Shell::Module)) if !in_chain => {
                        let name = holder.text("name").unwrap_or_default().to_owned();
                        resources.push(TypedConfig { name, shell, typed: found.clone() });
                    }
                    Some(Shell::Filter | Shell::Module) | None => {}
                }
            });
        }
        layout.place(&resources);
        let of_routes = routes.iter().filter_map(|named| named.placed(layout.owner(named)));
        let of_routes: Vec<Placed<'_>> = of_routes.collect();
        layout.placed.extend(of_routes);
        layout
    }

    /// Finds it in the chains, and in the resources that chains only name.
    fn place(&mut self, resources: &[TypedConfig<'v>]) {
        let mut taken = Vec::new();
        let mut placed = Vec::new();
        for (chain, each) in self.chains.iter().enumerate() {
            for (at, filter) in each.filters.iter().enumerate() {
                let name = filter.text("name").unwrap_or_default();
                let place = Some(FilterPlace { chain, at });
                if let Some(typed) = filter.at("typed_config") {
                    let Some(shell) = shell_of(&typed) else { continue };
                    placed
                        .extend(TypedConfig { name: name.to_owned(), shell, typed }.placed(place));
                } else if let Some(discovery) = filter.at("config_discovery") {
                    let wanted = resources.iter().enumerate();
                    let before = placed.len();
                    for (index, named) in wanted.filter(|(_, named)| named.name == name) {
                        taken.push(index);
                        placed.extend(named.placed(place));
                    }
                    if before == placed.len() && named_as_ours(name) {
                        self.elsewhere.push(discovery);
                    }
                }
            }
        }
        let rest = resources.iter().enumerate().filter(|(index, _)| !taken.contains(index));
        placed.extend(rest.filter_map(|(_, named)| named.placed(None)));
        self.placed = placed;
    }

    /// The chain that something stands in.
    pub(super) fn chain_around(&self, found: &Found<'_>) -> Option<usize> {
        self.chains.iter().position(|chain| found.is_within(&chain.manager))
    }

    /// The filter that a configuration of a route is for.
    fn owner(&self, named: &TypedConfig<'v>) -> Option<FilterPlace> {
        let chain = self.chain_around(&named.typed)?;
        let is_owner = |filter: &Found<'_>| {
            filter.text("name") == Some(&*named.name)
                && (filter.is_configured_as(Shell::Module.message())
                    || filter.at("config_discovery").is_some())
        };
        let at = self.chains.get(chain)?.filters.iter().position(is_owner)?;
        Some(FilterPlace { chain, at })
    }
}

impl<'v> Placed<'v> {
    /// The name that its counters belong to; `None` where there is none.
    pub(super) fn scope(&self) -> Option<Found<'v>> {
        let scope = self.plugin.path(self.shell.scope())?;
        (!scope.value.as_str()?.is_empty()).then_some(scope)
    }

    /// Its policy, as it is written.
    pub(super) fn policy_value(&self) -> Option<&'v Value<'v>> {
        Some(self.plugin.path(&[self.shell.policy_field(), "value"])?.value)
    }
}

impl<'v> TypedConfig<'v> {
    /// With its policy, if it is of this product.
    fn placed(&self, place: Option<FilterPlace>) -> Option<Placed<'v>> {
        let plugin = self.shell.plugin(&self.typed)?;
        let policy = self.shell.policy(&plugin);
        let name = self.name.clone();
        let ours = self.shell.is_ours(&plugin);
        ours.then_some(Placed { name, shell: self.shell, plugin, policy, place })
    }
}

fn shell_of(found: &Found<'_>) -> Option<Shell> {
    Shell::ALL.into_iter().find(|shell| found.is_a(shell.message()))
}
