//! `mcp-policy render`: policies as a complete deployment file.
//!
//! The files in `envoy/` are the templates, so what is rendered is what the tests run; only their policies, names and
//! addresses are replaced.

mod deployment;
mod live;
mod module;
pub(super) mod needs;
mod routes;
mod services;
mod switch;
mod template;
mod value;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use mcp_policy::gateway::HostHeader;

use super::gateway::{self, Unplaced};
use super::input::CliError;
use super::output::{Notes, OutputFile};
use super::tree::print::quoted;
use super::{Exit, Format, report};
use deployment::Deployment;
use live::Live;
use services::Service;
use switch::Switch;
use value::{Address, KubernetesName, UpstreamArgument};

/// Write policies as a complete deployment file.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    mcp-policy render policy.yaml --for envoy --upstream 127.0.0.1:8000 --output envoy.yaml\n  \
    mcp-policy render gateway.yaml --for envoy --live live --output envoy.yaml\n  \
    mcp-policy render gateway.yaml --for envoy-filter --output live/mcp_policy.yaml --force\n  \
    mcp-policy render policy.yaml --for istio-envoyfilter --namespace pay --app payments --port 8080 | kubectl apply -f -\n\n\
    Exit codes: 0 rendered, 2 the policies cannot be used so, or a file cannot be read or written.")]
pub(super) struct Arguments {
    /// A policy or plugin configuration, a gateway file, or several policies, JSON or YAML (by its ending: .yaml, .yml); `-`
    /// is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
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
    /// The native module, for `--for envoy-module`; with `--for envoy-filter` it takes the place of the filter.
    #[arg(long, value_name = "PATH", conflicts_with = "wasm")]
    module: Option<String>,
    /// Envoy: where agents connect.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    listen: Address,
    /// Envoy: where the MCP server listens. With `https://` it is spoken to over TLS; a URL also says what it reads as `host`.
    #[arg(long, value_name = "HOST:PORT|URL", default_value = "127.0.0.1:8000")]
    upstream: UpstreamArgument,
    /// Envoy: the file with the authorities that may vouch for servers behind `https://`.
    #[arg(long, value_name = "FILE", default_value = routes::SYSTEM_AUTHORITIES)]
    ca: String,
    /// Of several policies: the path at which agents and the server have each; `{name}` is its name.
    #[arg(long, value_name = "PATH", default_value = EACH)]
    path: String,
    /// Envoy: where its admin interface listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: Address,
    /// Envoy: it watches this folder for the filter, so that a policy changes without a restart. The filter is written into
    /// it, as mcp_policy.yaml.
    #[arg(long, value_name = "FOLDER")]
    live: Option<String>,
    /// Where to write the filter, if Envoy sees that folder by another path than this machine.
    #[arg(long, value_name = "FOLDER", requires = "live")]
    live_out: Option<PathBuf>,
    /// For an emergency, whatever the policies say.
    #[arg(long, value_enum, value_name = "WAY")]
    switch: Option<Switch>,
    /// Istio: the namespace of the MCP server. Required there.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<KubernetesName>,
    /// Istio: the `app` label of the MCP server's pods. Required there, or `--service`.
    #[arg(long, value_name = "LABEL")]
    app: Option<KubernetesName>,
    /// Istio, ambient: the Service of the MCP server, on whose waypoint a WasmPlugin runs.
    #[arg(long, value_name = "NAME", conflicts_with = "app")]
    service: Option<KubernetesName>,
    /// Istio: the port on which the MCP server listens.
    #[arg(long, value_name = "PORT", default_value = "8000", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    output: OutputFile,
}

/// Where each of several policies is.
const EACH: &str = "/{name}/mcp";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RenderTarget {
    /// A configuration of Envoy: a listener, the filter, the MCP servers behind it.
    Envoy,
    /// The same with the native module instead of the filter, for an Envoy of the version that it was built for.
    EnvoyModule,
    /// The filter alone, as the file that an Envoy of `--for envoy --live` watches.
    EnvoyFilter,
    /// An Istio WasmPlugin: simple, but headers of denied calls may reach the server.
    IstioWasmplugin,
    /// An Istio EnvoyFilter: nothing of a denied call reaches the server.
    IstioEnvoyfilter,
    /// The JSON text that belongs into the filter's configuration.
    Json,
    /// The limits that count in the rate limit service, for Kuadrant's Limitador, which takes none from questions.
    Limitador,
    /// The same for Envoy's ratelimit, which needs a file for the domain.
    Ratelimit,
}

impl RenderTarget {
    /// Whether it is the whole configuration of an Envoy.
    fn is_envoy(self) -> bool {
        matches!(self, RenderTarget::Envoy | RenderTarget::EnvoyModule)
    }

    fn is_istio(self) -> bool {
        match self {
            RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter => true,
            RenderTarget::Envoy
            | RenderTarget::EnvoyModule
            | RenderTarget::EnvoyFilter
            | RenderTarget::Json
            | RenderTarget::Limitador
            | RenderTarget::Ratelimit => false,
        }
    }

