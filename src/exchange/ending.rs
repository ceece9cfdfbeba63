//! What a wait ends with.

use crate::policy::compiled::Config;
use crate::reply::Context;
use crate::world::World;

/// What a wait ends with.
pub(super) struct Ending<'w, W: World> {
    pub(super) config: &'w Config,
    pub(super) world: &'w W,
    pub(super) context: Context<'w>,
}
