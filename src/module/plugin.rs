//! A configuration: taken or refused on the main thread, and read again by each worker that needs it.
//!
//! What a worker keeps with a configuration (how much of responses it holds, where its audit chain ends) is its own, as in the filter, where
//! each worker has a VM. So each reads the text for itself, once.

use std::cell::RefCell;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use super::abi::{FilterConfig, Scheduler, log};
use super::envoy::STORE;
#[cfg(debug_assertions)]
use super::fault::strike_named;
use super::meters::ModuleMeters;
use super::ticker::Ticks;
use crate::exchange::{Exchange, Holds, Level, TICK_MILLIS};
use crate::live::{self, Was};
use crate::metrics::{ConfigurationOutcome, Sample, Series, Timing};
use crate::policy::compiled::Config;
use crate::policy::environment::Environment;

/// The environment of the process.
const ENVIRONMENT: Environment = Environment {
    owner: "Envoy",
    cure: "set it in the environment that Envoy is started with",
    read: |name| std::env::var_os(name).map(OsStringExt::into_vec),
};

/// A configuration.
#[derive(Debug)]
pub(super) struct ModulePlugin {
    /// The name keeps the counters of plugins apart.
    name: String,
    text: Box<[u8]>,
    /// A digest of the text.
    digest: [u8; 32],
    /// None of a route's: those of the filter on it count.
    meters: ModuleMeters,
    /// How events are sent to it. None are sent to a route's.
    scheduled: Mutex<Scheduled>,
}

/// How events are sent to a configuration.
#[derive(Debug, Default)]
struct Scheduled {
    /// Until it is told that this configuration is in force.
    announcing: Option<Ticks>,
    direct: Option<Scheduler>,
}

/// What one worker keeps with a configuration.
#[derive(Debug)]
pub(super) struct Worker {
    config: Rc<Config>,
    holds: Rc<Holds>,
    pub(super) timing: Timing,
}

thread_local! {
    /// What this worker keeps, by configuration.
    static WORKERS: RefCell<Vec<(Weak<ModulePlugin>, Rc<Worker>)>> = const { RefCell::new(Vec::new()) };
}

/// All configurations of filters, for what one of them tells of another.
static PLUGINS: Mutex<Vec<Weak<ModulePlugin>>> = Mutex::new(Vec::new());

/// The events of a configuration: the timer's, and one that says that another configuration of its name was refused.
const REFUSED: u64 = 1;

impl ModulePlugin {
    /// Takes the configuration of a filter; `None` if it is refused. Where Envoy only validates, nothing is told but that.
    pub(super) fn of_filter(
        on: &FilterConfig<'_>,
        name: &[u8],
        text: &[u8],
        validates: bool,
    ) -> Option<Arc<ModulePlugin>> {
        let name = String::from_utf8_lossy(name).into_owned();
        #[cfg(debug_assertions)]
        strike_named(&name, "filter_config");
        let meters = ModuleMeters::define(on);
        let Some(plugin) = ModulePlugin::taken(name.clone(), text, meters) else {
            count_refusal(&name);
            return None;
        };
        if !validates {
            // Told at the first tick: until then something else may be wrong with what the configuration is a part of.
            plugin.announce_with(on);
        }
        Some(plugin)
    }

    /// Takes the configuration of a route, which holds there instead of the filter's; `None` if it is refused.
    pub(super) fn of_route(name: &[u8], text: &[u8]) -> Option<Arc<ModulePlugin>> {
        let name = String::from_utf8_lossy(name).into_owned();
        #[cfg(debug_assertions)]
        strike_named(&name, "route_config");
        ModulePlugin::taken(name, text, ModuleMeters::NONE)
    }

    fn taken(name: String, text: &[u8], meters: ModuleMeters) -> Option<Arc<ModulePlugin>> {
        match load(text, &name) {
            Ok((_, warnings)) => {
                for warning in warnings {
                    log(Level::Warn, &format!("mcp_policy: {warning}"));
                }
                let (digest, text) = (Sha256::digest(text).into(), text.into());
                let scheduled = Mutex::default();
                Some(Arc::new(ModulePlugin { name, text, digest, meters, scheduled }))
            }
            Err(problems) => {
                for problem in problems {
                    log(Level::Error, &format!("mcp_policy: {problem}"));
                }
                None
            }
        }
    }

