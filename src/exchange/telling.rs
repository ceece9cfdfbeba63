//! What is told of a step's records: audit lines, metrics, traces.

use super::{Exchange, HeaderEdit, Level, Line, Step};
use crate::audit;
use crate::bounds::MAX_AUDIT_STATE_BYTES;
use crate::mcp::headers::Header;
use crate::mcp::headers::facts::Facts;
use crate::record::RequestTrail;
use crate::world::World;

/// The header and the member of `_meta` that name a trace (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";

/// Where a request goes, and the audit lines that were written of it.
#[derive(Debug)]
pub(super) struct AuditTrail {
    trail: RequestTrail,
    lines: String,
}

impl Exchange {
    /// Keeps of the headers what is told later.
    pub(super) fn follow(&mut self, facts: &Facts<'_>, headers: &[Header<'_>]) {
        let telling = &self.config.telling;
        if telling.traces_from_meta {
            self.is_traced = headers.iter().any(|(name, _)| *name == TRACEPARENT.as_bytes());
        }
        if telling.audit.is_some() {
            let trail = RequestTrail::of(facts, headers);
            self.trail = Some(Box::new(AuditTrail { trail, lines: String::new() }));
        }
    }

    /// Joins the trace that the body names, where the client named none by the header.
    pub(super) fn join_trace(&self, step: &mut Step) {
        let record = step.records.last().filter(|_| self.waits && !self.is_traced);
        let trace = record.and_then(|record| record.traceparent.clone());
        step.edits.extend(trace.map(|trace| HeaderEdit::Set(TRACEPARENT, trace.into())));
    }

    /// Tells of all decisions of a step.
    pub(super) fn tell<W: World>(&mut self, world: &W, step: &mut Step) {
        let config = &self.config;
        if !config.telling.metrics {
            step.samples.clear();
        }
        if step.records.is_empty() {
            return;
        }
        if config.telling.metrics {
            step.samples.extend(step.records.iter().flat_map(|record| record.samples(config)));
        }
        let Some(audit) = &config.telling.audit else { return };
        let trail = self.trail.get_or_insert_with(|| {
            Box::new(AuditTrail { trail: RequestTrail::default(), lines: String::new() })
        });
        let now = world.now();
        for record in step.records.iter().filter(|record| !record.sums_up) {
            let fits = audit.to_access_log && trail.lines.len() < MAX_AUDIT_STATE_BYTES;
            // A line that goes nowhere must not lengthen the chain.
            if !fits && !audit.to_log {
                continue;
            }
            let draw = || Some(u64::from_le_bytes(*world.random()?.first_chunk()?));
            let line = audit::line(record, &trail.trail, config, now, draw);
            if fits {
                if !trail.lines.is_empty() {
                    trail.lines.push('\n');
                }
                trail.lines.push_str(&line);
                step.audit = Some(trail.lines.clone());
            }
            if audit.to_log {
                step.log.push(Line { level: Level::Info, text: line.into() });
            }
        }
    }
}
