//! What stands around the filter in its chain: other filters, and what the connection manager is told.

use mcp_policy::language::diagnostic::Code;
use mcp_policy::policy::callers::{AsksAddress, Source};
use mcp_policy::policy::compiled::Config;

use super::findings::Findings;
use super::layout::{FilterChain, Placed};
use super::tokens;

/// On which side of the filter another one is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NeighbourSide {
    Before,
    After,
}

/// A filter beside this one, by the end of its message, and what is wrong where it stands on that side.
struct Neighbour {
    message: &'static str,
    side: NeighbourSide,
    code: Code,
    is_error: bool,
    trouble: &'static str,
    cure: &'static str,
}

/// A filter that can change requests, behind this one.
const fn changes(message: &'static str) -> Neighbour {
    Neighbour {
        message,
        side: NeighbourSide::After,
        code: Code::FilterOrder,
        is_error: false,
        trouble: "what it makes of a request, nobody judges",
        cure: "put it before this filter, or do not let it change calls",
    }
}

/// The neighbours that matter.
const NEIGHBOURS: &[Neighbour] = &[
    Neighbour {
        message: "http.router.v3.Router",
        side: NeighbourSide::Before,
        code: Code::FilterOrder,
        is_error: true,
        trouble: "no request gets past the router: this filter never sees one",
        cure: "put this filter before the router",
    },
    Neighbour {
        message: "http.cors.v3.Cors",
        side: NeighbourSide::After,
        code: Code::CorsOrder,
        is_error: true,
        trouble: "denials have no CORS headers: a browser hides them from its page, as a network error",
        cure: "put envoy.filters.http.cors before this filter",
    },
    Neighbour {
        message: "http.jwt_authn.v3.JwtAuthentication",
        side: NeighbourSide::After,
        code: Code::TokensUnread,
        is_error: true,
        trouble: "tokens are verified after the policy has decided",
        cure: "put envoy.filters.http.jwt_authn before this filter",
    },
    Neighbour {
        message: "http.decompressor.v3.Decompressor",
        side: NeighbourSide::Before,
        code: Code::FilterOrder,
        is_error: false,
        trouble: "lists that a server packs get to this filter packed, and are withheld",
        cure: "put the decompressor after this filter",
    },
    changes("http.ext_proc.v3.ExternalProcessor"),
    changes("http.lua.v3.Lua"),
    changes("http.wasm.v3.Wasm"),
    changes("http.dynamic_modules.v3.DynamicModuleFilter"),
    changes("http.golang.v3alpha.Config"),
];

/// Checks a filter in its chain.
pub(super) fn check(
    filter: &Placed<'_>,
    at: usize,
    chain: &FilterChain<'_>,
    config: Option<&Config>,
    findings: &mut Findings,
) {
    order(at, chain, findings);
    if let Some(itself) = chain.filters.get(at).filter(|itself| itself.is_set("disabled")) {
        let trouble = format!("the {} is disabled", filter.shell.called());
        findings.error(itself, Code::FilterOff, &trouble, "take `disabled` away");
    }
    overridden(filter, chain, findings);
    let Some(config) = config else { return };
    tokens::check(filter.shell, at, chain, config, findings);
    addresses(chain, config, findings);
    paths(chain, config, findings);
}

fn order(at: usize, chain: &FilterChain<'_>, findings: &mut Findings) {
    for (index, other) in chain.filters.iter().enumerate() {
        let side = match index.cmp(&at) {
            std::cmp::Ordering::Less => NeighbourSide::Before,
            std::cmp::Ordering::Greater => NeighbourSide::After,
            std::cmp::Ordering::Equal => continue,
        };
        let Some(typed) = other.at("typed_config") else { continue };
        for neighbour in
            NEIGHBOURS.iter().filter(|each| each.side == side && typed.is_a(each.message))
        {
            if neighbour.is_error {
                findings.error(other, neighbour.code, neighbour.trouble, neighbour.cure);
            } else {
                findings.warning(other, neighbour.code, neighbour.trouble, neighbour.cure);
            }
        }
        let packs = typed.is_a("http.compressor.v3.Compressor")
            && typed.at("request_direction_config").is_some();
        if packs && side == NeighbourSide::Before {
            let trouble = "bodies that it packs are refused: this filter reads no packed request";
            findings.error(
                other,
                Code::FilterOrder,
                trouble,
                "put the compressor after this filter",
            );
        }
    }
}

/// What routes say of the filter.
fn overridden(filter: &Placed<'_>, chain: &FilterChain<'_>, findings: &mut Findings) {
    let Some(routes) = chain.manager.at("route_config") else { return };
    let has_cors = chain.filters.iter().any(|other| other.is_configured_as("http.cors.v3.Cors"));
    routes.visit(&mut Vec::new(), &mut |found, above| {
        let per_filter =
            above.last().is_some_and(|around| around.is_field("typed_per_filter_config"));
        if per_filter && found.key() == filter.name && found.is_set("disabled") {
            let trouble = "the filter is off on this route: its calls pass unread";
            findings.error(
                found,
                Code::FilterOff,
                trouble,
                "take `disabled` away; what is not MCP can pass by `requests.pass`",
            );
        }
        if per_filter && found.is_a("http.cors.v3.CorsPolicy") && !has_cors {
            let cure = "add envoy.filters.http.cors before this filter";
            findings.error(
                found,
                Code::CorsOrder,
                "no filter reads this policy for browsers",
                cure,
            );
        }
    });
}

fn addresses(chain: &FilterChain<'_>, config: &Config, findings: &mut Findings) {
    let keys = config.callers.keys.iter().flat_map(|key| &key.sources);
    let by_address =
        config.callers.grant.iter().chain(keys).any(|source| *source == Source::SourceIp);
    if (by_address || config.asks_address == AsksAddress::Always)
        && !chain.manager.is_set("use_remote_address")
    {
        findings.error(
            &chain.manager,
            Code::AddressUnknown,
            "the policy goes by the address of the caller, and a client can name any in `x-forwarded-for`",
            "add `use_remote_address: true`; behind another proxy also `xff_num_trusted_hops`",
        );
    }
}

/// Whether the path that is judged is the path that the server reads.
fn paths(chain: &FilterChain<'_>, config: &Config, findings: &mut Findings) {
    let manager = &chain.manager;
    let bound = config.bindings.is_some() || config.doors.mcp.is_some();
    let missing: Vec<&str> = ["normalize_path", "merge_slashes"]
        .into_iter()
        .filter(|field| !manager.is_set(field))
        .collect();
    if bound && !missing.is_empty() {
        let fields: Vec<String> = missing.iter().map(|field| format!("`{field}: true`")).collect();
        findings.warning(
            manager,
            Code::PathsDiffer,
            "the policy goes by paths, and Envoy routes them as they come, in any spelling",
            &format!("add {}", fields.join(" and ")),
        );
    }
    let underscores = manager.path(&["common_http_protocol_options"]);
    let underscores = underscores
        .and_then(|options| options.text("headers_with_underscores_action").map(str::to_owned));
    if underscores.is_none_or(|action| action == "ALLOW") {
        findings.warning(
            manager,
            Code::PathsDiffer,
            "many servers read `mcp_name` as `mcp-name`, which neither Envoy nor this filter does",
            "add `common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }`",
        );
    }
}
