//! `mcp-policy render`: a policy as a complete deployment file.
//!
//! The files in `envoy/` are the templates, so what is rendered is what the tests run; only their policies, names and
//! addresses are replaced.

mod template;
mod value;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use mcp_policy::source::Syntax;

use super::input::Trouble;
use super::output::Notes;
use super::tree::print::print;
use super::tree::{Map, Node};
use super::{Exit, Format, input};
use template::Template;
use value::{Address, Name};

/// Write a policy as a complete deployment file.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy render policy.yaml --for envoy --upstream 127.0.0.1:8000 --output envoy.yaml\n  \
    mcp-policy render policy.yaml --for istio-envoyfilter --app payments --port 8080 | kubectl apply -f -\n\n\
    Exit codes: 0 rendered, 2 the policy cannot be used so, or a file cannot be read or written.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, JSON or YAML (by its ending: .yaml, .yml); `-` is standard input.
    file: PathBuf,
    /// What to write.
    #[arg(long = "for", value_enum, value_name = "TARGET")]
    target: Target,
    /// Names the deployment, and with it the scope of its counters (`vm_id`): keep it, and they go on. After the policy's
    /// file, if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// The filter: a file for Envoy, an `oci://` or `https://` address for Istio.
    #[arg(long, value_name = "PATH|URL")]
    wasm: Option<String>,
    /// Envoy: where agents connect.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    listen: Address,
    /// Envoy: where the MCP server listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    upstream: Address,
    /// Envoy: where its admin interface listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Istio: the namespace of the MCP server.
    #[arg(long, value_name = "NAMESPACE", default_value = "mcp")]
    namespace: Name,
    /// Istio: the `app` label of the MCP server's pods.
    #[arg(long, value_name = "LABEL", default_value = "image-mcp-server")]
    app: Name,
    /// Istio: the port on which the MCP server listens.
    #[arg(long, value_name = "PORT", default_value = "8000", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Where to write the result, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// A static configuration of Envoy: a listener, the filter, the MCP server behind it.
    Envoy,
    /// An Istio WasmPlugin: simple, but headers of denied calls may reach the server.
    IstioWasmplugin,
    /// An Istio EnvoyFilter: nothing of a denied call reaches the server.
    IstioEnvoyfilter,
    /// The JSON text that belongs into the filter's configuration.
    Json,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    render(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn render(arguments: &Arguments, format: Format) -> Result<Exit, Trouble> {
    let (source, _) = input::policy(&arguments.file)?;
    let mut document = Node::from(&input::value(&source)?);
    let refused = |problem: String| Trouble::Line(format!("{}: {problem}", source.name));
    let name = arguments.name.clone().unwrap_or_else(|| Name::after(&arguments.file));
    let mut notes = Notes::default();
    if let Some(note) = hold(&mut document, arguments.target).map_err(refused)? {
        notes.add("requests.hold_headers", note);
    }
    let wasm = module(arguments).map_err(refused)?;
    let text = match arguments.target {
        Target::Json => Ok(print(&document, Syntax::Json, 0)),
        Target::Envoy => envoy(arguments, &document, &name, &wasm),
        Target::IstioWasmplugin => wasmplugin(arguments, &document, &name, &wasm),
        Target::IstioEnvoyfilter => envoyfilter(arguments, &document, &name, &wasm),
    };
    let text = text.map_err(refused)?;
    Ok(notes.deliver(&source.name, &text, arguments.output.as_deref(), format))
}

fn envoy(arguments: &Arguments, policy: &Node, name: &Name, wasm: &str) -> Result<String, String> {
    let how = "mcp-policy before an MCP server, as `mcp-policy render --for envoy` writes it. Start it with `envoy -c FILE`.";
    let mut template = Template::new(include_str!("../../envoy/envoy.yaml"), how);
    let socket = |address: &str, port: &str| {
        format!("socket_address: {{ address: {address}, port_value: {port} }}")
    };
    for (old, new) in
        [("10000", &arguments.listen), ("8000", &arguments.upstream), ("9901", &arguments.admin)]
    {
        template.replace(
            &socket("127.0.0.1", old),
            &socket(&new.host_as_yaml(), &new.port.to_string()),
        )?;
    }
    if !arguments.upstream.is_ip() {
        template.replace("type: STATIC", "type: STRICT_DNS")?;
    }
    template.replace("filename: target/mcp_policy.wasm", &format!("filename: {wasm}"))?;
    template.replace("vm_id: mcp_policy", &format!("vm_id: {}", name.vm_id()))?;
    template.replace_block("value: |", &print(policy, Syntax::Json, 0))?;
    Ok(template.text())
}

fn wasmplugin(
    arguments: &Arguments,
    policy: &Node,
    name: &Name,
    wasm: &str,
) -> Result<String, String> {
    let how = "mcp-policy before an MCP server in an Istio mesh, as `mcp-policy render --for istio-wasmplugin` writes it.";
    let mut template = Template::new(include_str!("../../envoy/istio-wasmplugin.yaml"), how);
    istio(&mut template, arguments, name)?;
    template.replace("number: 8000", &format!("number: {}", arguments.port))?;
    template.replace(&format!("url: {MODULE}"), &format!("url: {wasm}"))?;
    template.replace_block("pluginConfig:", &print(policy, Syntax::Yaml, 0))?;
    Ok(template.text())
}

fn envoyfilter(
    arguments: &Arguments,
    policy: &Node,
    name: &Name,
    wasm: &str,
) -> Result<String, String> {
    let how = "mcp-policy before an MCP server in an Istio mesh, as `mcp-policy render --for istio-envoyfilter` writes it.\n\
        Needs a proxy built on Envoy 1.35 or newer.";
    let mut template = Template::new(include_str!("../../envoy/istio-envoyfilter.yaml"), how);
    istio(&mut template, arguments, name)?;
    template.replace("portNumber: 8000", &format!("portNumber: {}", arguments.port))?;
    template.replace(&format!("uri: \"{MODULE}\""), &format!("uri: {wasm}"))?;
    template.replace("vm_id: mcp_policy", &format!("vm_id: {}", name.vm_id()))?;
    template.replace_block("value: |", &print(policy, Syntax::Json, 0))?;
    Ok(template.text())
}

/// What both of Istio's resources say of where they belong.
fn istio(template: &mut Template, arguments: &Arguments, name: &Name) -> Result<(), String> {
    template.replace("  name: mcp-policy\n", &format!("  name: {}\n", name.of_resource()))?;
    template
        .replace("namespace: mcp\n", &format!("namespace: {}\n", arguments.namespace.as_yaml()))?;
    template.replace("app: image-mcp-server", &format!("app: {}", arguments.app.as_yaml()))
}

/// The address of the filter in Istio's templates.
const MODULE: &str = "oci://registry.example.com/mcp-policy:0.1.0";

/// Where the filter is, as a YAML string.
fn module(arguments: &Arguments) -> Result<String, String> {
    let remote = |text: &str| {
        ["oci://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
    };
    let text = match (arguments.target, arguments.wasm.as_deref()) {
        (Target::Envoy, None) => "target/mcp_policy.wasm",
        (Target::Envoy, Some(url)) if remote(url) => {
            return Err(format!(
                "--wasm {url}: Envoy's file names a local file; fetch the filter first"
            ));
        }
        (Target::IstioWasmplugin | Target::IstioEnvoyfilter, None) => MODULE,
        (Target::IstioWasmplugin | Target::IstioEnvoyfilter, Some(path)) if !remote(path) => {
            return Err(format!("--wasm {path}: Istio needs an address: oci://… or https://…"));
        }
        (_, Some(text)) => text,
        (Target::Json, None) => "",
    };
    Ok(super::tree::print::quoted(text))
}

/// Whether the filter holds headers: the templates say the flag that lets it, or have no place for the flag.
fn hold(document: &mut Node, target: Target) -> Result<Option<&'static str>, String> {
    let Some(root) = document.as_map_mut() else { return Ok(None) };
    let said = root.get("requests").and_then(|requests| requests.as_map()?.text("hold_headers"));
    match (target, said) {
        (Target::IstioWasmplugin, Some("always")) => Err("requests.hold_headers is `always`, which would refuse every call: a WasmPlugin cannot \
            let the filter hold headers; use --for istio-envoyfilter, or set it to `auto`"
            .to_owned()),
        (Target::Envoy | Target::IstioEnvoyfilter, None) => {
            if root.get("requests").is_none() {
                root.push("requests", Node::Map(Map::default()));
            }
            if let Some(requests) = root.get_mut("requests").and_then(Node::as_map_mut) {
                requests.push("hold_headers", Node::text("always"));
            }
            Ok(Some("is `always` in the result, which lets Envoy hold headers"))
        }
        _ => Ok(None),
    }
}
