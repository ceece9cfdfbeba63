//! The sieve with the store in which it is kept what was seen: a response outlives the world that one of its chunks comes in.

use super::sieve::Sieve;
use crate::mcp::sse::{EventVerdict, Gate, Look};
use crate::rate::store::SharedStore;

/// The gate through which one chunk goes.
#[derive(Debug)]
pub(super) struct Screen<'s, S> {
    pub(super) sieve: &'s mut Sieve,
    pub(super) store: &'s S,
}

impl<S: SharedStore> Gate for Screen<'_, S> {
    fn patience(&self) -> usize {
        self.sieve.patience()
    }

    fn look(&mut self, data: &[u8], held: usize) -> Look {
        self.sieve.look(data, held)
    }

    fn doubt(&mut self) {
        self.sieve.doubt();
    }

    fn judge(&mut self, data: Option<&[u8]>) -> EventVerdict {
        let sifted = match data {
            Some(data) => self.sieve.sift(data, self.store),
            None => Err(self.sieve.cause()),
        };
        self.sieve.verdict(sifted)
    }

    fn end_cut(&mut self) -> Option<String> {
        self.sieve.end_cut()
    }

    fn over(&mut self) {
        self.sieve.restart(false);
    }
}
