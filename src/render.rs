//! Policies as a complete deployment file, as `mcp-policy render` and the page write it. For authors only.
//!
//! The files in `envoy/` are the templates, so what is rendered is what the tests run; only their policies, names and
//! addresses are replaced. Nothing is read or written here: a configuration and options go in, a text comes out.

mod deployment;
mod live;
mod module;
pub mod needs;
pub mod options;
mod routes;
mod services;
mod switch;
mod template;
pub mod value;

use crate::bounds::{CONNECTION_BYTES, envoy_body_limit};
use crate::gateway::GatewayServer;
use crate::policy::compiled::Config;
use crate::source::{Problem, SourceText};
use crate::tree::Node;
use crate::tree::notes::Notes;
use deployment::Deployment;
pub use live::FILE;
use options::{RenderOptions, Switch};
use value::{KubernetesName, name_after};

/// A configuration that is to be deployed, from whatever files.
#[derive(Debug)]
pub struct Deployable {
    /// How its author calls it, for messages.
    pub called: String,
    /// Its own name, after its file or by its own word.
    pub name: String,
    /// What the filter makes of it.
    pub config: Config,
    /// As its authors wrote it.
    pub document: Node,
    /// The servers behind it, where it says.
    pub servers: Vec<GatewayServer>,
    /// What became of parts of it.
    pub notes: Notes,
    /// What is legal in it, but surely not meant, by file.
    pub warnings: Vec<(SourceText, Vec<Problem>)>,
}

impl Deployable {
    /// A policy, or a whole configuration, by itself. It is named after its file, of which no folders are given.
    ///
    /// # Errors
    /// Where the text cannot be read.
    pub fn alone(
        source: &SourceText,
        config: Config,
        file: &str,
    ) -> Result<Deployable, Box<Problem>> {
        let document = Node::from(&source.value()?);
        let (called, name) = (source.name.clone(), name_after(file));
        let (servers, notes, warnings) = (Vec::new(), Notes::default(), Vec::new());
        Ok(Deployable { called, name, config, document, servers, notes, warnings })
    }
}

/// What was rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The file that was asked for.
    pub text: String,
    /// The filter in a file of its own, for the folder that Envoy watches (`--live`).
    pub filter: Option<String>,
    /// What the operator should know.
    pub notes: Notes,
}

/// Renders a configuration.
///
/// # Errors
/// Why it cannot be rendered so, in words of the command's options.
///
/// ```
/// use mcp_policy::render::options::{RenderOptions, RenderTarget};
/// use mcp_policy::render::{Deployable, render};
/// use mcp_policy::source::SourceText;
///
/// let source = SourceText::new("pay.json", br#"{"version": "1", "default": "deny", "tools": {}}"#.to_vec()).unwrap();
/// let config = source.compile().0.unwrap();
/// let policy = Deployable::alone(&source, config, "pay.json").unwrap();
/// let file = render(policy, &RenderOptions::new(RenderTarget::Envoy)).unwrap();
/// assert!(file.text.contains("vm_id: mcp_policy_pay"));
/// ```
pub fn render(mut all: Deployable, options: &RenderOptions) -> Result<Rendered, String> {
    options.fit()?;
    let name = options.name.clone().unwrap_or_else(|| KubernetesName::made(&all.name));
    if let Some(service) = options.target.service() {
        let mut notes = all.notes;
        let text = services::text(service, &all.config, name.as_str(), &mut notes)?;
        return Ok(Rendered { text, filter: None, notes });
    }
    if let Some(way) = options.switch {
        all = switch::applied(way, all)?;
    }
    let version = live::version(&all, options.switch)?;
    let secrets: Vec<Box<str>> =
        needs::secrets(&all.config).into_iter().map(|secret| secret.name).collect();
    needs::named(&mut all, name.as_str());
    let notes = match options.switch {
        // It needs nothing.
        Some(Switch::Off) => Notes::default(),
        Some(Switch::Shadow | Switch::Stop) | None => needs::meet(&mut all, options)?,
    };
    let wasm = options.filter()?;
    let before = if options.is_for_module() { module::before(&all.config) } else { "" };
    let policy = all.document;
    let digests = all.config.policies();
    let digests = digests
        .map(|policy| format!("{}: {}", policy.name.escape_debug(), policy.named_digest))
        .collect();
    let body_limit = envoy_body_limit(all.config.requests.max_body_bytes, CONNECTION_BYTES);
    let servers = all.servers;
    let deployment =
        Deployment { options, policy, name, wasm, before, secrets, body_limit, servers, digests };
    let text = deployment.text(&version)?;
    let watched = options.live.is_some() && options.target.is_whole_envoy();
    let filter = watched.then(|| deployment.filter_file(&version)).transpose()?;
    Ok(Rendered { text, filter, notes })
}
