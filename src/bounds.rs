//! Every hard limit, with its reason. What an operator may change is a setting, not a bound.

/// Deepest nesting of a policy, a claim, or a string that is JSON. A policy needs about ten levels.
pub const MAX_DEPTH: usize = 64;

/// Most JSON values in one of these.
pub const MAX_VALUES: usize = 131_072;

/// Default of `requests.max_depth`. Trees of documents and drawings that people nest thirty deep have seventy levels.
pub const DEFAULT_BODY_DEPTH: usize = 128;

/// Largest `requests.max_depth`, and how deep a list may be: the stack of a VM takes a few times as much. Servers give up near a thousand.
pub const MAX_BODY_DEPTH: usize = 512;

/// Bytes of `requests.max_body_bytes` for each JSON value that a body may have, but never fewer values than [`MAX_VALUES`]. Matrices of
/// numbers have five bytes a value. A value takes at most some sixty bytes of memory, so a body takes at most fifteen times its bound.
pub const BODY_BYTES_PER_VALUE: usize = 4;

/// Most messages in one batch.
pub const MAX_BATCH: usize = 64;

/// Default of `requests.max_body_bytes`: Envoy's own default for HTTP/1 bodies.
pub const DEFAULT_BODY_BYTES: usize = 1 << 20;

/// What a connection of Envoy reads at once where its listener does not say `per_connection_buffer_limit_bytes`.
pub const CONNECTION_BYTES: u64 = 1 << 20;

/// What Envoy must be able to hold of a request, for the filter to be the first to answer a body that is longer than `longest`: beside it
/// there is what the connection reads at once, which it does in pieces of 16 KiB until it has `at_once` bytes or more.
#[must_use]
pub const fn envoy_body_limit(longest: usize, at_once: u64) -> u64 {
    (longest as u64).saturating_add(at_once).saturating_add(16 << 10)
}

/// Largest `requests.max_body_bytes`: what Envoy buffers of an HTTP/2 stream without further settings. As much is looked at of a longer body
/// for the id of its request.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Default of `counters.max_entries`.
pub const DEFAULT_ENTRIES: u32 = 65_536;

/// Largest `counters.max_entries`: at most 450 MiB of shared data for each class of callers, if all of its tables are full.
pub const MAX_ENTRIES: u32 = 2_097_152;

/// Callers' slots in one shard: a shard is read and written whole for each counted call.
pub const SLOTS_PER_SHARD: usize = 64;

/// How many of them may come from one address, or from one caller who can make several: half, so that nobody fills a table alone.
pub const SLOTS_PER_MAKER: usize = SLOTS_PER_SHARD / 2;

/// How many of them `counters.max_entries` counts on: half of one maker's, for callers do not spread evenly.
pub const SLOTS_PROMISED: u32 = 16;

/// Compare-and-swap attempts before a counter is given up as contended. Four busy workers need one or two.
pub const MAX_SWAPS: usize = 256;

/// How long a call in flight counts at least without being seen, in seconds; twice as long at most. Where the end of its stream is never told, as
/// when the VM has ended, its place is free again by then.
pub const IN_FLIGHT_SECONDS: u32 = 300;

/// Most calls in flight that a limit may admit: as many as fit the sums, and more than any Envoy carries.
pub const MAX_CONCURRENT: u32 = 1_000_000;

/// Most different names that a limit may admit: one caller's names are in one shard, and he may have half of it.
pub const MAX_NAMES: u32 = 32;

/// Longest window of a limit, in seconds: a leap year.
pub const MAX_WINDOW_SECONDS: u32 = 366 * 86_400;

/// Longest pattern of a glob or a regular expression in a policy, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// Most bytes that one compiled regular expression may take, state by state.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Longest name of a tool, a prompt or a method that is compared with a policy, in bytes. MCP asks for at most 128 characters.
pub const MAX_CALLED_BYTES: usize = 1024;

/// Longest URI of a resource that is compared with a policy, in bytes: what servers accept as the line of a request.
pub const MAX_URI_BYTES: usize = 8192;

/// Most bytes of names that one body may be about, all messages together: each is compared with every pattern of the policy.
pub const MAX_NAMED_BYTES: usize = 65_536;

/// Most resources that one request may subscribe to.
pub const MAX_SUBSCRIPTIONS: usize = 512;

/// Most bytes of the table that a regular expression is turned into; one with a larger table is walked state by state. It has to
/// stay in a core's cache to be fast.
pub const MAX_REGEX_TABLE: usize = 1 << 18;

/// Most bytes that all regular expressions of a configuration may take together: each worker has its own.
pub const MAX_REGEXES_BYTES: usize = 1 << 25;

/// Steps of comparing (about a nanosecond each) that any body may cost, however short: some hundred conditions on a few thousand bytes.
pub const STEPS_PER_BODY: u64 = 2_000_000;

/// Further steps for each byte of a body: about what parsing it costs, and some.
pub const STEPS_PER_BYTE: u64 = 8;

/// Longest text of arguments that a user is shown, in bytes; of the rest he sees its length and the digest of all.
pub const MAX_SHOWN_BYTES: usize = 2000;

/// Longest text of one argument that he is shown first, in characters.
pub const MAX_SHOWN_FIRST: usize = 200;

