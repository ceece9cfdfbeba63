//! The plugin: takes the configuration, and makes streams under it.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::rc::Rc;

use proxy_wasm::types::BufferType;
use sha2::{Digest as _, Sha256};

use super::calls;
use super::meters::Meters;
use super::shared::SharedData;
use super::stream::Stream;
use crate::checked::{is_checked, note};
use crate::exchange::{Exchange, Holds, TICK_MILLIS};
use crate::live::{self, Was};
use crate::matcher::regex::Regex;
use crate::metrics::{ConfigurationOutcome, Sample, Series, info_of};
use crate::policy::compiled::Config;
use crate::policy::environment::Environment;

/// The environment of the VM, which an operator fills.
const ENVIRONMENT: Environment = Environment {
    owner: "the VM",
    cure: "set it in vm_config.environment_variables",
    read: |name| std::env::var_os(name).map(OsString::into_encoded_bytes),
};

/// How long a tick compiles what nobody has needed yet, in nanoseconds; and it ends what it has begun.
const MOST_BUILDING: u64 = 2_000_000;

/// The plugin in one VM.
#[derive(Default)]
pub(super) struct Root {
    plugin: Option<Plugin>,
}

struct Plugin {
    name: String,
    config: Rc<Config>,
    holds: Rc<Holds>,
    meters: Rc<Meters>,
    /// A digest of the configuration's own bytes.
    digest: [u8; 32],
    /// Whether it was told that this configuration is in force.
    announced: Cell<bool>,
    /// Regular expressions that nobody has needed yet.
    unbuilt: RefCell<Vec<Regex>>,
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
        let (store, digest) = (SharedData, Sha256::digest(&bytes).into());
        let loaded = if is_checked(&store, &name, &digest) {
            Config::load_known(&bytes, &name)
        } else {
            Config::load(&bytes, &name).inspect(|_| note(&store, &name, &digest))
        };
        match loaded {
            Ok(mut loaded) => {
                if let Err(problem) = loaded.config.unlock(&name, &ENVIRONMENT) {
                    log::error!("mcp_policy: {problem}");
                    return false;
                }
                for warning in &loaded.warnings {
                    log::warn!("mcp_policy: {warning}");
                }
                let holds = Rc::new(Holds::new(loaded.config.requests.hold_headers));
                let (config, meters) = (Rc::new(loaded.config), Rc::default());
                let (announced, unbuilt) = (Cell::default(), RefCell::new(loaded.unbuilt));
                let plugin = Plugin { name, config, holds, meters, digest, announced, unbuilt };
                self.plugin = Some(plugin);
                // Told at the first tick: no copy that only validates lives that long.
                calls::tick_every(TICK_MILLIS);
                true
            }
            Err(problems) => {
                // The first that refuses a configuration is the last to see it.
                let refused = Sample::one(Series::Configurations(ConfigurationOutcome::Refused));
                Meters::default().count(&[refused], None);
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
        Some(Stream::new(context, root, exchange, plugin.meters.clone()))
    }

    /// Time has passed, so the configuration is in force. Whether another tick is needed.
    pub(super) fn tick(&self) -> bool {
        let Some(plugin) = &self.plugin else { return false };
        if !plugin.announced.replace(true) {
            plugin.announce();
        }
        plugin.build_some()
    }
}

impl Plugin {
    /// Compiles some of what is not compiled yet, so that requests seldom wait for it, nor long for those that are compiled. Whether there is more.
    fn build_some(&self) -> bool {
        let Ok(mut unbuilt) = self.unbuilt.try_borrow_mut() else { return false };
        let begun = calls::running();
        while let Some(regex) = unbuilt.pop() {
            regex.build();
            // Without a clock it is one at a time.
            let spent = calls::running().zip(begun).map(|(now, begun)| now.saturating_sub(begun));
            if spent.is_none_or(|spent| spent > MOST_BUILDING) {
                break;
            }
        }
        !unbuilt.is_empty()
    }

    /// Tells which policies are live: once of all that run this configuration in one Envoy, whichever is the first.
    fn announce(&self) {
        let (store, config) = (SharedData, &*self.config);
        let mut samples = Vec::new();
        let mut changed = false;
        for policy in config.policies() {
            let was = live::replace(&store, &self.name, &self.digest, policy);
            changed |= was != Was::Same;
            if let Was::Other(digest, version) = was {
                Meters::end(&info_of(&policy.name, &digest, &version));
            }
            samples.push(Sample::one(Series::Info(policy.index)));
        }
        if changed {
            samples.push(Sample::one(Series::Configurations(ConfigurationOutcome::Taken)));
            log::info!("{}", live::line(config));
        }
        if config.telling.metrics {
            self.meters.count(&samples, Some(config));
        }
    }
}

/// Keeps the counters of plugins apart that share one VM id.
fn plugin_name() -> Result<String, calls::HostError> {
    let name = calls::property(&["plugin_name"])?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&name).into_owned())
}
