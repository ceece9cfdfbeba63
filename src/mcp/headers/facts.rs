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

/// The credential with its scheme in lower case and white space collapsed, so that one token cannot be spelled as many
/// callers.
///
/// # Errors
/// [`Reason::RepeatedHeader`]: Envoy joins repeated `authorization` headers with a comma, which no bearer or basic credential contains.
pub fn credential(value: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut words =
        value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let mut normal = words.next().unwrap_or_default().to_ascii_lowercase();
    let single = normal == b"bearer" || normal == b"basic";
    for word in words {
        if single && word.contains(&b',') {
            return Err(Refusal::new(Reason::RepeatedHeader, "authorization"));
        }
        normal.push(b' ');
        normal.extend_from_slice(word);
    }
    if single {
        let end = normal.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
        normal.truncate(end);
    }
    Ok(normal)
}
