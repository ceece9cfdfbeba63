//! Several policies as one configuration, and each problem of it in the file that it comes from.

use std::path::Path;

use mcp_policy::gateway::{GatewayServer, OF_ALL_POLICIES, SETTINGS};
use mcp_policy::language::diagnostic::Diagnostic;
use mcp_policy::render::Deployable;
use mcp_policy::source::{Problem, SourceText, Syntax};
use mcp_policy::tree::notes::Notes;
use mcp_policy::tree::print::print;
use mcp_policy::tree::{Map, Node};

use super::name_after_file;
use crate::cli::input::{self, ByFile, CliError};

/// A configuration in the making.
pub(super) struct CombinedFiles {
    /// The gateway file first, if there is one; then the policies' files.
    sources: Vec<SourceText>,
    has_gateway: bool,
    servers: Vec<GatewayServer>,
    /// Files of policies, with the policy's name and the index of its source.
    files: Vec<(String, String, usize)>,
    policies: Map,
    bindings: Vec<Node>,
    /// Where each binding, or a part of it, stands in the gateway file; longer places first.
    places: Vec<(String, String)>,
    /// What stands beside the policies, with the index of the source that says it.
    settings: Vec<(String, Node, usize)>,
    notes: Notes,
}

impl CombinedFiles {
    /// Combines the policies of these servers, whose files are in a folder.
    pub(super) fn of(
        gateway: Option<(SourceText, Node)>,
        folder: &Path,
        servers: Vec<GatewayServer>,
    ) -> Result<CombinedFiles, CliError> {
        let mut combination = CombinedFiles {
            sources: Vec::new(),
            has_gateway: gateway.is_some(),
            servers: Vec::new(),
            files: Vec::new(),
            policies: Map::default(),
            bindings: Vec::new(),
            places: Vec::new(),
            settings: Vec::new(),
            notes: Notes::default(),
        };
        if let Some((source, document)) = gateway {
            combination.sources.push(source);
            for key in SETTINGS.iter().chain(OF_ALL_POLICIES) {
                let value = document.as_map().and_then(|members| members.get(key));
                let value = value.map(|value| ((*key).to_owned(), value.clone(), 0));
                combination.settings.extend(value);
            }
        }
        for server in &servers {
            combination.bind(server, folder)?;
        }
        combination.servers = servers;
        Ok(combination)
    }

    /// Adds the bindings of a server: those of some callers first.
    fn bind(&mut self, server: &GatewayServer, folder: &Path) -> Result<(), CliError> {
        let place = format!("servers.{}", server.name);
        for (at, callers) in server.callers.iter().enumerate() {
            let names = callers.identity.iter().map(|(key, text)| (&**key, Node::text(text)));
            let (names, at) = (Node::map(names), format!("{place}.callers[{at}]"));
            let policy = self.policy(&callers.policy, folder)?;
            let number = self.bindings.len();
            let identity = format!("bindings[{number}].match.identity");
            self.places.push((identity, format!("{at}.identity")));
            self.binding(server, policy, Some(names), &at);
        }
        let policy = self.policy(&server.policy, folder)?;
        self.binding(server, policy, None, &place);
        Ok(())
    }

    fn binding(
        &mut self,
        server: &GatewayServer,
        policy: String,
        identity: Option<Node>,
        place: &str,
    ) {
        let number = self.bindings.len();
        let mut matched = Map::default();
        if let Some(host) = &server.host {
            matched.push("host", Node::text(host));
        }
        matched.push("path", Node::text(&server.path));
        if let Some(identity) = identity {
            matched.push("identity", identity);
        }
        for part in ["host", "path"] {
            let at = format!("servers.{}.{part}", server.name);
            self.places.push((format!("bindings[{number}].match.{part}"), at));
        }
        self.places.push((format!("bindings[{number}]"), place.to_owned()));
        let binding = [("match", Node::Map(matched)), ("policy", Node::Text(policy))];
        self.bindings.push(Node::map(binding));
    }

    /// The name of the policy in a file, which is read if it was not.
    fn policy(&mut self, file: &str, folder: &Path) -> Result<String, CliError> {
        let path = folder.join(file);
        let shown = path.display().to_string();
        if let Some((_, name, _)) = self.files.iter().find(|(known, _, _)| *known == shown) {
            return Ok(name.clone());
        }
        let source = input::source(&path)?;
        let refused = |problem: String| CliError::Line(format!("{}: {problem}", source.name));
        let mut document = Node::from(&input::value(&source)?);
        let at = self.sources.len();
        let mut name = name_after_file(&path);
        if let Some(members) = document.as_map_mut() {
            if members.get("policies").is_some() {
                let line = "it is a whole configuration, with `policies` and bindings of its own; a gateway file takes policies one by one";
                return Err(refused(line.to_owned()));
            }
            if let Some(own) = members.take("name").as_ref().and_then(Node::as_text) {
                name = own.to_owned();
            }
            for key in SETTINGS {
                if let Some(value) = members.take(key) {
                    self.setting(key, value, at, &source.name)?;
                }
            }
        }
        if name.is_empty() {
            return Err(refused("no name for a policy can be made of this file's".to_owned()));
        }
        if let Some((other, _, _)) = self.files.iter().find(|(_, known, _)| *known == name) {
            let line = format!(
                "`{name}` is the name of the policy in {other} too; rename one of the files"
            );
            return Err(refused(line));
        }
        self.sources.push(source);
        self.files.push((shown, name.clone(), at));
        self.policies.push(name.clone(), document);
        Ok(name)
    }

