//! The id of the one message of a text, as far as it has been read.

/// Longest id that is remembered, in bytes.
const MAX_ID_BYTES: usize = 256;

#[derive(Debug, Default)]
pub(super) enum Id {
    #[default]
    None,
    /// Its own bytes; whether more of them follow.
    Raw(Vec<u8>, bool),
    /// It could be read in two ways.
    Doubtful,
}

impl Id {
    /// A value under the key of ids begins.
    pub(super) fn begin(&mut self) {
        *self = match self {
            Id::None => Id::Raw(Vec::new(), true),
            Id::Raw(..) | Id::Doubtful => Id::Doubtful,
        };
    }

    pub(super) fn doubt(&mut self) {
        *self = Id::Doubtful;
    }

    pub(super) fn record(&mut self, bytes: &[u8]) {
        if let Id::Raw(raw, true) = self {
            raw.extend_from_slice(bytes.get(..MAX_ID_BYTES + 1).unwrap_or(bytes));
            if raw.len() > MAX_ID_BYTES {
                *self = Id::Doubtful;
            }
        }
    }

    pub(super) fn end(&mut self) {
        if let Id::Raw(_, open) = self {
            *open = false;
        }
    }

    pub(super) fn raw(&self) -> Option<&str> {
        match self {
            Id::Raw(raw, false) => std::str::from_utf8(raw).ok(),
            Id::Raw(_, true) | Id::None | Id::Doubtful => None,
        }
    }
}
