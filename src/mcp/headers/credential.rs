//! Credentials: one caller, however his credential is spelled.
//!
//! Servers read credentials leniently: they take the second word whatever the first one is, split at spaces and drop the rest, and decode
//! base64 without looking at padding, at bits that mean nothing, or at what is not a letter of it. Each such freedom would be a new caller,
//! with limits of his own, as often as he likes. So what tells callers apart is the canonical spelling; a credential that has none tells
//! nobody apart.
//!
//! Nothing here verifies a credential, and opaque tokens stay what they are: two that differ are two.

use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};

use super::Refusal;
use crate::reason::Reason;

/// Fewest characters of a part that can be a signature: 128 bits.
const SIGNATURE_CHARS: usize = 22;

/// Most letters of a scheme's name.
const LONGEST_SCHEME: usize = 15;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The canonical spelling of the value of `authorization`, or of another header that holds a credential in the same form: `None` where
/// servers could take it for another one's spelling, or for no credential at all.
///
/// # Errors
/// [`Reason::RepeatedHeader`]: Envoy joins repeated `authorization` headers with a comma, which no bearer or basic credential contains.
pub fn canonical(value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let mut words =
        value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let (Some(first), second, third) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    let bearer = first.eq_ignore_ascii_case(b"bearer");
    let basic = first.eq_ignore_ascii_case(b"basic");
    if (bearer || basic) && value.contains(&b',') {
        return Err(Refusal::new(Reason::RepeatedHeader, "authorization"));
    }
    Ok(match (second, third) {
        // A scheme without a credential.
        (None, _) if bearer || basic => None,
        (None, _) => word(first, is_plain),
        (Some(second), None) if basic => strict_pair(second),
        (Some(second), None) if bearer => word(second, is_token68),
        // Many servers look at the second word alone, so the scheme tells nobody apart.
        (Some(second), None) if is_scheme(first) => word(second, is_plain),
        (Some(_), _) => None,
    })
}

/// Whether a word is the name of a scheme, and no credential: of those that servers know, all are short and of letters.
fn is_scheme(word: &[u8]) -> bool {
    word.len() <= LONGEST_SCHEME
        && word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

/// The canonical spelling of the value of a header of another name: there, only `Bearer` and `Basic` are schemes for sure.
///
/// # Errors
/// As [`canonical`].
pub fn canonical_key(value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let known =
        |word: &&[u8]| [&b"bearer"[..], b"basic"].iter().any(|it| it.eq_ignore_ascii_case(word));
    if words.skip_while(known).count() > 1 { Ok(None) } else { canonical(value) }
}

/// The canonical spelling of a `cookie` header: exactly one cookie, for a client can add others, in any order.
#[must_use]
pub fn canonical_cookie(value: &[u8]) -> Option<Vec<u8>> {
    let at = value.iter().position(|byte| *byte == b'=')?;
    let (name, rest) = value.trim_ascii().split_at_checked(at)?;
    let value = word(rest.strip_prefix(b"=")?, is_plain)?;
    let named = !name.is_empty() && name.iter().all(|byte| is_plain(*byte));
    named.then(|| [name, b"=", &value].concat())
}

/// A credential of one word: an opaque token, a signed one, or a user with a password.
fn word(word: &[u8], allowed: fn(u8) -> bool) -> Option<Vec<u8>> {
    let token = without_padding(word);
    if token.is_empty() || !token.iter().all(|byte| allowed(*byte)) {
        return None;
    }
    let letters = masked(token);
    let pair = Base64UrlUnpadded::decode_vec(std::str::from_utf8(&letters).ok()?).ok();
    if let Some(pair) = pair.as_deref().and_then(user_and_password) {
        return Some(pair);
    }
    let mut spelled = b"bearer ".to_vec();
    spelled.extend(signed(token)?);
    Some(spelled)
}

/// A token as far as it tells anybody apart. JOSE's are base64url in every part, and decoded before anything is compared. Of a
/// signature the first half counts: who has one of an elliptic curve can write its second half in another way. Of other tokens with
/// dots the last part may be a signature too.
fn signed(token: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let last = parts.last()?;
    let before = token.get(..token.len().checked_sub(last.len())?)?;
    let [first, _, ..] = parts.as_slice() else { return Some(token.to_vec()) };
    // It begins with a JSON object.
    if matches!(first, [b'e', b'y' | b'w', ..]) {
        let (counted, known) = match parts.len() {
            2 => (last.len(), true),
            3 => (last.len() / 2, true),
            5 => (last.len(), is_encrypted(first)),
            // Readers that split by hand look at the first parts alone.
            _ => (0, false),
        };
        let whole = known && parts.iter().all(|part| is_base64url(part));
        return whole.then(|| [before, last.get(..counted).unwrap_or_default()].concat());
    }
    let last = if last.len() < SIGNATURE_CHARS { last.to_vec() } else { masked(last) };
    Some([before, &last].concat())
}

/// Whether every bit of the letters means something.
fn is_base64url(part: &[u8]) -> bool {
    std::str::from_utf8(part).is_ok_and(|part| Base64UrlUnpadded::decode_vec(part).is_ok())
}

/// Whether this is the header of a JWE.
fn is_encrypted(header: &[u8]) -> bool {
    let header =
        std::str::from_utf8(header).ok().and_then(|it| Base64UrlUnpadded::decode_vec(it).ok());
    header.is_some_and(|header| header.windows(5).any(|word| word == b"\"enc\""))
}

/// The letters of base64 in one alphabet, without the bits of the last one that mean nothing. What is no base64 stays as it is.
fn masked(part: &[u8]) -> Vec<u8> {
    let letter = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    let mut letters: Vec<u8> = part.iter().map(letter).collect();
    if !letters.iter().all(|byte| BASE64URL.contains(byte)) {
        return part.to_vec();
    }
    let meaningless = match letters.len() % 4 {
        2 => 0xf,
        3 => 0x3,
        _ => 0,
    };
    if let Some(last) = letters.last_mut()
        && let Some(at) = BASE64URL.iter().position(|byte| byte == last)
        && let Some(plain) = BASE64URL.get(at & !meaningless)
    {
        *last = *plain;
    }
    letters
}

/// A user with a password as `Basic` has them, in the only spelling of base64.
fn strict_pair(word: &[u8]) -> Option<Vec<u8>> {
    user_and_password(&Base64::decode_vec(std::str::from_utf8(word).ok()?).ok()?)
}

/// `user:password`, if every server reads the same in it. Many take user names in any case.
fn user_and_password(pair: &[u8]) -> Option<Vec<u8>> {
    let pair = std::str::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    if user.trim() != user || pair.contains(char::is_control) {
        return None;
    }
    let pair = format!("{}:{password}", user.to_lowercase());
    let mut spelled = b"basic ".to_vec();
    spelled.extend(without_padding(Base64::encode_string(pair.as_bytes()).as_bytes()));
    Some(spelled)
}

fn without_padding(word: &[u8]) -> &[u8] {
    let end = word.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    word.get(..end).unwrap_or_default()
}

/// RFC 6750, without the padding at the end.
fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

/// What separates, quotes or escapes nothing.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"%'(),;<=>[\\]{}".contains(&byte)
}

#[cfg(test)]
mod tests;
