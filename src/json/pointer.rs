//! JSON Pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), by which rules are named.

/// A key as a token of a pointer.
#[must_use]
pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The key that a token of a pointer means.
#[must_use]
pub fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The last key of a pointer.
#[must_use]
pub fn last_key(pointer: &str) -> String {
    unescaped(pointer.rsplit('/').next().unwrap_or_default())
}
