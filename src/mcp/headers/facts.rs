//! What a request shows of itself, whatever its method: where it goes, and what could name its caller.

use super::{Header, Refusal};
use crate::reason::Reason;

/// Headers that say where a request goes and who sends it.
#[derive(Clone, Debug, Default)]
pub struct Facts<'h> {
    /// `:authority`
    pub authority: Option<&'h [u8]>,
    /// `:path`
    pub path: Option<&'h [u8]>,
    /// `:method`
    pub method: Option<&'h [u8]>,
    /// `Authorization`
    pub credential: Single<'h>,
    /// `Mcp-Session-Id`
    pub session: Single<'h>,
    /// The headers that were asked for, in their order.
    pub kept: Vec<Single<'h>>,
}

/// A header that may be there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Single<'h> {
    /// It is not there.
    #[default]
    Absent,
    /// It is there once.
    Once(&'h [u8]),
    /// It is there more than once.
    Repeated,
}

impl<'h> Facts<'h> {
    /// Reads the facts; `wanted` names further headers in lower case.
    #[must_use]
    pub fn of(headers: &[Header<'h>], wanted: &[Box<str>]) -> Facts<'h> {
        let mut facts = Facts { kept: vec![Single::Absent; wanted.len()], ..Facts::default() };
        for &(name, value) in headers {
            match name {
                b":authority" => facts.authority = Some(value),
                b":path" => facts.path = Some(value),
                b":method" => facts.method = Some(value),
                b"authorization" => facts.credential.add(value),
                b"mcp-session-id" => facts.session.add(value),
                _ => {}
            }
            let same = wanted.iter().zip(&mut facts.kept);
            if let Some((_, kept)) = same.into_iter().find(|(wanted, _)| wanted.as_bytes() == name)
            {
                kept.add(value);
            }
        }
        facts
    }
}

impl<'h> Single<'h> {
    fn add(&mut self, value: &'h [u8]) {
        *self = if *self == Single::Absent { Single::Once(value) } else { Single::Repeated };
    }

    /// The value.
    ///
    /// # Errors
    /// [`Reason::RepeatedHeader`]: which of several a server reads is not known.
    pub fn value(self, name: &'static str) -> Result<Option<&'h [u8]>, Refusal> {
        match self {
            Single::Absent => Ok(None),
            Single::Once(value) => Ok(Some(value)),
            Single::Repeated => Err(Refusal::new(Reason::RepeatedHeader, name)),
        }
    }
}
