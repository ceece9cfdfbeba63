//! Who is calling, as far as counting is concerned. Credentials become digests here and are never seen again.

use sha2::{Digest as _, Sha256};

use crate::mcp::headers::Head;
use crate::policy::compiled::{Scope, Sessions};
use crate::rate::table::CallerId;

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    grant: CallerId,
    session: CallerId,
}

impl Caller {
    /// Reads the caller from the request's headers. Without a credential the caller is `anonymous`, one grant for all.
    #[must_use]
    pub fn of(head: &Head, sessions: Sessions) -> Caller {
        let grant = match &head.credential {
            Some(credential) => digest(&[b"credential", credential]),
            None => digest(&[b"anonymous"]),
        };
        let session = match (sessions, &head.session) {
            (Sessions::Trusted, Some(session)) => {
                digest(&[b"session", &grant.0.to_le_bytes(), session])
            }
            // A session id that nobody vouches for is the caller's own invention, and would be a fresh count at will.
            (Sessions::Trusted, None) | (Sessions::Untrusted, _) => grant,
        };
        Caller { grant, session }
    }

    /// Whose count a limit of this scope counts.
    #[must_use]
    pub fn counted_as(&self, scope: Scope) -> CallerId {
        match scope {
            Scope::Grant => self.grant,
            Scope::Session => self.session,
            Scope::Global => CallerId::EVERYBODY,
        }
    }

    /// The grant's digest as it is logged.
    #[must_use]
    pub fn grant_digest(&self) -> String {
        let digits = b"0123456789abcdef";
        let nibbles =
            self.grant.0.to_be_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles
            .filter_map(|nibble| digits.get(usize::from(nibble)))
            .map(|&digit| char::from(digit))
            .collect()
    }
}

/// 128 bits of SHA-256 over the parts, each with its length, so that no two lists of parts run together.
fn digest(parts: &[&[u8]]) -> CallerId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes = hash.finalize();
    let number = bytes.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes));
    // Zero stands for everybody.
    CallerId(number.max(1))
}

#[cfg(test)]
mod tests {
    use super::Caller;
    use crate::mcp::headers::Head;
    use crate::policy::compiled::{Scope, Sessions};

    fn caller(credential: Option<&str>, session: Option<&str>, sessions: Sessions) -> Caller {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let mut head = Head::default();
        head.credential = credential.map(bytes);
        head.session = session.map(bytes);
        Caller::of(&head, sessions)
    }

    #[test]
    fn sessions_count_only_where_they_are_trusted() {
        use Sessions::{Trusted, Untrusted};
        let counted = |caller: Caller| caller.counted_as(Scope::Session);
        let grant = caller(Some("a"), None, Untrusted).counted_as(Scope::Grant);
        assert_eq!(counted(caller(Some("a"), Some("s"), Untrusted)), grant);
        assert_eq!(counted(caller(Some("a"), None, Trusted)), grant);
        let trusted = counted(caller(Some("a"), Some("s"), Trusted));
        assert_ne!(trusted, grant);
        assert_ne!(trusted, counted(caller(Some("b"), Some("s"), Trusted)), "within the grant");
        assert_ne!(grant, caller(None, None, Trusted).counted_as(Scope::Grant));
    }
}
