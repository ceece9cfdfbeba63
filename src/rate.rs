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
//! # What time is
//!
//! Counts must follow the wall clock, for only it knows when a day begins; and they must not, for it can be set. So each table has a time
//! of its own (`clock.rs`), which goes on by a clock that cannot be set, the monotonic one of the process:
//!
//! - *In real time no window is shorter than it says.* However the wall clock flaps, a table's time goes on evenly. Where the wall clock
//!   differs from it by a second or more, it was set, and the table follows, forwards or back; then not again for an hour.
//! - *The exception: a step that is followed.* The limit holds before the step and after it, each for itself. So around one step, two
//!   windows can begin early: that into which it leads, and the next, as the edges lie elsewhere. That is once an hour for each table,
//!   and whoever cannot set the clock gets nothing of it. A step that leads back begins no window early while a count is
//!   still kept: what was counted ahead counts in the window of now.
//! - *Nobody is locked out.* A slot lasts by the clock that cannot be set: what was counted in a window of the year 2099 is forgotten when
//!   as much time has passed as that window had left. After a wrong clock was followed ahead and came back, windows have
//!   their right length at once, and their right edges after an hour at most.
//! - *A bucket knows no edges*, so it counts by the clock that cannot be set alone, and no step concerns it.
//!
//! What remains: steps of less than a second are never followed, so edges can be off by that much. A pause of the machine stops the
//! monotonic clock, and is a step of the wall clock afterwards. A new process counts anew. And where an operator's
//! `capability_restriction_config` leaves out `clock_time_get`, the filter takes all that the wall clock tells for time that has passed:
//! then each step forwards begins a window.
//!
//! Not here: which limits a call meets, and what a denial says.

mod account;
pub mod algorithm;
mod clock;
pub mod lease;
pub mod limiter;
pub mod memory;
mod shards;
pub mod store;
pub mod table;
pub mod window;
