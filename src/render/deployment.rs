//! What is put into the shipped files.

use crate::gateway::{GatewayServer, HostHeader};
use crate::source::Syntax;

use super::live::{self, Live};
use super::module;
use super::options::{MODULE, RenderOptions, RenderTarget, Switch};
use super::routes::{clusters, route_config};
use super::template::Template;
use super::value::KubernetesName;
use crate::tree::Node;
use crate::tree::print::{print, quoted};

/// What the shipped file says before `stats_config`.
const STATS: &str = "# The filter's metrics carry their labels in their names, and each line makes one of them a label for Prometheus.";

/// What is put into a template.
pub(super) struct Deployment<'r> {
    pub(super) options: &'r RenderOptions,
    pub(super) policy: Node,
    pub(super) name: KubernetesName,
    /// Where the filter is, as a YAML string.
    pub(super) wasm: String,
    /// What stands before the filter in Envoy's list.
    pub(super) before: &'static str,
    /// The environment variables that the filter reads.
    pub(super) secrets: Vec<Box<str>>,
    /// How many bytes Envoy has to hold of a request.
    pub(super) body_limit: u64,
    /// The servers behind it, where there is more to say of them than `--upstream`.
    pub(super) servers: Vec<GatewayServer>,
    /// The policies, each with its digest, by which logs and metrics know it.
    pub(super) digests: Vec<String>,
}

