//! Giving back what a call used that did not run.

use super::expected::Expected;
use crate::mcp::outcome::Origin;
use crate::once::UsedIds;
use crate::policy::compiled::Config;
use crate::rate::limiter::{Limiter, Reservation};
use crate::world::World;

/// Gives back what a request used that the gateway sends elsewhere: it comes anew, and then counts.
pub(super) fn of_sent_on<W: World>(config: &Config, world: &W, expected: &Expected) {
    if (expected.refunds.is_empty() && expected.used.is_none()) || world.origin() != Origin::SentOn
    {
        return;
    }
    give_back(config, world, expected.refunds.iter().flat_map(|(_, counts)| counts));
    expected.used.into_iter().for_each(|used| ids(config, world).give_back(used));
}

/// The table of used approvals.
pub(super) fn ids<'w, W: World>(config: &Config, world: &'w W) -> UsedIds<'w, W::Store> {
    UsedIds::new(world.store(), config.approvals.max_entries)
}

/// Gives back counts.
pub(super) fn give_back<'r, W: World>(
    config: &Config,
    world: &W,
    counts: impl Iterator<Item = &'r Reservation>,
) {
    Limiter::new(world.store(), config.counters.shards).give_back(counts);
}