    fn announce_with(self: &Arc<ModulePlugin>, on: &FilterConfig<'_>) {
        let ticking = on.scheduler().map(|scheduler| Ticks::begin(scheduler, TICK_MILLIS));
        let scheduled = Scheduled { announcing: ticking, direct: on.scheduler() };
        *self.scheduled.lock().unwrap_or_else(PoisonError::into_inner) = scheduled;
        let mut all = PLUGINS.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|plugin| plugin.strong_count() > 0);
        all.push(Arc::downgrade(self));
    }

    /// The meters of the filter.
    pub(super) fn meters(&self) -> ModuleMeters {
        self.meters
    }

    /// An event that was sent to this configuration has come, on the main thread.
    pub(super) fn scheduled(self: &Arc<ModulePlugin>, on: &FilterConfig<'_>, event: u64) {
        #[cfg(debug_assertions)]
        strike_named(&self.name, "scheduled");
        if event == REFUSED {
            let refused = Sample::one(Series::Configurations(ConfigurationOutcome::Refused));
            self.meters.count_of(on, refused, None);
            return;
        }
        let ticking = {
            let mut scheduled = self.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
            scheduled.announcing.take()
        };
        if let (Some(_), Some(worker)) = (ticking, self.worker()) {
            self.announce(on, &worker.config);
        }
    }

    /// Tells which policies are live: once of all that run this configuration in one Envoy, whichever is the first.
    fn announce(&self, on: &FilterConfig<'_>, config: &Config) {
        let mut changed = false;
        for policy in config.policies() {
            let was = live::replace(&STORE, &self.name, &self.digest, policy);
            changed |= was != Was::Same;
            if !config.telling.metrics {
                continue;
            }
            if let Was::Other(digest, version) = was {
                self.meters.end(on, [&policy.name, &digest, &version]);
            }
            self.meters.count_of(on, Sample::one(Series::Info(policy.index)), Some(config));
        }
        if changed {
            log(Level::Info, &live::line(config));
        }
        if changed && config.telling.metrics {
            let taken = Sample::one(Series::Configurations(ConfigurationOutcome::Taken));
            self.meters.count_of(on, taken, Some(config));
        }
    }

    /// What this worker keeps with the configuration; `None` if it cannot read it, which the main thread could.
    pub(super) fn worker(self: &Arc<ModulePlugin>) -> Option<Rc<Worker>> {
        WORKERS.with(|workers| {
            let mut workers = workers.try_borrow_mut().ok()?;
            let own = |(plugin, _): &&(Weak<ModulePlugin>, _)| plugin.as_ptr() == Arc::as_ptr(self);
            if let Some((_, worker)) = workers.iter().find(own) {
                return Some(worker.clone());
            }
            let (config, _) = load(&self.text, &self.name).ok()?;
            let holds = Rc::new(Holds::proven(config.requests.hold_headers));
            let worker = Worker { config: Rc::new(config), holds, timing: Timing::default() };
            let worker = Rc::new(worker);
            workers.retain(|(plugin, _)| plugin.strong_count() > 0);
            workers.push((Arc::downgrade(self), worker.clone()));
            Some(worker)
        })
    }
}

#[cfg(debug_assertions)]
impl Drop for ModulePlugin {
    fn drop(&mut self) {
        strike_named(&self.name, "config_destroy");
    }
}

#[cfg(debug_assertions)]
impl ModulePlugin {
    /// Panics, if this configuration shall in this hook.
    pub(super) fn strike(&self, hook: &str) {
        strike_named(&self.name, hook);
    }
}

impl Worker {
    /// A new exchange under the configuration.
    pub(super) fn exchange(&self) -> Exchange {
        Exchange::new(self.config.clone(), self.holds.clone())
    }
}

/// Counts that a configuration was refused, with one of its name that is in force: with its own it would be forgotten.
fn count_refusal(name: &str) {
    let all = PLUGINS.lock().unwrap_or_else(PoisonError::into_inner);
    let last = all.iter().rev().filter_map(Weak::upgrade).find(|plugin| plugin.name == name);
    drop(all);
    let Some(plugin) = last else { return };
    let scheduled = plugin.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(direct) = &scheduled.direct {
        direct.commit(REFUSED);
    }
}

/// Reads a configuration, and the secrets that it names from the environment of the process: itself and its warnings, or what is wrong.
fn load(text: &[u8], name: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let loaded = Config::load(text, name).map_err(|problems| {
        let mut lines = vec![format!("configuration refused, {} problem(s)", problems.len())];
        lines.extend(problems.iter().map(ToString::to_string));
        lines
    })?;
    let mut config = loaded.config;
    config.unlock(name, &ENVIRONMENT).map_err(|problem| vec![problem])?;
    Ok((config, loaded.warnings.iter().map(ToString::to_string).collect()))
}
