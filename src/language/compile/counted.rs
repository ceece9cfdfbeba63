//! What a limit counts: that by which others that share its name know it, and what is its own.

use super::super::reader::{Fields, Reader};
use crate::number::Micros;
use crate::policy::entry::{Amount, CountIn, Refund, Scope};
use crate::rate::algorithm::Algorithm;
use crate::rate::table::Per;
use crate::rate::window::Window;

pub(super) const ONE: Micros = Micros(1_000_000);

/// What limits that share a name must agree on.
pub(super) struct SharedCount {
    pub(super) window: Window,
    pub(super) scope: Scope,
    pub(super) algorithm: Algorithm,
    pub(super) count_in: CountIn,
    pub(super) per: Per,
    /// Nothing where it was refused.
    pub(super) share: Option<LimitShare>,
}

/// What each limit says for itself.
pub(super) struct LimitShare {
    pub(super) max: Micros,
    pub(super) burst: Option<Micros>,
    pub(super) amount: Amount,
    pub(super) refund: Refund,
    pub(super) lease: Option<u32>,
}

/// `scope`: who counts together.
pub(super) fn scope(fields: &mut Fields<'_>, reader: &mut Reader, default: Scope) -> Option<Scope> {
    let Some(field) = fields.take("scope") else {
        return Some(default);
    };
    let text = reader.text(&field)?;
    if let Some((_, scope)) = Scope::WORDS.iter().find(|(word, _)| *word == text) {
        return Some(*scope);
    }
    if let Some(at) = reader.keys.iter().position(|key| **key == *text) {
        return Some(Scope::Key(at));
    }
    let keys = reader.keys.clone();
    let known = Scope::WORDS.iter().map(|(word, _)| *word).chain(keys.iter().map(|key| &**key));
    reader.unknown_word(&field.place, text, known);
    None
}
