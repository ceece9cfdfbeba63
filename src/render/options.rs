//! What can be said of a deployment file: the options of `mcp-policy render`, and of the page.

use std::str::FromStr;

use super::module;
use super::routes::SYSTEM_AUTHORITIES;
use super::services::Service;
use super::value::{Address, KubernetesName, UpstreamArgument};
use crate::tree::print::quoted;

/// What is written, and with which names and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// What to write: `--for`.
    pub target: RenderTarget,
    /// Names the deployment, and with it the scope of its counters.
    pub name: Option<KubernetesName>,
    /// The filter: a file for Envoy, an address for Istio.
    pub wasm: Option<String>,
    /// The native module: a file for Envoy, in the place of the filter.
    pub module: Option<String>,
    /// Envoy: where agents connect.
    pub listen: Address,
    /// Envoy: where the MCP server listens.
    pub upstream: UpstreamArgument,
    /// Envoy: the file with the authorities that may vouch for servers behind `https://`.
    pub ca: String,
    /// Envoy: where its admin interface listens.
    pub admin: Address,
    /// Envoy: the folder that it watches for the filter.
    pub live: Option<String>,
    /// For an emergency, whatever the policies say.
    pub switch: Option<Switch>,
    /// Istio: the namespace of the MCP server.
    pub namespace: Option<KubernetesName>,
    /// Istio: the `app` label of the MCP server's pods.
    pub app: Option<KubernetesName>,
    /// Istio, ambient: the Service of the MCP server.
    pub service: Option<KubernetesName>,
    /// Istio: the port on which the MCP server listens.
    pub port: u16,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderTarget {
    /// A configuration of Envoy.
    Envoy,
    /// The same with the native module.
    EnvoyModule,
    /// The filter alone, as a file that Envoy watches.
    EnvoyFilter,
    /// An Istio WasmPlugin.
    IstioWasmplugin,
    /// An Istio EnvoyFilter.
    IstioEnvoyfilter,
    /// The text that the filter is configured with.
    Json,
    /// Limits for Kuadrant's Limitador.
    Limitador,
    /// Limits for Envoy's ratelimit.
    Ratelimit,
}

/// What is done in an emergency, whatever the policies say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Denials are only recorded.
    Shadow,
    /// Nothing reaches the servers.
    Stop,
    /// The filter is taken out.
    Off,
}

/// What a word stands for, and what is said of it.
pub type WordRow<T> = (T, &'static str, &'static str);

impl RenderTarget {
    /// The words for them.
    pub const WORDS: [WordRow<RenderTarget>; 8] = [
        (
            RenderTarget::Envoy,
            "envoy",
            "A configuration of Envoy: a listener, the filter, the MCP servers behind it",
        ),
        (
            RenderTarget::EnvoyModule,
            "envoy-module",
            "The same with the native module instead of the filter, for an Envoy of the version that it was built for",
        ),
        (
            RenderTarget::EnvoyFilter,
            "envoy-filter",
            "The filter alone, as the file that an Envoy of `--for envoy --live` watches",
        ),
        (
            RenderTarget::IstioWasmplugin,
            "istio-wasmplugin",
            "An Istio WasmPlugin: simple, but headers of denied calls may reach the server",
        ),
        (
            RenderTarget::IstioEnvoyfilter,
            "istio-envoyfilter",
            "An Istio EnvoyFilter: nothing of a denied call reaches the server",
        ),
        (RenderTarget::Json, "json", "The JSON text that belongs into the filter's configuration"),
        (
            RenderTarget::Limitador,
            "limitador",
            "The limits that count in the rate limit service, for Kuadrant's Limitador, which takes none from questions",
        ),
        (
            RenderTarget::Ratelimit,
            "ratelimit",
            "The same for Envoy's ratelimit, which needs a file for the domain",
        ),
    ];

    pub(super) fn is_istio(self) -> bool {
        matches!(self, RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter)
    }

    /// Whether the listener around the filter is ours, which knows the client's address.
    pub(super) fn is_envoy(self) -> bool {
        self.is_whole_envoy() || self == RenderTarget::EnvoyFilter
    }

    /// Whether it is the whole configuration of an Envoy.
    pub(super) fn is_whole_envoy(self) -> bool {
        matches!(self, RenderTarget::Envoy | RenderTarget::EnvoyModule)
    }

