//! A panic on demand, so that tests can see on a real Envoy what becomes of one. Only in builds for debugging.

use crate::mcp::headers::Header;

/// The header that names the hook that shall panic.
const HEADER: &[u8] = b"x-mcp-policy-panic";

/// Panics, if the configuration of this name shall in this hook.
pub(super) fn strike_named(name: &str, hook: &str) {
    assert!(name.strip_prefix("panics in ") != Some(hook), "a test asked for it in {hook}");
}

/// Which hook of a stream shall panic.
#[derive(Debug, Default)]
pub(super) struct AskedPanic(Option<Vec<u8>>);

impl AskedPanic {
    /// What the headers of a request ask for.
    pub(super) fn asked(headers: &[Header<'_>]) -> AskedPanic {
        let asked = headers.iter().find(|(name, _)| *name == HEADER);
        AskedPanic(asked.map(|(_, hook)| hook.to_vec()))
    }

    /// Panics, if this hook shall.
    pub(super) fn strike(&self, hook: &str) {
        assert!(self.0.as_deref() != Some(hook.as_bytes()), "a test asked for it in {hook}");
    }
}
