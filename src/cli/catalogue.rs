//! The catalogue: public servers that were scanned, each with a policy that somebody has reviewed. Its data is in `policies/catalogue/`.

mod policies;

use std::collections::BTreeSet;

use super::report::counted;
use policies::POLICIES;

/// A server for each line: name, package, version, day of the scan, what it calls itself, what it is for, and its tools.
const KNOWN: &str = include_str!("../../policies/catalogue/known.tsv");

/// Fewer tools than these are no mark of a server: it has to say that it is the one, too.
const FEW_TOOLS: usize = 3;

/// A server of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CataloguedServer {
    pub(super) name: &'static str,
    /// `pypi:` or `npm:`, and its name there.
    pub(super) package: &'static str,
    /// The version that was scanned.
    pub(super) version: &'static str,
    /// When it was scanned: `2026-11-27`.
    pub(super) scanned: &'static str,
    calls_itself: &'static str,
    pub(super) about: &'static str,
    pub(super) tools: BTreeSet<&'static str>,
}

impl CataloguedServer {
    /// The reviewed policy, in YAML.
    pub(super) fn policy(&self) -> Option<&'static str> {
        POLICIES.iter().find(|(name, _)| *name == self.name).map(|(_, policy)| *policy)
    }

    fn read(line: &'static str) -> Option<CataloguedServer> {
        let mut columns = line.split('\t');
        let mut next = || columns.next();
        Some(CataloguedServer {
            name: next()?,
            package: next()?,
            version: next()?,
            scanned: next()?,
            calls_itself: next()?,
            about: next()?,
            tools: next()?.split(' ').collect(),
        })
    }

    /// Whether somebody means this server: by its name here, or by that of its package, with the registry or without.
    fn is_called(&self, name: &str) -> bool {
        let package = self.package.split_once(':').map(|(_, package)| package);
        [Some(self.name), Some(self.package), package].contains(&Some(name))
    }
}

/// A server that looks like one of the catalogue.
pub(super) struct Recognised {
    pub(super) server: CataloguedServer,
    /// How many of its tools have the names of that one's.
    pub(super) shared: usize,
    /// Tools that the reviewed policy knows nothing of.
    pub(super) unknown: Vec<String>,
}

impl Recognised {
    /// Says in a line that there is a policy that somebody has reviewed.
    pub(super) fn proposal(&self) -> String {
        let CataloguedServer { name, package, .. } = self.server;
        let tools = counted(self.shared + self.unknown.len(), "tool");
        format!(
            "{} of its {tools} are those of {package}: `mcp-policy policy {name}` writes a reviewed policy",
            self.shared
        )
    }
}

/// All servers, in the order of their names.
pub(super) fn all() -> Vec<CataloguedServer> {
    KNOWN.lines().filter_map(CataloguedServer::read).collect()
}

/// The server with this name.
pub(super) fn named(name: &str) -> Option<CataloguedServer> {
    all().into_iter().find(|server| server.is_called(name))
}

/// The server whose tools these are: it has most of all their names, and of all servers the largest share. What a server calls
/// itself decides only between equals, and is asked for where the tools are too few to tell.
pub(super) fn recognise<'t>(
    calls_itself: &str,
    tools: impl Iterator<Item = &'t str>,
) -> Option<Recognised> {
    let tools: BTreeSet<&str> = tools.collect();
    let mut best: Option<(u128, Recognised)> = None;
    for server in all() {
        let shared = server.tools.intersection(&tools).count();
        let either = server.tools.union(&tools).count();
        let says_so = server.calls_itself == calls_itself;
        if shared == 0 || shared * 2 < either || (shared < FEW_TOOLS && !says_so) {
            continue;
        }
        // In millionths, and half of one for the name.
        let likeness = shared as u128 * 2_000_000 / either as u128 + u128::from(says_so);
        if best.as_ref().is_none_or(|(most, _)| likeness > *most) {
            let unknown = tools.difference(&server.tools).map(|name| (*name).to_owned()).collect();
            best = Some((likeness, Recognised { server, shared, unknown }));
        }
    }
    best.map(|(_, recognised)| recognised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_server_with_a_policy() {
        let lines = KNOWN.lines().count();
        let servers = all();
        assert_eq!((servers.len(), POLICIES.len()), (lines, lines));
        let mut names = BTreeSet::new();
        for server in &servers {
            assert!(
                server.policy().is_some_and(|policy| policy.contains("default: deny")),
                "{server:?}"
            );
            assert!(!server.tools.is_empty() && !server.about.is_empty(), "{server:?}");
            assert!(names.insert(server.name) && names.insert(server.package), "{server:?}");
        }
    }

    #[test]
    fn each_server_is_recognised_by_its_tools() {
        for server in all() {
            let found = recognise(server.calls_itself, server.tools.iter().copied()).unwrap();
            assert_eq!(found.server.name, server.name);
            assert_eq!((found.shared, found.unknown.len()), (server.tools.len(), 0));
        }
    }

    #[test]
    fn what_is_no_server_of_the_catalogue_is_not_recognised() {
        let git = named("git").unwrap();
        let few: Vec<&str> = git.tools.iter().copied().take(2).collect();
        for (calls_itself, tools, expected) in [
            ("mcp-git", few.clone(), None),
            ("x", vec!["fetch"], None),
            ("x", Vec::new(), None),
            ("x", git.tools.iter().copied().chain(["git_push"]).collect(), Some("git")),
        ] {
            let found = recognise(calls_itself, tools.iter().copied());
            assert_eq!(found.map(|found| found.server.name), expected, "{tools:?}");
        }
    }

    #[test]
    fn a_server_is_named_by_its_package_too() {
        for name in ["git", "mcp-server-git", "pypi:mcp-server-git"] {
            assert_eq!(named(name).map(|server| server.name), Some("git"), "{name}");
        }
        assert_eq!(named("no-such-server"), None);
    }
}