    /// The rate limit service that it is for.
    pub(super) fn service(self) -> Option<Service> {
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

impl Switch {
    /// The words for them.
    pub const WORDS: [WordRow<Switch>; 3] = [
        (
            Switch::Shadow,
            "shadow",
            "Decide, count and record what would be denied, but let it pass. What is no sound MCP is refused all the same",
        ),
        (Switch::Stop, "stop", "Let nothing reach the servers"),
        (
            Switch::Off,
            "off",
            "Take the filter out: everything passes, unread. Counts begin anew when it is back",
        ),
    ];
}

/// The address of the filter in Istio's templates.
pub(super) const MODULE: &str = "oci://registry.example.com/mcp-policy:0.1.0";

impl RenderOptions {
    /// What holds where nobody says otherwise.
    #[must_use]
    pub fn new(target: RenderTarget) -> RenderOptions {
        RenderOptions {
            target,
            name: None,
            wasm: None,
            module: None,
            listen: Address::loopback(10000),
            upstream: UpstreamArgument::usual(),
            ca: SYSTEM_AUTHORITIES.to_owned(),
            admin: Address::loopback(9901),
            live: None,
            switch: None,
            namespace: None,
            app: None,
            service: None,
            port: 8000,
        }
    }

    /// The options that have a value where nobody gives one, with it.
    #[must_use]
    pub fn usual() -> Vec<(&'static str, String)> {
        let usual = RenderOptions::new(RenderTarget::Envoy);
        vec![
            ("listen", usual.listen.to_string()),
            ("upstream", usual.upstream.to_string()),
            ("ca", usual.ca),
            ("admin", usual.admin.to_string()),
            ("port", usual.port.to_string()),
        ]
    }

    /// Sets an option by its name, as the command line does.
    ///
    /// # Errors
    /// That there is no such option, or that its value is none.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let wrong = |problem: String| format!("--{name} {text}: {problem}");
        match name {
            "for" => self.target = word(&RenderTarget::WORDS, text).map_err(wrong)?,
            "switch" => self.switch = Some(word(&Switch::WORDS, text).map_err(wrong)?),
            "name" => self.name = Some(parsed(text).map_err(wrong)?),
            "namespace" => self.namespace = Some(parsed(text).map_err(wrong)?),
            "app" => self.app = Some(parsed(text).map_err(wrong)?),
            "service" => self.service = Some(parsed(text).map_err(wrong)?),
            "listen" => self.listen = parsed(text).map_err(wrong)?,
            "upstream" => self.upstream = parsed(text).map_err(wrong)?,
            "admin" => self.admin = parsed(text).map_err(wrong)?,
            "port" => self.port = port(text).map_err(wrong)?,
            "wasm" => self.wasm = Some(text.to_owned()),
            "module" => self.module = Some(text.to_owned()),
            "ca" => text.clone_into(&mut self.ca),
            "live" => self.live = Some(text.to_owned()),
            _ => return Err(format!("there is no option --{name}")),
        }
        Ok(())
    }

    /// Whether the options go with what is written.
    pub(super) fn fit(&self) -> Result<(), String> {
        let RenderOptions { target, namespace, app, service, .. } = self;
        // An option that says nothing would be left out in silence.
        if self.live.is_some() && !target.is_whole_envoy() {
            return Err(
                "--live is for `--for envoy` and `envoy-module`; `--for envoy-filter` writes the file in that folder"
                    .to_owned(),
            );
        }
        if self.module.is_some() && !self.is_for_module() {
            return Err("--module is for `--for envoy-module` and `envoy-filter`".to_owned());
        }
        if self.wasm.is_some() && *target == RenderTarget::EnvoyModule {
            return Err("--wasm is not for `--for envoy-module`: give --module".to_owned());
        }
        if self.wasm.is_some() && self.module.is_some() {
            return Err("--wasm and --module say two things of one place: keep one".to_owned());
        }
        if self.switch.is_some() && target.service().is_some() {
            return Err("--switch is for what the filter is configured with".to_owned());
        }
        if self.switch == Some(Switch::Off) && *target != RenderTarget::EnvoyFilter {
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
            if app.is_some() && service.is_some() {
                return Err("--app and --service say two things of one place: keep one".to_owned());
            }
        }
        Ok(())
    }

    /// Whether the result has the module instead of the filter.
    pub(super) fn is_for_module(&self) -> bool {
        let only = self.target == RenderTarget::EnvoyFilter && self.module.is_some();
        self.target == RenderTarget::EnvoyModule || only
    }

    /// Where the filter or the module is, as a YAML string.
    pub(super) fn filter(&self) -> Result<String, String> {
        let remote = |text: &str| {
            ["oci://", "https://", "http://"].iter().any(|scheme| text.starts_with(scheme))
        };
        let text = match (self.target, self.module.as_deref(), self.wasm.as_deref()) {
            (RenderTarget::EnvoyModule, module, _) => module.unwrap_or(module::BUILT),
            (RenderTarget::EnvoyFilter, Some(module), _) => module,
            (RenderTarget::Envoy | RenderTarget::EnvoyFilter, _, None) => "target/mcp_policy.wasm",
            (RenderTarget::Envoy | RenderTarget::EnvoyFilter, _, Some(url)) if remote(url) => {
                return Err(format!(
                    "--wasm {url}: Envoy's file names a local file; fetch the filter first"
                ));
            }
            (RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter, _, None) => MODULE,
            (RenderTarget::IstioWasmplugin | RenderTarget::IstioEnvoyfilter, _, Some(path))
                if !remote(path) =>
            {
                return Err(format!("--wasm {path}: Istio needs an address: oci://… or https://…"));
            }
            (_, _, Some(text)) => text,
            (RenderTarget::Json | RenderTarget::Limitador | RenderTarget::Ratelimit, _, None) => "",
        };
        Ok(quoted(text))
    }
}

fn word<T: Copy>(words: &[WordRow<T>], text: &str) -> Result<T, String> {
    let found = words.iter().find(|(_, word, _)| *word == text).map(|(value, _, _)| *value);
    found.ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(_, word, _)| *word).collect();
        format!("expected one of {}", known.join(", "))
    })
}

fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

fn port(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| "expected a port, from 1 to 65535".to_owned())
}
