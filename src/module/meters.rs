//! Envoy's statistics as metrics. Envoy takes definitions only while a configuration is made, so all meters are defined then, each with the
//! names of its labels; a series comes to be when it is counted first.

use super::abi::{Filter, FilterConfig};
use crate::metrics::{METERS, Meter, Sample, Series};
use crate::policy::compiled::Config;

/// The numbers that Envoy has given the meters of one configuration, in the order of [`METERS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ModuleMeters {
    ids: [Option<usize>; METERS.len()],
}

impl ModuleMeters {
    /// No meters.
    pub(super) const NONE: ModuleMeters = ModuleMeters { ids: [None; METERS.len()] };

    /// Defines all meters. What Envoy does not define is not counted: no request depends on it.
    pub(super) fn define(config: &FilterConfig<'_>) -> ModuleMeters {
        let id = |Meter { name, kind, labels }: &Meter| config.define(*kind, name, labels);
        ModuleMeters { ids: METERS.each_ref().map(id) }
    }

    /// Counts what happened to a request.
    pub(super) fn count(&self, filter: &Filter<'_>, samples: &[Sample], config: &Config) {
        for Sample { series, value } in samples {
            if let Some((meter, id)) = self.of(*series) {
                filter.count(meter.kind, id, &series.labels(Some(config)), *value);
            }
        }
    }

    /// Counts what happened to a configuration. Without one that is in force, labels are empty that it would tell.
    pub(super) fn count_of(&self, on: &FilterConfig<'_>, sample: Sample, config: Option<&Config>) {
        if let Some((meter, id)) = self.of(sample.series) {
            on.count(meter.kind, id, &sample.series.labels(config), sample.value);
        }
    }

    /// Sets to zero the series that tells that a policy is live, of one that was.
    pub(super) fn end(&self, on: &FilterConfig<'_>, labels: [&str; 3]) {
        if let Some((meter, id)) = self.of(Series::Info(0)) {
            on.count(meter.kind, id, &labels.map(str::to_owned), 0);
        }
    }

    fn of(&self, series: Series) -> Option<(&'static Meter, usize)> {
        let meter = series.meter();
        let at = METERS.iter().position(|other| other.name == meter.name)?;
        Some((meter, (*self.ids.get(at)?)?))
    }
}