impl Deployment<'_> {
    /// The file that is asked for.
    pub(super) fn text(&self, version: &str) -> Result<String, String> {
        match self.options.target {
            RenderTarget::Json | RenderTarget::Limitador | RenderTarget::Ratelimit => {
                Ok(print(&self.policy, Syntax::Json, 0))
            }
            RenderTarget::Envoy | RenderTarget::EnvoyModule => self.envoy(),
            RenderTarget::EnvoyFilter => self.filter_file(version),
            RenderTarget::IstioWasmplugin => self.wasmplugin(),
            RenderTarget::IstioEnvoyfilter => self.envoyfilter(),
        }
    }

    /// What a file says of itself.
    fn head(&self, how: &str) -> String {
        let digests = self.digests.iter().map(|digest| format!("Policy {digest}"));
        std::iter::once(how.to_owned()).chain(digests).collect::<Vec<_>>().join("\n")
    }

    fn envoy(&self) -> Result<String, String> {
        let target = if self.options.is_for_module() { "envoy-module" } else { "envoy" };
        let how = format!(
            "mcp-policy before MCP servers, as `mcp-policy render --for {target}` writes it. Start it with `envoy -c FILE`."
        );
        let mut template = Template::new(include_str!("../../envoy/envoy.yaml"), &self.head(&how));
        let RenderOptions { listen, upstream, admin, .. } = self.options;
        let socket = |address: &str, port: &str| {
            format!("socket_address: {{ address: {address}, port_value: {port} }}")
        };
        for (old, new) in [("10000", listen), ("9901", admin)] {
            template.replace(
                &socket("127.0.0.1", old),
                &socket(&new.host_as_yaml(), &new.port.to_string()),
            )?;
        }
        template.replace(
            "request_body_buffer_limit: 2113536",
            &format!("request_body_buffer_limit: {}", self.body_limit),
        )?;
        if !self.servers.is_empty() {
            template.replace_block(
                "route_config:",
                &print(&route_config(&self.servers, self.body_limit), Syntax::Yaml, 0),
            )?;
            let clusters = clusters(&self.servers, &self.options.ca);
            template.replace_block("clusters:", &print(&clusters, Syntax::Yaml, 0))?;
        } else if upstream.by_url {
            let server = self.only();
            let host = quoted(&upstream.at.authority());
            let route = "route: { cluster: mcp_server, timeout: 0s }";
            let to = format!(
                "route: {{ cluster: mcp_server, timeout: 0s, host_rewrite_literal: {host} }}"
            );
            template.replace(route, &to)?;
            let clusters = clusters(&[server], &self.options.ca);
            template.replace_block("clusters:", &print(&clusters, Syntax::Yaml, 0))?;
        } else {
            let (host, port) = (upstream.host_as_yaml(), upstream.at.port.to_string());
            template.replace(&socket("127.0.0.1", "8000"), &socket(&host, &port))?;
            if !upstream.at.is_ip() {
                template.replace("type: STATIC", "type: STRICT_DNS")?;
            }
        }
        match &self.options.live {
            Some(folder) => self.watch(&mut template, folder)?,
            None => self.filter(&mut template)?,
        }
        template.add_before("- name: mcp_policy", self.before)?;
        if self.options.is_for_module() {
            template.add_before(STATS, module::PLAIN_NAMES)?;
        }
        Ok(template.text())
    }

    /// The one server, where there is no gateway file.
    fn only(&self) -> GatewayServer {
        GatewayServer {
            name: "mcp_server".to_owned(),
            upstream: self.options.upstream.at.clone(),
            host: None,
            path: "/".to_owned(),
            policy: String::new(),
            callers: Vec::new(),
            host_header: HostHeader::OfAddress,
            ca: None,
            sni: None,
        }
    }

    /// The filter in its place.
    fn filter(&self, template: &mut Template) -> Result<(), String> {
        let policy = print(&self.policy, Syntax::Json, 0);
        if self.options.is_for_module() {
            let filter = module::filter(&self.wasm, &self.name.vm_id(), &policy);
            return template.replace_block("- name: mcp_policy", &filter);
        }
        template
            .replace("filename: target/mcp_policy.wasm", &format!("filename: {}", self.wasm))?;
        self.vm(template)?;
        template.replace_block("value: |", &policy)
    }

    /// In the place of the filter, where it is to be read.
    fn watch(&self, template: &mut Template, folder: &str) -> Result<(), String> {
        let node = quoted(&self.name.of_resource());
        let admin = "admin:\n  address:";
        let who = "# Envoy reads resources from files only if it has a name.";
        template.replace(
            admin,
            &format!("{who}\nnode: {{ id: {node}, cluster: {node} }}\n\n{admin}"),
        )?;
        let kind = if self.options.is_for_module() { module::TYPE } else { live::WASM };
        let watched = Live::new(folder).watched(kind);
        template.replace_block("- name: mcp_policy", &print(&watched, Syntax::Yaml, 0))
    }

    /// The filter as a file that is watched.
    pub(super) fn filter_file(&self, version: &str) -> Result<String, String> {
        let filter = if self.options.switch == Some(Switch::Off) {
            print(&Node::map([("typed_config", live::nothing())]), Syntax::Yaml, 0)
        } else {
            let mut template = Template::new(include_str!("../../envoy/envoy.yaml"), "");
            self.filter(&mut template)?;
            template.block("- name: mcp_policy")?
        };
        Ok(live::file(version, &filter))
    }

    fn wasmplugin(&self) -> Result<String, String> {
        let how = "mcp-policy before an MCP server in an Istio mesh, as `mcp-policy render --for istio-wasmplugin` writes it.";
        let mut template =
            Template::new(include_str!("../../envoy/istio-wasmplugin.yaml"), &self.head(how));
        if let Some(service) = &self.options.service {
            let reference = Node::list([Node::map([
                ("group", Node::text("")),
                ("kind", Node::text("Service")),
                ("name", Node::text(service.as_str())),
            ])]);
            template.replace_block("selector:", &print(&reference, Syntax::Yaml, 0))?;
            template.replace("  selector:\n", "  targetRefs:\n")?;
            template.remove_block("match:")?;
            template.replace("  # Only what comes in to the server, on its own port.\n", "")?;
            self.resource(&mut template)?;
        } else {
            self.istio(&mut template)?;
            template.replace("number: 8000", &format!("number: {}", self.options.port))?;
        }
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
        let shipped = include_str!("../../envoy/istio-envoyfilter.yaml");
        let mut template = Template::new(shipped, &self.head(how));
        self.istio(&mut template)?;
        template.replace("portNumber: 8000", &format!("portNumber: {}", self.options.port))?;
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
        let app = self.options.app.as_ref().ok_or("give --app")?;
        template.replace("app: image-mcp-server", &format!("app: {}", app.as_yaml()))?;
        self.resource(template)
    }

    /// The resource's own name.
    fn resource(&self, template: &mut Template) -> Result<(), String> {
        let namespace = self.options.namespace.as_ref().ok_or("give --namespace")?;
        let name = self.name.of_resource();
        template.replace("  name: mcp-policy\n", &format!("  name: {name}\n"))?;
        template.replace("namespace: mcp\n", &format!("namespace: {}\n", namespace.as_yaml()))
    }
}
