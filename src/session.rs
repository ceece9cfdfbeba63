//! Session ids, sealed to the caller whom the server gave them to.
//!
//! On its way out an id gets a tag, on its way in the tag is checked and taken off: there is no table, and a session id that was stolen, made
//! up or meant for another listener does not open.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::rate::table::CallerId;

/// Shortest secret that is taken, in bytes.
pub const LEAST_SECRET_BYTES: usize = 32;

const TAG_BYTES: usize = 16;

/// The keys that seal and open. The first one seals; all open, so that a key can be replaced without ending sessions.
#[derive(Clone)]
pub struct Seals {
    keys: Vec<Hmac<Sha256>>,
    audience: Vec<u8>,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Seals({} keys)", self.keys.len())
    }
}

impl Seals {
    /// Keys from secrets. `audience` keeps the sessions of listeners apart that share a secret. `None` where there is no secret or one is
    /// shorter than [`LEAST_SECRET_BYTES`].
    #[must_use]
    pub fn new(secrets: &[Vec<u8>], audience: &str) -> Option<Seals> {
        let long = secrets.iter().all(|secret| secret.len() >= LEAST_SECRET_BYTES);
        if secrets.is_empty() || !long {
            return None;
        }
        let keys = secrets.iter().map(|secret| Hmac::new_from_slice(secret).ok());
        Some(Seals { keys: keys.collect::<Option<_>>()?, audience: audience.into() })
    }

    /// The id for this caller to use: `base64url(id).base64url(tag)`. `None` where the id is not visible ASCII, which MCP asks it to be
    /// (2025-11-25, Streamable HTTP, session management).
    #[must_use]
    pub fn seal(&self, grant: CallerId, id: &[u8]) -> Option<String> {
        if id.is_empty() || !id.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let tag = self.mac(self.keys.first()?, grant, id).finalize().into_bytes();
        let tag = tag.get(..TAG_BYTES)?;
        Some(format!(
            "{}.{}",
            Base64UrlUnpadded::encode_string(id),
            Base64UrlUnpadded::encode_string(tag)
        ))
    }

    /// The server's id, if this caller has it from us.
    #[must_use]
    pub fn open(&self, grant: CallerId, sealed: &[u8]) -> Option<String> {
        let (id, tag) = std::str::from_utf8(sealed).ok()?.split_once('.')?;
        let id = Base64UrlUnpadded::decode_vec(id).ok()?;
        let tag = Base64UrlUnpadded::decode_vec(tag).ok().filter(|tag| tag.len() == TAG_BYTES)?;
        let opens = |key| self.mac(key, grant, &id).verify_truncated_left(&tag).is_ok();
        if !self.keys.iter().any(opens) {
            return None;
        }
        String::from_utf8(id).ok()
    }

    fn mac(&self, key: &Hmac<Sha256>, grant: CallerId, id: &[u8]) -> Hmac<Sha256> {
        let mut mac = key.clone();
        mac.update(b"mcp-policy session 1");
        mac.update(&(self.audience.len() as u64).to_le_bytes());
        mac.update(&self.audience);
        mac.update(&grant.0.to_le_bytes());
        mac.update(id);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::Seals;
    use crate::rate::table::CallerId;

    #[test]
    fn opens_for_whom_it_was_sealed_and_nobody_else() {
        let secret = |byte: u8| vec![byte; 32];
        let seals = Seals::new(&[secret(1)], "a").unwrap();
        let (alice, bob) = (CallerId(1), CallerId(2));
        let sealed = seals.seal(alice, b"session-1/~").unwrap();
        let open = |seals: &Seals, grant, text: &str| seals.open(grant, text.as_bytes());
        assert_eq!(open(&seals, alice, &sealed).as_deref(), Some("session-1/~"));
        assert_eq!(seals.seal(alice, b"session-1/~"), Some(sealed.clone()), "the same every time");
        assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        assert_eq!(open(&seals, bob, &sealed), None);
        let rotated = Seals::new(&[secret(2), secret(1)], "a").unwrap();
        assert_eq!(open(&rotated, alice, &sealed).as_deref(), Some("session-1/~"));
        let retired = Seals::new(&[secret(2)], "a").unwrap();
        assert_eq!(open(&retired, alice, &sealed), None);
        let elsewhere = Seals::new(&[secret(1)], "b").unwrap();
        assert_eq!(open(&elsewhere, alice, &sealed), None);
        for at in 0..sealed.len() {
            assert_eq!(open(&seals, alice, sealed.get(..at).unwrap()), None, "cut at {at}");
            let mut other = sealed.clone().into_bytes();
            *other.get_mut(at).unwrap() ^= 1;
            assert_eq!(seals.open(alice, &other), None, "changed at {at}");
        }
        for text in
            ["", ".", "session-1", "a.b", "\u{e9}.x", &format!("{sealed}.x"), &format!("{sealed}=")]
        {
            assert_eq!(open(&seals, alice, text), None, "{text}");
        }
        assert_eq!(seals.seal(alice, b""), None);
        assert_eq!(seals.seal(alice, b"a b"), None);
        assert!(Seals::new(&[vec![1; 31]], "a").is_none());
        assert!(Seals::new(&[], "a").is_none());
    }
}
