//! Every hard limit, with its reason. What an operator may change is a setting, not a bound.

/// Deepest nesting of JSON that is read. Honest MCP arguments stay below twenty; parsers of servers give up near a thousand.
pub const MAX_DEPTH: usize = 64;

/// Most JSON values in one body: keeps the memory that a body of one megabyte of `[[],[],…]` can claim near 10 MiB.
pub const MAX_VALUES: usize = 131_072;

/// Most messages in one batch.
pub const MAX_BATCH: usize = 64;

/// Default of `requests.max_body_bytes`: Envoy's own default for HTTP/1 bodies.
pub const DEFAULT_BODY_BYTES: usize = 1 << 20;

/// Largest `requests.max_body_bytes`: what Envoy buffers of an HTTP/2 stream without further settings.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Default of `counters.max_entries`.
pub const DEFAULT_ENTRIES: u32 = 65_536;

/// Largest `counters.max_entries`: about 100 MiB of shared data.
pub const MAX_ENTRIES: u32 = 2_097_152;

/// Callers' slots in one shard: a shard is read and written whole for each counted call.
pub const SLOTS_PER_SHARD: usize = 64;

/// Compare-and-swap attempts before a counter is given up as contended. Four busy workers need one or two.
pub const MAX_SWAPS: usize = 256;

/// Longest window of a limit, in seconds: a leap year.
pub const MAX_WINDOW_SECONDS: u32 = 366 * 86_400;

/// Longest pattern of a glob or a regular expression in a policy, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// Most bytes that one compiled regular expression may take.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Longest name of a tool, a prompt or a method that is compared with a policy, in bytes. MCP asks for at most 128 characters.
pub const MAX_CALLED_BYTES: usize = 1024;

/// Longest URI of a resource that is compared with a policy, in bytes: what servers accept as the line of a request.
pub const MAX_URI_BYTES: usize = 8192;

/// Most bytes of names that one body may be about, all messages together: each is compared with every pattern of the policy.
pub const MAX_NAMED_BYTES: usize = 65_536;

/// Most resources that one request may subscribe to.
pub const MAX_SUBSCRIPTIONS: usize = 512;

/// Longest name of a caller, in bytes.
pub const MAX_NAME_BYTES: usize = 4096;

/// Longest piece of a caller's text that is repeated in a reply or in a record, in bytes.
pub const MAX_ECHO_BYTES: usize = 128;

/// Longest JSON-RPC response, or event of a stream, in which an error is looked for. Errors are short; what is longer counts as a success.
pub const MAX_OBSERVED_BYTES: usize = 65_536;

/// Longest list, or event of a stream in which there could be one, that is read: Envoy's own default for buffered bodies. Lists come
/// in pages; a longer one is withheld.
pub const MAX_LIST_BYTES: usize = 1 << 20;
