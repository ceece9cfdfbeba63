//! What must not be written down: values under keys that name credentials, and texts that look like one.

use mcp_policy::matcher::fold::folded;

/// Pieces of keys whose values are credentials. Too many keys are better than one too few.
const KEYS: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "token",
    "secret",
    "key",
    "credential",
    "authoriz",
    "authent",
    "bearer",
    "cookie",
    "signature",
    "session",
    "otp",
];

/// How credentials begin that are known by sight.
const BEGINNINGS: [&str; 18] = [
    "bearer ",
    "basic ",
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xox",
    "akia",
    "aiza",
    "eyj",
    "-----begin",
];

/// Whether the values of an argument are credentials, by its key.
pub(super) fn is_credential(key: &str) -> bool {
    let plain: String = folded(key).filter(|c| c.is_alphanumeric()).collect();
    KEYS.iter().any(|word| plain.contains(word))
}

/// Whether a text is a credential, as far as one can see.
pub(super) fn looks_secret(text: &str) -> bool {
    let plain: String = folded(text).take(64).collect();
    let known = BEGINNINGS.iter().any(|beginning| plain.starts_with(beginning));
    // User and password in an address.
    let address = plain.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'))
    });
    known || address || is_random(text)
}

/// Whether a text is one long word of letters of both cases and digits, as only machines write them.
fn is_random(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || "+/=_-.".contains(c);
    let has = |class: fn(&char) -> bool| text.chars().any(|c| class(&c));
    text.len() >= 20
        && text.chars().all(word)
        && has(char::is_ascii_digit)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_uppercase)
}

#[cfg(test)]
mod tests {
    use super::{is_credential, looks_secret};

    #[test]
    fn credentials_are_known_by_their_keys() {
        for key in [
            "password",
            "userPassword",
            "API_KEY",
            "apikey",
            "x-api-key",
            "access_token",
            "Authorization",
            "client_secret",
            "ＰＡＳＳＷＯＲＤ",
            "pass_word",
            "to\u{200b}ken",
            "sessionId",
        ] {
            assert!(is_credential(key), "{key}");
        }
        for key in ["amount", "currency", "text", "author", "path", "to"] {
            assert!(!is_credential(key), "{key}");
        }
    }

    #[test]
    fn credentials_are_known_by_sight() {
        for text in [
            "Bearer abc",
            "sk-live-1",
            "ghp_0123456789",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "AKIAIOSFODNN7EXAMPLE",
            "https://user:pw@example.com/x",
            "-----BEGIN PRIVATE KEY-----",
            "dGhpcyBpcyBhIHNlY3JldDEyMw==",
        ] {
            assert!(looks_secret(text), "{text}");
        }
        for text in ["EUR", "main", "search orders", "/data/report.txt", "feature/new-page"] {
            assert!(!looks_secret(text), "{text}");
        }
    }
}