    /// Takes a setting out of a policy's file.
    fn setting(
        &mut self,
        key: &str,
        mut value: Node,
        at: usize,
        file: &str,
    ) -> Result<(), CliError> {
        let paths = value.as_map_mut().filter(|_| key == "requests");
        if paths.is_some_and(|requests| requests.take("paths").is_some()) {
            let note = "is left out: bindings say which paths speak MCP";
            self.notes.add(&format!("{file}: requests.paths"), note);
        }
        if value == Node::Map(Map::default()) {
            return Ok(());
        }
        match self.settings.iter().find(|(known, _, _)| known == key) {
            None => self.settings.push((key.to_owned(), value, at)),
            Some((_, known, _)) if *known == value => {}
            Some((_, _, 0)) if self.has_gateway => {
                let note = "is left out: the gateway file has its own";
                self.notes.add(&format!("{file}: {key}"), note);
            }
            Some((_, _, other)) => {
                let other = self.sources.get(*other).map(|source| &*source.name);
                let line = format!(
                    "{file}: its `{key}` is not that of {}, and one filter has one; put it into a gateway file",
                    other.unwrap_or_default()
                );
                return Err(CliError::Line(line));
            }
        }
        Ok(())
    }

    /// Compiles what has been combined.
    pub(super) fn finish(mut self, name: String) -> Result<Deployable, CliError> {
        let mut members = Map::default();
        members.push("policies", Node::Map(std::mem::take(&mut self.policies)));
        members.push("bindings", Node::list(std::mem::take(&mut self.bindings)));
        for (key, value, _) in &self.settings {
            members.push(key.clone(), value.clone());
        }
        let document = Node::Map(members);
        let text = print(&document, Syntax::Json, 0);
        let whole = SourceText { name: String::new(), text, syntax: Syntax::Json };
        let (config, problems) = whole.compile();
        let found = self.at_home(problems);
        let Some(config) = config else { return Err(CliError::Documents(found)) };
        let called = match self.sources.first() {
            Some(gateway) if self.has_gateway => gateway.name.clone(),
            Some(_) | None => name.clone(),
        };
        let (servers, notes) = (self.servers, self.notes);
        Ok(Deployable { called, name, config, document, servers, notes, warnings: found })
    }

    /// Problems of the whole, each in the file that it comes from. Every file is there, if only with none.
    fn at_home(&self, problems: Vec<Problem>) -> ByFile {
        let mut of_each: Vec<Vec<Diagnostic>> = vec![Vec::new(); self.sources.len()];
        for problem in problems {
            let (at, place) = self.home(&problem.diagnostic.place);
            let earlier = problem.diagnostic.earlier.as_deref().map(|place| self.home(place));
            let earlier = earlier.filter(|(other, _)| *other == at).map(|(_, place)| place);
            let diagnostic = Diagnostic { place, earlier, ..problem.diagnostic };
            if let Some(list) = of_each.get_mut(at) {
                list.push(diagnostic);
            }
        }
        let located = self.sources.iter().zip(of_each);
        located.map(|(source, found)| (source.clone(), source.locate(found))).collect()
    }

    /// The source that a place of the whole comes from, by its index, and the place there.
    fn home(&self, place: &str) -> (usize, String) {
        for (_, name, at) in &self.files {
            let odd = format!("policies[{}]", mcp_policy::json::written(&**name));
            if let Some(rest) = below(place, &format!("policies.{name}")).or(below(place, &odd)) {
                return (*at, rest.strip_prefix('.').unwrap_or(rest).to_owned());
            }
        }
        for (of_binding, own) in self.places.iter().filter(|_| self.has_gateway) {
            if let Some(rest) = below(place, of_binding) {
                // What is there belongs to the agent's side of the file: `policy` is a name that was made here.
                let rest = if own.ends_with("identity") { rest } else { "" };
                return (0, format!("{own}{rest}"));
            }
        }
        for (key, _, at) in &self.settings {
            if below(place, key).is_some() {
                return (*at, place.to_owned());
            }
        }
        (0, String::new())
    }
}

/// What follows a place in a longer one, or nothing where it is the same; `None` where it is another.
fn below<'p>(place: &'p str, of: &str) -> Option<&'p str> {
    let rest = place.strip_prefix(of)?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}
