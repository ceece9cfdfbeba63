//! The tests of the library, of the command and of the built filter, in one binary.
//!
//! Read them in this order; each is a runner over data or a property, none pins how the code does its work.

/// A naive evaluator of policies, without a line in common with the engine.
#[cfg(test)]
mod oracle;

/// What the README says of speed.
#[cfg(test)]
mod figures;

/// Reads the corpus of decisions.
#[cfg(test)]
mod corpus;

/// The corpus through the engine, and through the oracle.
#[cfg(test)]
mod decisions;

/// What must hold of every policy, call and document.
#[cfg(test)]
mod properties;

/// What must hold of any bytes: the functions that are fuzzed.
#[cfg(test)]
mod fuzz;

/// Texts that look like others, and Unicode's data.
#[cfg(test)]
mod disguises;

/// URIs, beside another reader of them.
#[cfg(test)]
mod uris;

/// Times, beside another reader of them.
#[cfg(test)]
mod times;

/// Policies that are suggested from logs.
#[cfg(test)]
mod suggest;

/// Lists, and responses on their way through.
#[cfg(test)]
mod lists;

/// Tools that are pinned to a definition.
#[cfg(test)]
mod pins;

/// One exchange, under every way in which its bytes can arrive.
#[cfg(test)]
mod exchanges;

/// Approvals, whatever callers do with them.
#[cfg(test)]
mod approvals;

/// Headers that wait, in whatever order things happen.
#[cfg(test)]
mod holds;

/// What is missing around the filter in Envoy's configuration.
#[cfg(test)]
mod doctor;
/// What reaches a server at all, by every method and path.
#[cfg(test)]
mod doors;

/// Limits, under callers that get in each other's way.
#[cfg(test)]
mod limits;

/// Limits that stop loops.
#[cfg(test)]
mod loops;

/// Limits in the rate limit service.
#[cfg(test)]
mod service;

/// Which counts an update starts anew.
#[cfg(test)]
mod renewal;

/// Who is counted as whom.
#[cfg(test)]
mod callers;

/// A decision allocates nothing.
#[cfg(test)]
mod allocations;

/// Policies that load, and what is said of those that do not.
#[cfg(test)]
mod policies;

/// Where problems are, and what the command warns of.
#[cfg(test)]
mod places;

/// The command as a user runs it.
#[cfg(test)]
mod cli;

/// What is told of decisions.
#[cfg(test)]
mod telling;

/// Chains of audit lines, and what somebody could do to them.
#[cfg(test)]
mod chains;

/// Runs the built command.
#[cfg(test)]
mod command;

/// `mcp-policy convert`: both dialects decide the same.
#[cfg(test)]
mod convert;

/// Calls that somebody is asked about, as policy tests play them.
#[cfg(test)]
mod consents;

/// The JSON Schemas, held to the compiler.
#[cfg(test)]
mod schema;

/// Many servers behind one Envoy.
#[cfg(test)]
mod gateway;

/// `mcp-policy render`: deployment files.
#[cfg(test)]
mod render;

/// `mcp-policy scan`, on a list of tools.
#[cfg(test)]
mod scan;

/// The catalogue of servers.
#[cfg(test)]
mod catalogue;

/// Calls that wait for an answer from outside.
#[cfg(test)]
mod waits;

/// What a request may cost.
#[cfg(test)]
mod work;

/// The built filter in an embedded runtime.
#[cfg(test)]
mod wasm;

/// The shape of the code.
#[cfg(test)]
mod architecture;

/// A world for the engine, in memory.
#[cfg(test)]
mod world;
