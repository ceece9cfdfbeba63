//! Why what a server says is withheld: a word for access logs, and the end of a sentence for agents and operators.

use crate::bounds::{MAX_ECHO_BYTES, MAX_HELD_BYTES};
use crate::json::FaultKind;

/// Why a response, or a part of it, is withheld.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its bytes are packed, though that was asked not to be: with this.
    Encoded(String),
    /// Readers could disagree about what it is by its content type.
    MediaType,
    /// It is an answer of a kind that no list comes in, by its status.
    Status,
    /// Nobody says what may be seen.
    Ungoverned,
    /// It is longer than this setting allows.
    TooLong(usize),
    /// Other responses take the memory.
    Memory,
    /// A part of it had passed before there was a list.
    Late,
    /// It is not exactly one JSON text.
    NotJson,
    /// It breaks off.
    Unfinished,
    /// It is nested too deeply.
    TooDeep,
    /// It has too many values.
    TooManyValues,
    /// A key stands twice.
    DuplicateKey,
    /// A key resembles one that matters.
    AmbiguousKey,
    /// Where a list belongs there is something else.
    NotAList,
    /// A line of events can be read in two ways.
    DoubtfulLine,
    /// The definition of a tool is not the one that is pinned.
    DefinitionChanged,
    /// The definition of a pinned tool could be read in two ways.
    DefinitionUnreadable,
    /// More tools are defined than can be remembered.
    DefinitionsFull,
    /// Envoy did not hand it over.
    HostFailure,
}

impl Cause {
    /// The word for access logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Cause::Encoded(_) => "content_encoding",
            Cause::MediaType => "media_type",
            Cause::Status => "status",
            Cause::Ungoverned => "unmatched",
            Cause::TooLong(_) => "too_long",
            Cause::Memory => "memory",
            Cause::Late => "late_list",
            Cause::NotJson => "not_json",
            Cause::Unfinished => "unfinished",
            Cause::TooDeep => "too_deep",
            Cause::TooManyValues => "too_many_values",
            Cause::DuplicateKey => "duplicate_key",
            Cause::AmbiguousKey => "ambiguous_key",
            Cause::NotAList => "not_a_list",
            Cause::DoubtfulLine => "doubtful_line",
            Cause::DefinitionChanged => "definition_changed",
            Cause::DefinitionUnreadable => "definition_unreadable",
            Cause::DefinitionsFull => "definitions_full",
            Cause::HostFailure => "host_failure",
        }
    }

    /// The end of the sentence that says that something is withheld. Nothing of the response is repeated but the name of its encoding.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Cause::Encoded(name) if name.is_empty() => "it is encoded".to_owned(),
            Cause::Encoded(name) => format!("it is encoded ({name})"),
            Cause::TooLong(most) => {
                format!("it is longer than responses.max_list_bytes ({most} bytes)")
            }
            Cause::Memory => {
                format!("the lists that are read now take {MAX_HELD_BYTES} bytes together")
            }
            Cause::MediaType => "its content type could be read in two ways".to_owned(),
            Cause::Status => "lists do not come with its status".to_owned(),
            Cause::Ungoverned => "no policy says what may be seen".to_owned(),
            Cause::Late => "a part of it had passed before a list began".to_owned(),
            Cause::NotJson => "it is not one JSON text".to_owned(),
            Cause::Unfinished => "it breaks off".to_owned(),
            Cause::TooDeep => "it is nested too deeply".to_owned(),
            Cause::TooManyValues => "it has too many values".to_owned(),
            Cause::DuplicateKey => "a key stands twice".to_owned(),
            Cause::AmbiguousKey => "a key resembles one that matters".to_owned(),
            Cause::NotAList => "where a list belongs there is something else".to_owned(),
            Cause::DoubtfulLine => "a line can be read in two ways".to_owned(),
            Cause::DefinitionChanged => "its definition is not the one that is pinned".to_owned(),
            Cause::DefinitionUnreadable => "its definition could be read in two ways".to_owned(),
            Cause::DefinitionsFull => {
                "no more definitions of this server can be remembered".to_owned()
            }
            Cause::HostFailure => "Envoy did not hand it over".to_owned(),
        }
    }

    /// Encoded with this, as far as it can be repeated.
    #[must_use]
    pub fn encoded(name: &[u8]) -> Cause {
        let clean = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.,; ".contains(byte);
        let name = name.iter().filter(clean).take(MAX_ECHO_BYTES).copied().map(char::from);
        Cause::Encoded(name.collect())
    }
}

impl From<FaultKind> for Cause {
    fn from(kind: FaultKind) -> Cause {
        match kind {
            FaultKind::Syntax => Cause::NotJson,
            FaultKind::Depth => Cause::TooDeep,
            FaultKind::Size => Cause::TooManyValues,
            FaultKind::Duplicate => Cause::DuplicateKey,
        }
    }
}