    /// The rate limit service that it is for.
    fn service(self) -> Option<Service> {
        match self {
            RenderTarget::Limitador => Some(Service::Limitador),
            RenderTarget::Ratelimit => Some(Service::Ratelimit),
            RenderTarget::Envoy
            | RenderTarget::EnvoyModule
            | RenderTarget::EnvoyFilter
            | RenderTarget::IstioWasmplugin
            | RenderTarget::IstioEnvoyfilter
            | RenderTarget::Json => None,
        }
    }
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    render(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn render(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let unplaced = Unplaced {
        path: &arguments.path,
        upstream: &arguments.upstream.at,
        host_header: match arguments.upstream.by_url {
            true => HostHeader::OfAddress,
            false => HostHeader::OfAgent,
        },
    };
    let mut all = gateway::read(&arguments.files, &unplaced)?;
    let called = all.called.clone();
    let refused = |problem: String| CliError::Line(format!("{called}: {problem}"));
    fits(arguments, !all.servers.is_empty()).map_err(refused)?;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => KubernetesName::made(&all.name),
    };
    if let Some(service) = arguments.target.service() {
        let mut notes = std::mem::take(&mut all.notes);
        let text =
            services::text(service, &all.config, name.as_str(), &mut notes).map_err(refused)?;
        return Ok(notes.deliver(&called, &text, &arguments.output, format));
    }
    if let Some(way) = arguments.switch {
        all = way.applied(all).map_err(refused)?;
    }
    let version = live::version(&all, arguments.switch).map_err(refused)?;
    let secrets: Vec<Box<str>> =
        needs::secrets(&all.config).into_iter().map(|secret| secret.name).collect();
    needs::named(&mut all, name.as_str());
    let notes = match arguments.switch {
        // It needs nothing.
        Some(Switch::Off) => Notes::default(),
        Some(Switch::Shadow | Switch::Stop) | None => {
            needs::meet(&mut all, arguments).map_err(refused)?
        }
    };
    let wasm = filter(arguments).map_err(refused)?;
    let before = if module::is_wanted(arguments) { module::before(&all.config) } else { "" };
    let policy = all.document;
    let digests = all.config.policies();
    let digests = digests
        .map(|policy| format!("{}: {}", policy.name.escape_debug(), policy.named_digest))
        .collect();
    let servers = all.servers;
    let deployment =
        Deployment { arguments, policy, name, wasm, before, secrets, servers, digests };
    let text = deployment.text(&version).map_err(refused)?;
    if let Some(folder) = &arguments.live {
        let filter = deployment.filter_file(&version).map_err(refused)?;
        let into = arguments.live_out.clone().unwrap_or_else(|| folder.into());
        let file = live::write_into(&into, &filter, &arguments.output).map_err(CliError::Line)?;
        report::note(&format!("wrote {}", file.display()));
    }
    match (arguments.target, arguments.output.file()) {
        // Envoy would read it while it is being written.
        (RenderTarget::EnvoyFilter, Some(file)) => {
            live::replace(file, &text, &arguments.output).map_err(CliError::Line)?;
            Ok(notes.deliver(&called, "", &OutputFile::default(), format))
        }
        _ => Ok(notes.deliver(&called, &text, &arguments.output, format)),
    }
}

/// Whether the options go with what is written.
fn fits(arguments: &Arguments, has_servers: bool) -> Result<(), String> {
    let Arguments { target, namespace, app, service, .. } = arguments;
    // An option that says nothing would be left out in silence.
    let one_file = arguments.files.len() == 1;
    if one_file && has_servers && arguments.upstream != UpstreamArgument::usual() {
        return Err(
            "--upstream is for policies: a gateway file says where its servers are".to_owned()
        );
    }
    let path = &arguments.path;
    if (one_file && path != EACH) || (!one_file && !path.contains("{name}")) {
        return Err(
            "--path is for several policies, and has `{name}` in it: each is at a path of its own"
                .to_owned(),
        );
    }
    if arguments.live.is_some() && !target.is_envoy() {
        return Err(
            "--live is for `--for envoy` and `envoy-module`; `--for envoy-filter` writes the file in that folder"
                .to_owned(),
        );
    }
    if arguments.module.is_some() && !module::is_wanted(arguments) {
        return Err("--module is for `--for envoy-module` and `envoy-filter`".to_owned());
    }
    if arguments.wasm.is_some() && *target == RenderTarget::EnvoyModule {
        return Err("--wasm is not for `--for envoy-module`: give --module".to_owned());
    }
    if arguments.switch.is_some() && target.service().is_some() {
        return Err("--switch is for what the filter is configured with".to_owned());
    }
    if arguments.switch == Some(Switch::Off) && *target != RenderTarget::EnvoyFilter {
        return Err("--switch off is for `--for envoy-filter`: elsewhere, take the filter out of the deployment".to_owned());
    }
    if target.is_istio() {
        if namespace.is_none() {
            return Err("give the namespace of the MCP server with --namespace".to_owned());
        }
        if service.is_some() && *target == RenderTarget::IstioEnvoyfilter {
            return Err("--service is for waypoints, and Istio applies no EnvoyFilter there: use --for istio-wasmplugin, or see envoy/GATEWAY.md".to_owned());
        }
        if app.is_none() && service.is_none() {
            return Err("give the `app` label of the MCP server's pods with --app (or, in ambient mode, its Service with --service)".to_owned());
        }
    }
    Ok(())
}

/// The address of the filter in Istio's templates.
const MODULE: &str = "oci://registry.example.com/mcp-policy:0.1.0";

/// Where the filter is, as a YAML string.
fn filter(arguments: &Arguments) -> Result<String, String> {
    if module::is_wanted(arguments) {
        return Ok(quoted(module::file(arguments)));
    }
    let remote = |text: &str| {
        ["oci://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
    };
    let text = match (arguments.target, arguments.wasm.as_deref()) {
        (RenderTarget::Envoy | RenderTarget::EnvoyModule | RenderTarget::EnvoyFilter, None) => {
            "target/mcp_policy.wasm"
        }
        (RenderTarget::Envoy | RenderTarget::EnvoyFilter, Some(url)) if remote(url) => {
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
        (RenderTarget::Json | RenderTarget::Limitador | RenderTarget::Ratelimit, None) => "",
    };
    Ok(quoted(text))
}
