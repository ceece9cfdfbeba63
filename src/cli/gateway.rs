//! What is to be deployed: one policy, or several as one configuration, from files that are named or from a gateway file.

mod combine;

use std::path::{Path, PathBuf};

use mcp_policy::gateway::upstream::Upstream;
use mcp_policy::gateway::{Gateway, GatewayServer, HostHeader, is_gateway};
use mcp_policy::policy::compiled::Config;
use mcp_policy::source::SourceText;

use super::input::{self, ByFile, CliError};
use super::output::Notes;
use super::tree::Node;
use combine::CombinedFiles;

/// A configuration, from whatever files.
pub(super) struct Deployable {
    /// How its author calls it, for messages.
    pub(super) called: String,
    /// Its own name, after its file or by its own word.
    pub(super) name: String,
    pub(super) config: Config,
    /// As its authors wrote it.
    pub(super) document: Node,
    /// The servers behind it, where it says.
    pub(super) servers: Vec<GatewayServer>,
    /// What became of parts of it.
    pub(super) notes: Notes,
    /// What is legal in it, but surely not meant, by file.
    pub(super) warnings: ByFile,
}

/// Where agents reach policies that are only named by their files.
pub(super) struct Unplaced<'u> {
    /// Where the one server is, and its name there: see [`place`].
    pub(super) path: &'u str,
    pub(super) upstream: &'u Upstream,
    pub(super) host_header: HostHeader,
}

/// Reads a policy, a gateway file with its policies, or several policies.
pub(super) fn read(files: &[PathBuf], unplaced: &Unplaced<'_>) -> Result<Deployable, CliError> {
    if let [file] = files {
        let source = input::source(file)?;
        if is_gateway(&input::value(&source)?) {
            return of_gateway(file, source);
        }
        return alone(file, source);
    }
    let mut servers: Vec<GatewayServer> = Vec::new();
    for file in files {
        if file == Path::new(input::STDIN) {
            let line = "standard input is one document, which is rendered alone";
            return Err(CliError::Line(line.to_owned()));
        }
        let source = input::source(file)?;
        if is_gateway(&input::value(&source)?) {
            let line = "a gateway file names its policies: it is rendered alone";
            return Err(CliError::Line(format!("{}: {line}", source.name)));
        }
        let name = name_after(file);
        if let Some(other) = servers.iter().find(|other| other.name == name) {
            let line = format!("its name would be `{name}`, as that of {} is", other.policy);
            return Err(CliError::Line(format!(
                "{}: {line}; rename one of the files",
                source.name
            )));
        }
        servers.push(GatewayServer {
            upstream: unplaced.upstream.clone(),
            host: None,
            path: unplaced.path.replace("{name}", &name),
            policy: file.display().to_string(),
            callers: Vec::new(),
            host_header: unplaced.host_header.clone(),
            ca: None,
            sni: None,
            name,
        });
    }
    CombinedFiles::of(None, Path::new(""), servers)?.finish("gateway".to_owned())
}

/// A policy, or a whole configuration, by itself.
fn alone(file: &Path, source: SourceText) -> Result<Deployable, CliError> {
    let (source, config) = input::usable(source)?;
    let document = Node::from(&input::value(&source)?);
    let (called, name) = (source.name, name_after(file));
    let (servers, notes, warnings) = (Vec::new(), Notes::default(), Vec::new());
    Ok(Deployable { called, name, config, document, servers, notes, warnings })
}

fn of_gateway(file: &Path, source: SourceText) -> Result<Deployable, CliError> {
    let value = input::value(&source)?;
    let gateway = match Gateway::read(&value) {
        Ok(gateway) => gateway,
        Err(problems) => {
            let problems = source.locate(problems);
            return Err(CliError::Document(Box::new(source), problems));
        }
    };
    let name = gateway.name.unwrap_or_else(|| name_after(file));
    let folder = file.parent().unwrap_or(Path::new(""));
    let document = Node::from(&value);
    drop(value);
    CombinedFiles::of(Some((source, document)), folder, gateway.servers)?.finish(name)
}

/// What is wrong with a gateway file and the policies that it names, by file; nothing where it is none.
pub(super) fn problems(file: &Path, source: &SourceText) -> Option<Result<ByFile, CliError>> {
    if !source.value().is_ok_and(|value| is_gateway(&value)) {
        return None;
    }
    Some(match of_gateway(file, source.clone()) {
        Ok(found) => Ok(found.warnings),
        Err(CliError::Document(source, problems)) => Ok(vec![(*source, problems)]),
        Err(CliError::Documents(found)) => Ok(found),
        Err(trouble) => Err(trouble),
    })
}

/// The name of a policy after its file: `stripe` after `policies/Stripe.test.yaml`.
pub(super) fn name_after(file: &Path) -> String {
    const LONGEST: usize = 63 - "mcp-policy-".len();
    let stem =
        file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default();
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let name = name.get(..name.len().min(LONGEST)).unwrap_or_default();
    name.trim_end_matches('-').to_owned()
}
