//! Approval: what a call that needs it is bound to, what clients carry for us meanwhile, and the ways by which somebody says yes.
//!
//! Whatever the way is, an approval is for one call as it will run ([`call`]), and is used once. What a client carries is sealed
//! ([`state`]), so the filter remembers nothing but which approvals are used.

pub mod approver;
pub mod call;
pub mod state;
pub mod token;
pub mod user;