/// Most lines of such arguments.
pub const MAX_SHOWN_LINES: usize = 20;

/// Most rounds that a client makes for one call: SDKs give up after ten.
pub const MAX_LEGS: u8 = 8;

/// Longest answer of an approver that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 65_536;

/// Shards of the notes, a power of two.
pub const NOTE_SHARDS: u8 = 16;

/// Notes in one shard.
pub const NOTES_PER_SHARD: usize = 64;

/// Longest note, in bytes: all of them take half a megabyte.
pub const MAX_NOTE_BYTES: usize = 512;

/// Default of `approvals.cooldown`, in seconds. Short, for some programs decline without asking anybody.
pub const DEFAULT_COOLDOWN_SECONDS: u32 = 60;

/// Default of an approval's `expires`, in seconds: what is asked now is about what is seen now.
pub const DEFAULT_APPROVAL_SECONDS: u32 = 300;

/// Longest `expires`, and longest validity of a token that approves, in seconds: thirty days.
pub const MAX_APPROVAL_SECONDS: u32 = 30 * 86_400;

/// Default of `approvals.tokens.longest`, in seconds.
pub const DEFAULT_TOKEN_SECONDS: u32 = 86_400;

/// Default of `approvals.max_entries`: 1.6 MB of shared data, if all are in use.
pub const DEFAULT_APPROVALS: u32 = 65_536;

/// Largest `approvals.max_entries`.
pub const MAX_APPROVALS: u32 = 1 << 21;

/// Default of `approvals.approver.timeout`, in milliseconds.
pub const DEFAULT_ASK_MILLIS: u32 = 2000;

/// Largest `approvals.approver.timeout`, in milliseconds.
pub const MAX_ASK_MILLIS: u32 = 30_000;

/// Default of `approvals.wait`, in milliseconds: clients give up a request after 60 seconds, and Envoy's idle time-out may be shorter.
pub const DEFAULT_WAIT_MILLIS: u32 = 25_000;

/// Largest `approvals.wait`, in milliseconds: every SDK that was measured waits for so long.
pub const MAX_WAIT_MILLIS: u32 = 50_000;

/// Longest name of a caller, in bytes.
pub const MAX_NAME_BYTES: usize = 4096;

/// Longest name of a policy that stands alone, in bytes.
pub const MAX_POLICY_NAME_BYTES: usize = 64;

/// Longest arguments that an audit line says, in bytes: access logs cut or lose lines that are much longer.
pub const MAX_AUDITED_BYTES: usize = 8192;

/// Most names of arguments that an audit line says.
pub const MAX_AUDITED_KEYS: usize = 64;

/// Most bytes of audit lines that one request leaves for access logs; what comes after goes to the filter's own log alone.
pub const MAX_AUDIT_STATE_BYTES: usize = 65_536;

/// Longest piece of a caller's text that is repeated in a reply or in a record, in bytes.
pub const MAX_ECHO_BYTES: usize = 128;

/// Longest JSON-RPC response, or event of a stream, in which an error is looked for. Errors are short; what is longer counts as a success.
pub const MAX_OBSERVED_BYTES: usize = 65_536;

/// How much of a response is held while nothing tells that it could hold a list. Honest lists begin within it; what is longer streams.
pub const MAX_UNJUDGED_BYTES: usize = 65_536;

/// Default of `responses.max_list_bytes`: a thousand tools with long descriptions take two megabytes.
pub const DEFAULT_LIST_BYTES: usize = 8 << 20;

/// Largest `responses.max_list_bytes`: reading a list takes some ten times its size, and a failed allocation traps the VM.
pub const MAX_LIST_BYTES: usize = 64 << 20;

/// Most of the bytes of responses that one VM holds at a time, all exchanges together.
pub const MAX_HELD_BYTES: usize = 256 << 20;

/// Bytes of a list for each JSON value that it may have, but never fewer values than [`MAX_VALUES`].
pub const LIST_BYTES_PER_VALUE: usize = 8;

/// A wall clock that is off by less, measured by the clock that cannot be set, was read late; by more, it was set.
pub const CLOCK_NOISE_MILLIS: u64 = 1000;

/// How long a table follows no step of the wall clock after it has followed one.
pub const CLOCK_STEADY_MILLIS: u64 = 3_600_000;

/// How long the rate limit service is waited for, in milliseconds, unless the policy says otherwise.
pub const DEFAULT_SERVICE_MILLIS: u32 = 250;

/// The longest that a policy may wait for it.
pub const MAX_SERVICE_MILLIS: u32 = 10_000;

/// Most that is taken of the rate limit service at a time.
pub const MAX_LEASE: u32 = 1_000_000;

/// The longest that a look at the switch of the rate limit service may hold, in seconds: an emergency is not to wait longer.
pub const MAX_SWITCH_SECONDS: u32 = 60;
/// Tables of the tools of one server that are trusted as they are seen first, a power of two.
pub const FIRST_USE_SHARDS: u8 = 64;

/// Tools in one of them: all tables of a server take a third of a megabyte, and no server is known to have a tenth of their tools.
pub const FIRST_USE_PER_SHARD: usize = 64;
