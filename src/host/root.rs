//! The plugin: takes the configuration, makes streams, and lets the timer watch held requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use super::calls::{self, Buffer, Level};
use super::probe::{Overdue, Probe};
use super::stream::{Stream, keep_record, send};
use crate::exchange::Exchange;
use crate::policy::compiled::Config;

/// Exchanges by context id, for the timer.
pub(super) type Exchanges = Rc<RefCell<HashMap<u32, Rc<RefCell<Exchange>>>>>;

/// The plugin in one VM.
#[derive(Default)]
pub(super) struct Root {
    plugin: Option<Plugin>,
}

struct Plugin {
    config: Rc<Config>,
    probe: Rc<Probe>,
    exchanges: Exchanges,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
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
                self.plugin = Some(Plugin { config, probe, exchanges: Exchanges::default() });
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

    fn on_tick(&mut self) {
        let Some(plugin) = &self.plugin else { return };
        match plugin.probe.overdue(calls::timer_now()) {
            Overdue::Release(contexts) => contexts.into_iter().for_each(release),
            Overdue::Refuse(contexts) => {
                contexts.into_iter().for_each(|context| plugin.refuse(context))
            }
        }
        if plugin.probe.is_idle() {
            calls::tick_every(0);
        }
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = self.plugin.as_ref()?;
        let exchange = Rc::new(RefCell::new(Exchange::new(plugin.config.clone())));
        let exchanges = plugin.exchanges.clone();
        Some(Box::new(Stream::new(context, exchange, plugin.probe.clone(), exchanges)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Plugin {
    /// Refuses a request whose headers were to be held and whose body does not come.
    fn refuse(&self, context: u32) {
        let Some(exchange) = self.exchanges.borrow().get(&context).cloned() else { return };
        let Some(reply) = exchange.borrow_mut().give_up_holding() else { return };
        calls::log(
            Level::Error,
            concat!(
                "mcp_policy: refused a request because its body did not come while its headers were held: ",
                "set allow_on_headers_stop_iteration: true beside this plugin's configuration, ",
                "or requests.hold_headers to \"auto\""
            ),
        );
        if calls::act_on(context).is_ok() {
            keep_record(&exchange);
            send(&reply);
        }
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
