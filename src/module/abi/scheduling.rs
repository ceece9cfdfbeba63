//! Events that the module sends itself from another thread.

use std::ffi::c_void;
use std::ptr::NonNull;

use super::{
    Filter, FilterConfig, config_scheduler_commit, config_scheduler_delete, config_scheduler_new,
    scheduler_commit, scheduler_delete, scheduler_new,
};

/// Sends events to a stream or a configuration, whose hooks then run on their own thread. Envoy drops what comes when those are gone.
#[derive(Debug)]
pub(in crate::module) struct Scheduler {
    scheduler: NonNull<c_void>,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Stream,
    Configuration,
}

// SAFETY: schedulers are made for being called from any thread (abi.h); they hold no more than a weak reference.
unsafe impl Send for Scheduler {}

impl Scheduler {
    /// Has the hook run, soon.
    pub(in crate::module) fn commit(&self, event: u64) {
        // SAFETY: the scheduler is Envoy's, of this kind, and was not deleted.
        unsafe {
            match self.of {
                Of::Stream => scheduler_commit(self.scheduler.as_ptr(), event),
                Of::Configuration => config_scheduler_commit(self.scheduler.as_ptr(), event),
            }
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: the scheduler is Envoy's, of this kind, and is deleted once.
        unsafe {
            match self.of {
                Of::Stream => scheduler_delete(self.scheduler.as_ptr()),
                Of::Configuration => config_scheduler_delete(self.scheduler.as_ptr()),
            }
        }
    }
}

impl Filter<'_> {
    /// What sends events to this stream.
    pub(in crate::module) fn scheduler(&self) -> Option<Scheduler> {
        // SAFETY: no pointers but Envoy's own; what it returns is ours to delete.
        let scheduler = NonNull::new(unsafe { scheduler_new(self.raw()) })?;
        Some(Scheduler { scheduler, of: Of::Stream })
    }
}

impl FilterConfig<'_> {
    /// What sends events to this configuration.
    pub(in crate::module) fn scheduler(&self) -> Option<Scheduler> {
        // SAFETY: no pointers but Envoy's own; what it returns is ours to delete.
        let scheduler = NonNull::new(unsafe { config_scheduler_new(self.config.as_ptr()) })?;
        Some(Scheduler { scheduler, of: Of::Configuration })
    }
}
