//! The plugin: takes the configuration, and makes streams under it.

use std::rc::Rc;

use proxy_wasm::types::BufferType;

use super::calls;
use super::stream::Stream;
use crate::exchange::{Exchange, Holds};
use crate::policy::approvals::ApprovalWay;
use crate::policy::compiled::Config;

/// The plugin in one VM.
#[derive(Default)]
pub(super) struct Root {
    plugin: Option<Plugin>,
}

struct Plugin {
    config: Rc<Config>,
    holds: Rc<Holds>,
}

impl Root {
    /// Takes a configuration; false if it is refused.
    pub(super) fn configure(&mut self, size: usize) -> bool {
        // Also called in a throw-away copy that only validates, so nothing may happen here but the check.
        let bytes =
            calls::buffer(BufferType::PluginConfiguration, size).ok().flatten().unwrap_or_default();
        let Ok(name) = plugin_name() else {
            log::error!("mcp_policy: Envoy did not tell the plugin's name");
            return false;
        };
        match Config::load(&bytes, &name) {
            Ok(mut loaded) => {
                let read =
                    |name: &str| std::env::var_os(name).map(|value| value.into_encoded_bytes());
                if let Err(problem) = loaded.config.sessions.unlock(&name, read) {
                    log::error!("mcp_policy: {problem}");
                    return false;
                }
                let users =
                    loaded.config.policies().any(|policy| policy.names_way(ApprovalWay::User));
                if let Err(problem) = loaded.config.approvals.unlock(&name, users, read) {
                    log::error!("mcp_policy: {problem}");
                    return false;
                }
                for warning in &loaded.warnings {
                    log::warn!("mcp_policy: {warning}");
                }
                let holds = Rc::new(Holds::new(loaded.config.requests.hold_headers));
                let config = Rc::new(loaded.config);
                self.plugin = Some(Plugin { config, holds });
                true
            }
            Err(problems) => {
                let count = problems.len();
                log::error!("mcp_policy: configuration refused, {count} problem(s)");
                for problem in &problems {
                    log::error!("mcp_policy: {problem}");
                }
                false
            }
        }
    }

    /// A new stream under the configuration; `root` is the context of the plugin.
    pub(super) fn stream(&self, context: u32, root: u32) -> Option<Stream> {
        let plugin = self.plugin.as_ref()?;
        let exchange = Exchange::new(plugin.config.clone(), plugin.holds.clone());
        Some(Stream::new(context, root, exchange))
    }
}

/// Keeps the counters of plugins apart that share one VM id.
fn plugin_name() -> Result<String, calls::HostError> {
    let name = calls::property(&["plugin_name"])?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&name).into_owned())
}
