//! A body that is one text, on its way through the sieve.

use super::sieve::Sieve;
use crate::mcp::sse::Look;
use crate::rate::store::SharedStore;

/// The body so far.
#[derive(Debug, Default)]
pub(super) struct TextBody {
    held: Vec<u8>,
    phase: TextPhase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TextPhase {
    #[default]
    Held,
    Passing,
    /// Nothing more of it passes.
    Cut,
    /// It passes unread.
    Free,
}

impl TextBody {
    /// Takes the next bytes, and returns what passes.
    pub(super) fn push<S: SharedStore>(
        &mut self,
        bytes: &[u8],
        last: bool,
        sieve: &mut Sieve,
        store: &S,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            // The sieve is asked where it may change its mind, wherever chunks end.
            let room = sieve.patience().saturating_add(1).saturating_sub(self.held.len());
            let room = if room == 0 || self.phase != TextPhase::Held { rest.len() } else { room };
            let (piece, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.piece(piece, sieve, &mut out);
            rest = after;
        }
        if self.phase == TextPhase::Held && !self.held.is_empty() && (last || sieve.is_whole()) {
            let held = std::mem::take(&mut self.held);
            match sieve.sift(&held, store) {
                Ok(changed) => {
                    out.extend(changed.map_or(held, String::into_bytes));
                    self.phase = TextPhase::Passing;
                    // What follows is another text.
                    sieve.restart(true);
                }
                Err(cause) => {
                    sieve.note(&cause);
                    out.extend(sieve.lists.body_error(&cause));
                    self.phase = TextPhase::Cut;
                    sieve.restart(true);
                }
            }
        }
        out
    }

    fn piece(&mut self, piece: &[u8], sieve: &mut Sieve, out: &mut Vec<u8>) {
        match self.phase {
            TextPhase::Free => return out.extend_from_slice(piece),
            TextPhase::Cut => return,
            TextPhase::Held | TextPhase::Passing => {}
        }
        match sieve.look(piece, self.held.len() + piece.len()) {
            Look::Hold => self.held.extend_from_slice(piece),
            Look::Pass => {
                out.append(&mut self.held);
                out.extend_from_slice(piece);
                self.held = Vec::new();
                self.phase = if sieve.is_free() { TextPhase::Free } else { TextPhase::Passing };
            }
            Look::Cut(most) => {
                let cause = sieve.cause();
                sieve.note(&cause);
                match self.phase {
                    TextPhase::Passing => {
                        out.extend_from_slice(piece.get(..most).unwrap_or_default())
                    }
                    TextPhase::Held | TextPhase::Cut | TextPhase::Free => {
                        out.extend(sieve.lists.body_error(&cause));
                    }
                }
                self.held = Vec::new();
                self.phase = TextPhase::Cut;
            }
        }
    }

    /// Whether bytes wait that have not ended.
    pub(super) fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the rest passes unread.
    pub(super) fn is_free(&self) -> bool {
        self.phase == TextPhase::Free
    }
}
