//! Envoy's statistics as metrics.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::calls;
use crate::metrics::{MeterKind, Sample, Series, Timing};
use crate::policy::compiled::Config;

/// The metrics of one configuration, by Envoy's numbers. There are as many as its policies have lines, so the map is bounded.
#[derive(Debug, Default)]
pub(super) struct Meters {
    ids: RefCell<BTreeMap<Series, Option<u32>>>,
    pub(super) timing: Timing,
}

impl Meters {
    /// Counts. What Envoy does not count is lost: no request depends on it.
    pub(super) fn count(&self, samples: &[Sample], config: Option<&Config>) {
        for Sample { series, value } in samples {
            let Some(id) = self.id(*series, config) else { continue };
            let _ = calls::count(series.meter().kind, id, *value);
        }
    }

    /// Sets a gauge to zero whose meaning is over.
    pub(super) fn end(name: &str) {
        if let Ok(id) = calls::define_metric(MeterKind::Gauge, name) {
            let _ = calls::count(MeterKind::Gauge, id, 0);
        }
    }

    fn id(&self, series: Series, config: Option<&Config>) -> Option<u32> {
        let define = || calls::define_metric(series.meter().kind, &series.name(config)).ok();
        match self.ids.try_borrow_mut() {
            Ok(mut ids) => *ids.entry(series).or_insert_with(define),
            Err(_) => None,
        }
    }
}
