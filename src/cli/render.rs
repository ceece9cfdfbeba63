//! `mcp-policy render`: policies as a complete deployment file. What is in it the library says; here are the options, and the files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mcp_policy::gateway::HostHeader;
use mcp_policy::render::options::{RenderOptions, RenderTarget, Switch, WordRow};
use mcp_policy::render::value::{Address, KubernetesName, UpstreamArgument};
use mcp_policy::render::{FILE, Rendered, render};

use super::gateway::{self, Unplaced};
use super::input::CliError;
use super::output::{OutputFile, deliver_noted, put_in_place};
use super::{Exit, Format, report};

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
    #[arg(long = "for", value_parser = words(&RenderTarget::WORDS), value_name = "TARGET")]
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
    #[arg(long, value_name = "HOST:PORT", default_value_t = usual().listen)]
    listen: Address,
    /// Envoy: where the MCP server listens. With `https://` it is spoken to over TLS; a URL also says what it reads as `host`.
    #[arg(long, value_name = "HOST:PORT|URL", default_value_t = usual().upstream)]
    upstream: UpstreamArgument,
    /// Envoy: the file with the authorities that may vouch for servers behind `https://`.
    #[arg(long, value_name = "FILE", default_value_t = usual().ca)]
    ca: String,
    /// Of several policies: the path at which agents and the server have each; `{name}` is its name.
    #[arg(long, value_name = "PATH", default_value = EACH)]
    path: String,
    /// Envoy: where its admin interface listens.
    #[arg(long, value_name = "HOST:PORT", default_value_t = usual().admin)]
    admin: Address,
    /// Envoy: it watches this folder for the filter, so that a policy changes without a restart. The filter is written into
    /// it, as mcp_policy.yaml.
    #[arg(long, value_name = "FOLDER")]
    live: Option<String>,
    /// Where to write the filter, if Envoy sees that folder by another path than this machine.
    #[arg(long, value_name = "FOLDER", requires = "live")]
    live_out: Option<PathBuf>,
    /// For an emergency, whatever the policies say.
    #[arg(long, value_parser = words(&Switch::WORDS), value_name = "WAY")]
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
    #[arg(long, value_name = "PORT", default_value_t = usual().port, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    #[command(flatten)]
    output: OutputFile,
}

/// Where each of several policies is.
const EACH: &str = "/{name}/mcp";

/// What holds where nobody says otherwise.
fn usual() -> RenderOptions {
    RenderOptions::new(RenderTarget::Envoy)
}

/// Takes one of some words.
fn words<T: Copy + Send + Sync>(
    rows: &'static [WordRow<T>],
) -> impl TypedValueParser<Value = T> + use<T> {
    let values = rows.iter().map(|(_, word, about)| PossibleValue::new(*word).help(*about));
    PossibleValuesParser::new(values).try_map(|word| {
        let found = rows.iter().find(|(_, known, _)| *known == word).map(|(value, _, _)| *value);
        found.ok_or("no such word")
    })
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Exit {
    written(arguments, format).unwrap_or_else(|trouble| {
        trouble.tell();
        Exit::Unusable
    })
}

fn written(arguments: &Arguments, format: Format) -> Result<Exit, CliError> {
    let unplaced = Unplaced {
        path: &arguments.path,
        upstream: &arguments.upstream.at,
        host_header: match arguments.upstream.by_url {
            true => HostHeader::OfAddress,
            false => HostHeader::OfAgent,
        },
    };
    let all = gateway::read(&arguments.files, &unplaced)?;
    let called = all.called.clone();
    let refused = |problem: String| CliError::Line(format!("{called}: {problem}"));
    fits(arguments, !all.servers.is_empty()).map_err(refused)?;
    let Rendered { text, filter, notes } = render(all, &arguments.options()).map_err(refused)?;
    if let (Some(folder), Some(filter)) = (&arguments.live, filter) {
        let into = arguments.live_out.clone().unwrap_or_else(|| folder.into());
        let file = write_into(&into, &filter, &arguments.output).map_err(CliError::Line)?;
        report::note(&format!("wrote {}", file.display()));
    }
    match (arguments.target, arguments.output.file()) {
        // Envoy would read it while it is being written.
        (RenderTarget::EnvoyFilter, Some(file)) => {
            replace(file, &text, &arguments.output).map_err(CliError::Line)?;
            Ok(deliver_noted(&notes, &called, "", &OutputFile::default(), format))
        }
        _ => Ok(deliver_noted(&notes, &called, &text, &arguments.output, format)),
    }
}

impl Arguments {
    fn options(&self) -> RenderOptions {
        RenderOptions {
            target: self.target,
            name: self.name.clone(),
            wasm: self.wasm.clone(),
            module: self.module.clone(),
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            ca: self.ca.clone(),
            admin: self.admin.clone(),
            live: self.live.clone(),
            switch: self.switch,
            namespace: self.namespace.clone(),
            app: self.app.clone(),
            service: self.service.clone(),
            port: self.port,
        }
    }
}

/// Whether the options go with the files. An option that says nothing would be left out in silence.
fn fits(arguments: &Arguments, has_servers: bool) -> Result<(), String> {
    let one_file = arguments.files.len() == 1;
    if one_file && has_servers && arguments.upstream != usual().upstream {
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
    Ok(())
}

/// Writes the filter into the folder that Envoy watches, which is made if it is not there.
fn write_into(folder: &Path, text: &str, output: &OutputFile) -> Result<PathBuf, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let file = folder.join(FILE);
    replace(&file, text, output)?;
    Ok(file)
}

/// Puts a file in the place of another in one step: no reader sees a part of it.
fn replace(file: &Path, text: &str, output: &OutputFile) -> Result<(), String> {
    if fs::read(file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    output.free(file)?;
    let failed = |error: std::io::Error| format!("{}: cannot be written: {error}", file.display());
    put_in_place(file, text, None).map_err(failed)
}
