//! Texts that only we can read and make: what a client carries for us from one request to the next, and cannot look into or change.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::rate::table::CallerId;
use crate::session::LEAST_SECRET_BYTES;

/// Bytes of a nonce, which has to be random.
pub const NONCE_BYTES: usize = 24;

/// Longest sealed text that is opened, in bytes of base64url.
const MAX_SEALED_BYTES: usize = 131_072;

/// The keys that seal and open. The first one seals; all open, so that a secret can be replaced while texts are under way.
#[derive(Clone)]
pub struct Keys {
    ciphers: Vec<XChaCha20Poly1305>,
    /// What the texts are for, and whose they are: one that was made for another purpose or listener does not open.
    audience: Vec<u8>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Keys({})", self.ciphers.len())
    }
}

impl Keys {
    /// Keys from secrets. `purpose` keeps texts apart that are not for the same, `audience` those of listeners that share a secret.
    /// `None` where there is no secret, or one is shorter than [`LEAST_SECRET_BYTES`].
    #[must_use]
    pub fn new(secrets: &[Vec<u8>], purpose: &str, audience: &str) -> Option<Keys> {
        let long = secrets.iter().all(|secret| secret.len() >= LEAST_SECRET_BYTES);
        if secrets.is_empty() || !long {
            return None;
        }
        let cipher = |secret: &Vec<u8>| {
            let mut derived = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret).ok()?;
            derived.update(purpose.as_bytes());
            Some(XChaCha20Poly1305::new(&derived.finalize().into_bytes()))
        };
        let ciphers = secrets.iter().map(cipher).collect::<Option<_>>()?;
        let audience = [purpose.as_bytes(), b"\0", audience.as_bytes()].concat();
        Some(Keys { ciphers, audience })
    }

    /// Seals bytes for a caller, as base64url. `None` only where there is no key.
    #[must_use]
    pub fn seal(
        &self,
        caller: CallerId,
        nonce: &[u8; NONCE_BYTES],
        bytes: &[u8],
    ) -> Option<String> {
        let aad = self.bound_to(caller);
        let payload = Payload { msg: bytes, aad: &aad };
        let sealed = self.ciphers.first()?.encrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Base64UrlUnpadded::encode_string(&[&nonce[..], &sealed].concat()))
    }

    /// Opens what was sealed for this caller.
    #[must_use]
    pub fn open(&self, caller: CallerId, sealed: &str) -> Option<Vec<u8>> {
        if sealed.len() > MAX_SEALED_BYTES {
            return None;
        }
        let bytes = Base64UrlUnpadded::decode_vec(sealed).ok()?;
        let (nonce, msg) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let aad = self.bound_to(caller);
        let open = |cipher: &XChaCha20Poly1305| {
            cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad: &aad }).ok()
        };
        self.ciphers.iter().find_map(open)
    }

    fn bound_to(&self, caller: CallerId) -> Vec<u8> {
        [&caller.0.to_le_bytes()[..], &self.audience].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, NONCE_BYTES};
    use crate::rate::table::CallerId;

    #[test]
    fn opens_for_whom_it_was_sealed_and_nobody_else() {
        let secret = |byte: u8| vec![byte; 32];
        let keys = Keys::new(&[secret(1)], "purpose", "a").unwrap();
        let (alice, bob, nonce) = (CallerId(1), CallerId(2), [7; NONCE_BYTES]);
        let sealed = keys.seal(alice, &nonce, b"what we know").unwrap();
        assert_eq!(keys.open(alice, &sealed).as_deref(), Some(&b"what we know"[..]));
        assert_eq!(keys.open(bob, &sealed), None, "another caller");
        let opens = |secrets: &[Vec<u8>], purpose, audience| {
            Keys::new(secrets, purpose, audience).unwrap().open(alice, &sealed).is_some()
        };
        assert!(opens(&[secret(2), secret(1)], "purpose", "a"), "an old secret");
        assert!(!opens(&[secret(2)], "purpose", "a"), "another secret");
        assert!(!opens(&[secret(1)], "purposea", ""), "another purpose");
        assert!(!opens(&[secret(1)], "purpose", "b"), "another listener");
        for at in 0..sealed.len() {
            assert_eq!(keys.open(alice, sealed.get(..at).unwrap()), None, "cut at {at}");
            let mut other = sealed.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.open(alice, &String::from_utf8(other).unwrap()), None, "at {at}");
        }
        for text in ["", "A", "====", "\u{e9}", &sealed.repeat(2), &format!("{sealed}=")] {
            assert_eq!(keys.open(alice, text), None, "{text}");
        }
        assert!(Keys::new(&[vec![1; 31]], "purpose", "a").is_none());
        assert!(Keys::new(&[], "purpose", "a").is_none());
    }
}
