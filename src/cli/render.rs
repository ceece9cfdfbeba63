//! `mcp-policy render`: a policy as a complete deployment file.
//!
//! The files in `envoy/` are the templates, so what is rendered is what the tests run; only their policies, names and
//! addresses are replaced.

mod needs;
mod template;
mod value;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use mcp_policy::source::Syntax;

use super::input::CliError;
use super::tree::Node;
use super::tree::print::{print, quoted};
use super::{Exit, Format, input};
use template::Template;
use value::{Address, KubernetesName};

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
    target: RenderTarget,
    /// Names the deployment, and with it the scope of its counters (`vm_id`): keep it, and they go on. After the policy's
    /// file, if not given.
    #[arg(long, value_name = "NAME")]
    name: Option<KubernetesName>,
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
    namespace: KubernetesName,
    /// Istio: the `app` label of the MCP server's pods.
    #[arg(long, value_name = "LABEL", default_value = "image-mcp-server")]
    app: KubernetesName,
    /// Istio: the port on which the MCP server listens.
    #[arg(long, value_name = "PORT", default_value = "8000", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Where to write the result, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RenderTarget {
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

fn render(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let (source, config) = input::policy(&arguments.file)?;
    let mut policy = Node::from(&input::value(&source)?);
    let refused = |problem: String| CliError::Line(format!("{}: {problem}", source.name));
    let notes = needs::meet(&mut policy, &config, arguments.target).map_err(refused)?;
    let name = arguments.name.clone().unwrap_or_else(|| KubernetesName::after(&arguments.file));
    let wasm = module(arguments).map_err(refused)?;
    let secrets = needs::secrets(&config);
    let deployment = Deployment { arguments, policy, name, wasm, secrets };
    let text = match arguments.target {
        RenderTarget::Json => Ok(print(&deployment.policy, Syntax::Json, 0)),
        RenderTarget::Envoy => deployment.envoy(),
        RenderTarget::IstioWasmplugin => deployment.wasmplugin(),
        RenderTarget::IstioEnvoyfilter => deployment.envoyfilter(),
    };
    let text = text.map_err(refused)?;
    Ok(notes.deliver(&source.name, &text, arguments.output.as_deref(), format))
}

/// What is put into a template.
struct Deployment<'r> {
    arguments: &'r Arguments,
    policy: Node,
    name: KubernetesName,
    /// Where the filter is, as a YAML string.
    wasm: String,
    /// The environment variables that the filter reads.
    secrets: Vec<Box<str>>,
}

impl Deployment<'_> {
    fn envoy(&self) -> Result<String, String> {
        let how = "mcp-policy before an MCP server, as `mcp-policy render --for envoy` writes it. Start it with `envoy -c FILE`.";
        let mut template = Template::new(include_str!("../../envoy/envoy.yaml"), how);
        let Arguments { listen, upstream, admin, .. } = self.arguments;
        let socket = |address: &str, port: &str| {
            format!("socket_address: {{ address: {address}, port_value: {port} }}")
        };
        for (old, new) in [("10000", listen), ("8000", upstream), ("9901", admin)] {
            template.replace(
                &socket("127.0.0.1", old),
                &socket(&new.host_as_yaml(), &new.port.to_string()),
            )?;
        }
        if !upstream.is_ip() {
            template.replace("type: STATIC", "type: STRICT_DNS")?;
        }
        template
            .replace("filename: target/mcp_policy.wasm", &format!("filename: {}", self.wasm))?;
        self.vm(&mut template)?;
        template.replace_block("value: |", &print(&self.policy, Syntax::Json, 0))?;
        Ok(template.text())
    }

    fn wasmplugin(&self) -> Result<String, String> {
        let how = "mcp-policy before an MCP server in an Istio mesh, as `mcp-policy render --for istio-wasmplugin` writes it.";
        let mut template = Template::new(include_str!("../../envoy/istio-wasmplugin.yaml"), how);
        self.istio(&mut template)?;
        template.replace("number: 8000", &format!("number: {}", self.arguments.port))?;
        template.replace(&format!("url: {MODULE}"), &format!("url: {}", self.wasm))?;
        if !self.secrets.is_empty() {
            let of_host = |name| format!("{{ name: {}, valueFrom: HOST }}", quoted(name));
            let variables: Vec<String> = self.secrets.iter().map(|name| of_host(name)).collect();
            let line = format!("vmConfig: {{ env: [{}] }}", variables.join(", "));
            template.add_below("failStrategy: FAIL_RELOAD", &line)?;
        }
        template.replace_block("pluginConfig:", &print(&self.policy, Syntax::Yaml, 0))?;
        Ok(template.text())
    }

    fn envoyfilter(&self) -> Result<String, String> {
        let how = "mcp-policy before an MCP server in an Istio mesh, as `mcp-policy render --for istio-envoyfilter` writes it.\n\
            Needs a proxy built on Envoy 1.35 or newer.";
        let mut template = Template::new(include_str!("../../envoy/istio-envoyfilter.yaml"), how);
        self.istio(&mut template)?;
        template.replace("portNumber: 8000", &format!("portNumber: {}", self.arguments.port))?;
        template.replace(&format!("uri: \"{MODULE}\""), &format!("uri: {}", self.wasm))?;
        self.vm(&mut template)?;
        template.replace_block("value: |", &print(&self.policy, Syntax::Json, 0))?;
        Ok(template.text())
    }

    /// What Envoy's `vm_config` says: the scope of the counters, and which variables the filter can read.
    fn vm(&self, template: &mut Template) -> Result<(), String> {
        if !self.secrets.is_empty() {
            let names: Vec<String> = self.secrets.iter().map(|name| quoted(name)).collect();
            let line =
                format!("environment_variables: {{ host_env_keys: [{}] }}", names.join(", "));
            template.add_below("vm_id: mcp_policy", &line)?;
        }
        template.replace("vm_id: mcp_policy", &format!("vm_id: {}", self.name.vm_id()))
    }

    /// What both of Istio's resources say of where they belong.
    fn istio(&self, template: &mut Template) -> Result<(), String> {
        let Arguments { namespace, app, .. } = self.arguments;
        let name = self.name.of_resource();
        template.replace("  name: mcp-policy\n", &format!("  name: {name}\n"))?;
        template.replace("namespace: mcp\n", &format!("namespace: {}\n", namespace.as_yaml()))?;
        template.replace("app: image-mcp-server", &format!("app: {}", app.as_yaml()))
    }
}

/// The address of the filter in Istio's templates.
const MODULE: &str = "oci://registry.example.com/mcp-policy:0.1.0";

/// Where the filter is, as a YAML string.
fn module(arguments: &Arguments) -> Result<String, String> {
    let remote = |text: &str| {
        ["oci://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
    };
    let text = match (arguments.target, arguments.wasm.as_deref()) {
        (RenderTarget::Envoy, None) => "target/mcp_policy.wasm",
        (RenderTarget::Envoy, Some(url)) if remote(url) => {
            return Err(format!(
                "--wasm {url}: Envoy's file names a local file; fetch the filter first"
            ));
        }
        (RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter, None) => MODULE,
        (RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter, Some(path))
            if !remote(path) =>
        {
            return Err(format!("--wasm {path}: Istio needs an address: oci://… or https://…"));
        }
        (_, Some(text)) => text,
        (RenderTarget::Json, None) => "",
    };
    Ok(quoted(text))
}
