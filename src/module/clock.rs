//! The clocks of the process.
#![expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Moment, UnixMillis};

/// When somebody first asked, by both clocks: one moment for all workers.
static BEGINNING: OnceLock<(Instant, u64)> = OnceLock::new();

/// The time; `None` before 1970.
pub(super) fn now() -> Option<UnixMillis> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(UnixMillis)
}

/// The time by both clocks. The one that cannot be set begins at what the other said when somebody first asked.
pub(super) fn moment() -> Option<Moment> {
    let wall = now()?;
    let (beginning, then) = BEGINNING.get_or_init(|| (Instant::now(), wall.0));
    let passed = u64::try_from(beginning.elapsed().as_millis()).ok()?;
    Some(Moment { wall, running: then.saturating_add(passed) })
}

/// Nanoseconds by the clock that cannot be set.
pub(super) fn nanoseconds() -> u64 {
    let (beginning, _) =
        BEGINNING.get_or_init(|| (Instant::now(), now().unwrap_or(UnixMillis(0)).0));
    u64::try_from(beginning.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
