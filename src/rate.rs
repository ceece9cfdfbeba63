//! Counting calls: exact under any number of threads, in memory that callers cannot grow.
//!
//! Envoy's shared data has no expiry and no delete, so counters of callers live in a fixed number of *shards*, each one
//! shared-data key that holds a small table and is changed by compare-and-swap. Counters with scope `global` have keys of their own.
//!
//! # What attackers meet
//!
//! Two promises, of which the first never bends: nobody gets one call over a limit, and nobody can use up what others have.
//! A table is small, and whoever may invent names can fill it, so:
//!
//! - *Names of different worth share no table.* Each [`table::Class`] has shards of its own: invented credentials fill none in which a
//!   verified claim, an address or a session of a verified caller is counted.
//! - *Nobody fills a table alone.* A slot remembers who made it (the address, for invented names; the verified caller, for sessions), and
//!   one maker has at most half of a table. Beyond that his newcomers are denied (`too_many_callers`), which costs nobody else anything.
//!   Shards are so many that this half, unevenly filled, is what `counters.max_entries` promises.
//! - *What the server refuses leaves no trace.* An answer of 401 or 403 gives back what a caller counted whom nothing verified, and a
//!   slot that comes to nothing goes.
//! - *Nobody's slot is taken for a newcomer.* Callers who find a table full have no slots; they count together on the counter's *floor*
//!   there, against the same maximum, and whoever gets a slot later starts at the floor. A scheme that forgets the least used instead must
//!   raise the floor to what it forgets, and then a crowd of newcomers with few calls each drives out honest callers with few calls each:
//!   with 5 a day, 320 calls a table lock out everybody, the known included. Here they share 5 calls, and the known keep theirs.
//!
//! Why no call is too many: a caller is counted in his slot or on the floor. While he has a slot, it has at least all that he was
//! counted for: it began at the floor, which holds every call that was counted there and not given back, and it goes only when it is
//! zero. While he has none, the floor has them.
//!
//! What remains: from many addresses, invented names can fill the tables of their class, and newcomers of that class then share the
//! floors until windows end. Verified names, or a server that refuses unknown credentials, close it.
//!
//! Not here: which limits a call meets, and what a denial says.

pub mod algorithm;
pub mod limiter;
pub mod memory;
pub mod store;
pub mod table;
pub mod window;
