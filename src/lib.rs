//! # mcp-policy
//!
//! A proxy-wasm filter for Envoy that decides which tools an AI agent may call over the Model Context Protocol.
//!
//! ## The tour of one request
//!
//! 1. Envoy starts the plugin: [`language`] reads the configuration strictly and compiles it to a [`policy`], or refuses it with
//!    every problem at once.
//! 2. Request headers arrive: bindings pick the policy, [`identity`] names the caller, [`session`] opens a sealed session id, and [`mcp::headers`] refuses at sight what no honest client sends, and keeps the few facts that
//!    later stages need. Where Envoy allows it the headers wait.
//! 3. The body is complete: [`json`] parses it once, strictly; [`mcp::message`] reads JSON-RPC messages from it and checks
//!    them against the headers that mirror them.
//! 4. [`decision`] says what the policy makes of a call: pure, total, without allocation. [`matcher`] holds the comparisons. A
//!    [`denial`] names the rule that decided by its number; a [`witness`], where there is one, is told of every step.
//! 5. [`enforce`] adds what depends on counters, which [`rate`] keeps in Envoy's shared data, and makes the `Permit` without
//!    which no call is forwarded. A call that needs an [`approval`] is asked about here: the
//!    user by the answer that his client gets, an approver by an [`ask`], for which the call waits. What a client carries meanwhile is
//!    sealed ([`seal`]); an approval is used [`once`].
//! 6. A denied call is answered by [`reply`]; what was decided is put on [`record`], from which filter state, [`metrics`] and the [`audit`] line
//!    are made. A candidate policy decides beside, and touches nothing.
//! 7. The response streams by. An answer with a list is cut down to what the policy shows by [`listing`], which also looks whether tools are
//!    defined as they were ([`pins`]); where a limit counts
//!    successes only, [`mcp::outcome`] looks for an error.
//!
//! [`exchange`] drives 2 to 7 as a state machine without input or output of its own: an event goes in, a step comes out. What it needs
//! to know meanwhile it asks of the [`world`], in the product's words. The host module, which exists only for WASI, is Envoy as such a world:
//! it hands events in and performs steps.
//!
//! ## The command
//!
//! The `mcp-policy` command runs the same engine for people who write policies. What it needs beyond is not built for WASI: [`yaml`]
//! and [`source`] read documents with their lines and columns, [`lint`] warns, [`rehearsal`] sends requests through an
//! exchange at times that are set, [`trace`] says why a call is decided as it is, and [`render`] writes deployment files.
//!
//! The page (`src/page/`) is the same for who would rather see it: the library runs in the browser, behind one function that takes and gives JSON.
//! [`tools`] says what a server's tools can do.
//!
//! ## Input safety
//!
//! Everything that callers send is bounded by [`bounds`], refused where it could be read in two ways, and never indexed or
//! unwrapped.

pub mod ask;
pub mod bounds;
pub mod digest;
pub mod reason;
pub mod remembered;
pub mod time;

pub mod json;
pub mod number;
pub mod proto;

pub mod matcher;
pub mod mcp;
pub mod notes;
pub mod once;
pub mod pins;
pub mod rate;
pub mod seal;
pub mod session;

pub mod policy;

pub mod language;

pub mod checked;
pub mod denial;
pub mod rls;
pub mod witness;
pub mod world;

pub mod decision;
pub mod identity;

pub mod enforce;
pub mod listing;

pub mod approval;
pub mod reply;

pub mod live;
pub mod metrics;
pub mod record;

pub mod audit;

pub mod exchange;

#[cfg(not(target_os = "wasi"))]
pub mod yaml;

#[cfg(not(target_os = "wasi"))]
pub mod lint;

#[cfg(not(target_os = "wasi"))]
pub mod source;

#[cfg(not(target_os = "wasi"))]
pub mod tree;

#[cfg(not(target_os = "wasi"))]
pub mod gateway;

#[cfg(not(target_os = "wasi"))]
pub mod render;

#[cfg(not(target_os = "wasi"))]
pub mod rehearsal;

#[cfg(not(target_os = "wasi"))]
pub mod trace;

#[cfg(not(target_os = "wasi"))]
pub mod tools;

// A page in a browser. What of it is pure is built for tests too.
#[cfg(any(all(target_family = "wasm", not(target_os = "wasi")), test))]
mod page;

// What of it is pure is built for tests too.
#[cfg(any(target_os = "wasi", feature = "module", test, fuzzing))]
mod host;

// The same.
#[cfg(any(feature = "module", test))]
mod module;

/// For `tests/fuzz` alone: reads what Envoy says of a request. Built for tests too, so that it goes on compiling.
#[cfg(any(test, fuzzing))]
pub fn read_metadata(bytes: &[u8]) {
    host::read_metadata(bytes);
}
