//! How arguments are read, when, and what comparing them may cost.

use super::work::Work;
use crate::time::UnixMillis;

/// On what terms a value is tested.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'w> {
    /// How the server takes a string that is JSON text.
    pub decode: Decode,
    /// What the test is paid with.
    pub work: &'w Work,
    /// When the call came.
    pub now: UnixMillis,
}

/// How the server takes a string that is JSON text of an object, an array or `null`, as `decode_json_strings` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// Nobody has said it: what looks at such a string cannot decide.
    Unsaid,
    /// `false`: a string is a string.
    Never,
    /// `true`: a top-level argument is read as what its text holds.
    JsonStrings,
}
