//! The only time type. Nothing in the library reads a clock: `now` is an argument.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds since the epoch.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// A moment as two clocks tell it. What people mean by a day or a month is told by the wall clock, which can be set; how much time has
/// passed is told by the other, which cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: UnixMillis,
    /// Milliseconds since some moment in the past, the same one for all that share a store. This clock is never set.
    pub running: u64,
}

impl From<UnixMillis> for Moment {
    /// Where time is what somebody says it is, as in tests and in the command, all of it has passed.
    fn from(wall: UnixMillis) -> Moment {
        Moment { wall, running: wall.0 }
    }
}
