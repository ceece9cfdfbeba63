//! The timer: Envoy has none for HTTP filters, so a thread of the module's own sends events to whoever wants them.
//!
//! It runs only while somebody does. What it sends to a stream, Envoy runs on the stream's own thread. Nothing is sent to a stream that has
//! ended: who takes a target off the list waits until the thread has let go of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::abi::Scheduler;
use crate::exchange::TICK_MILLIS;

/// The one timer of the process.
static TICKER: Ticker = Ticker { list: Mutex::new(List::NEW), wanted: Condvar::new() };

struct Ticker {
    list: Mutex<List>,
    wanted: Condvar,
}

#[derive(Debug)]
struct List {
    targets: BTreeMap<u64, TickTarget>,
    last: u64,
    runs: bool,
}

#[derive(Debug)]
struct TickTarget {
    scheduler: Scheduler,
    /// Whether an event is under way: a slow worker gets one, not a heap of them.
    sent: Arc<AtomicBool>,
    /// How long it waits for a tick, and has waited, in milliseconds.
    pace: u32,
    waited: u32,
}

/// While this lives, its target gets a tick at this pace, which is about [`TICK_MILLIS`] at the least.
#[derive(Debug)]
pub(super) struct Ticks {
    at: u64,
    sent: Arc<AtomicBool>,
    pace: u32,
}

impl Ticks {
    /// Begins.
    pub(super) fn begin(scheduler: Scheduler, pace: u32) -> Ticks {
        let sent = Arc::new(AtomicBool::new(false));
        let mut list = TICKER.list();
        list.last = list.last.wrapping_add(1);
        let at = list.last;
        list.targets.insert(at, TickTarget { scheduler, sent: sent.clone(), pace, waited: 0 });
        if !list.runs {
            // Without a thread nobody is ticked: held calls end with the time-outs of what they wait for, or of their clients.
            let thread = std::thread::Builder::new().name("mcp_policy".to_owned());
            list.runs = thread.spawn(|| TICKER.run()).is_ok();
        }
        TICKER.wanted.notify_one();
        Ticks { at, sent, pace }
    }

    /// How long its target waits for a tick, in milliseconds.
    pub(super) fn pace(&self) -> u32 {
        self.pace
    }

    /// The tick has come, so the next can.
    pub(super) fn came(&self) {
        self.sent.store(false, Ordering::Release);
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        let target = TICKER.list().targets.remove(&self.at);
        drop(target);
    }
}

impl Ticker {
    /// A panic leaves the list whole.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut list = self.list();
        loop {
            if list.targets.is_empty() {
                list = self.wanted.wait(list).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(list);
            std::thread::sleep(Duration::from_millis(TICK_MILLIS.into()));
            list = self.list();
            for target in list.targets.values_mut() {
                target.waited = target.waited.saturating_add(TICK_MILLIS);
                if target.waited < target.pace {
                    continue;
                }
                target.waited = 0;
                if !target.sent.swap(true, Ordering::AcqRel) {
                    target.scheduler.commit(0);
                }
            }
        }
    }
}

impl List {
    const NEW: List = List { targets: BTreeMap::new(), last: 0, runs: false };
}
