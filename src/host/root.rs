//! The plugin: takes the configuration, makes streams, and lets the timer watch held requests.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::calls::{self, Buffer, Level};
use super::probe::{Overdue, Probe};
use super::stream::Stream;
use crate::exchange::Exchange;
use crate::policy::compiled::Config;

/// The plugin in one VM.
#[derive(Default)]
pub(super) struct Root {
    plugin: Option<Plugin>,
}

struct Plugin {
    config: Rc<Config>,
    probe: Rc<Probe>,
}

impl Root {
    /// Takes a configuration; false if it is refused.
    pub(super) fn configure(&mut self, size: usize) -> bool {
        // Also called in a throw-away copy that only validates, so nothing may happen here but the check.
        let bytes =
            calls::buffer(Buffer::PluginConfiguration, size).ok().flatten().unwrap_or_default();
        let Ok(name) = plugin_name() else {
            calls::log(Level::Error, "mcp_policy: Envoy did not tell the plugin's name");
            return false;
        };
        match Config::load(&bytes, &name) {
            Ok(mut loaded) => {
                let read =
                    |name: &str| std::env::var_os(name).map(|value| value.into_encoded_bytes());
                if let Err(problem) = loaded.config.sessions.unlock(&name, read) {
                    calls::log(Level::Error, &format!("mcp_policy: {problem}"));
                    return false;
                }
                for warning in &loaded.warnings {
                    calls::log(Level::Warn, &format!("mcp_policy: {warning}"));
                }
                let probe = Probe::new(loaded.config.requests.hold_headers);
                let config = Rc::new(loaded.config);
                self.plugin = Some(Plugin { config, probe });
                true
            }
            Err(problems) => {
                let count = problems.len();
                calls::log(
                    Level::Error,
                    &format!("mcp_policy: configuration refused, {count} problem(s)"),
                );
                for problem in &problems {
                    calls::log(Level::Error, &format!("mcp_policy: {problem}"));
                }
                false
            }
        }
    }

    /// Lets go of held requests that wait too long, or refuses them.
    pub(super) fn tick(&self, streams: &mut BTreeMap<u32, Stream>) {
        let Some(plugin) = &self.plugin else { return };
        match plugin.probe.overdue(calls::timer_now()) {
            Overdue::Release(contexts) => contexts.into_iter().for_each(release),
            Overdue::Refuse(contexts) => {
                for context in contexts {
                    streams.get_mut(&context).into_iter().for_each(Stream::refuse);
                }
            }
        }
        if plugin.probe.is_idle() {
            calls::tick_every(0);
        }
    }

    /// A new stream under the configuration.
    pub(super) fn stream(&self, context: u32) -> Option<Stream> {
        let plugin = self.plugin.as_ref()?;
        let exchange = Exchange::new(plugin.config.clone());
        Some(Stream::new(context, exchange, plugin.probe.clone()))
    }
}

/// Lets the headers of a request go on; its body is still judged.
fn release(context: u32) {
    let released = calls::act_on(context).and_then(|()| calls::continue_request());
    if released.is_err() {
        calls::log(Level::Error, "mcp_policy: a held request could not be continued");
    }
}

/// Keeps the counters of plugins apart that share one VM id.
fn plugin_name() -> Result<String, calls::HostError> {
    let name = calls::property(&["plugin_name"])?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&name).into_owned())
}
