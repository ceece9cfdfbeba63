//! Values that must not be told: what a command line, an environment, an address or a header hands a server as a credential.

use std::collections::BTreeSet;

use serde_json::Value;

use super::target::{Process, Remote, Target};

/// Shorter ones are words that stand everywhere.
const SHORTEST: usize = 4;

/// What stands in the place of a secret.
const HIDDEN: &str = "[hidden]";

/// The secrets of one server.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Those that a server is started or reached with.
    pub(in crate::cli) fn of(target: &Target) -> Secrets {
        let mut secrets = Secrets::default();
        match target {
            Target::Process(process) => secrets.add_process(process),
            Target::Remote(remote) => secrets.add_remote(remote),
        }
        for (name, value) in std::env::vars() {
            secrets.add_named(&name, &value);
        }
        secrets
    }

    fn add_process(&mut self, process: &Process) {
        for (name, value) in &process.environment {
            self.add_named(name, value);
        }
        let mut named = None;
        for argument in &process.arguments {
            let name = std::mem::take(&mut named);
            match argument.split_once('=') {
                Some((flag, value)) if is_name(flag) => self.add_named(flag, value),
                Some(_) | None if argument.starts_with('-') && is_name(argument) => {
                    named = Some(argument)
                }
                Some(_) | None => {}
            }
            if let Some(name) = name.filter(|_| named.is_none()) {
                self.add_named(name, argument);
            }
            // A header, as proxies take it.
            if let Some((name, value)) = argument.split_once(':').filter(|(name, _)| is_name(name))
            {
                self.add_named(name, value);
            }
            self.add_looking(argument);
        }
    }

    fn add_remote(&mut self, remote: &Remote) {
        self.add_url(&remote.url);
        for (_, value) in &remote.headers {
            self.add_words(value);
        }
    }

    /// A value under a name that says what it is, or that looks like a secret.
    fn add_named(&mut self, name: &str, value: &str) {
        if is_secret_name(name) { self.add_words(value) } else { self.add_looking(value) }
    }

    /// A value, and each word of it: a header has a scheme before its token.
    fn add_words(&mut self, value: &str) {
        self.add(value);
        let words: Vec<&str> = value.split_whitespace().collect();
        for word in words.iter().filter(|word| words.len() > 1 && word.len() >= 8) {
            self.add(word);
        }
    }

    fn add_looking(&mut self, text: &str) {
        if text.contains("://") {
            self.add_url(text);
        }
        for piece in text.split(|c: char| c.is_whitespace() || "=,;'\"/?&:@".contains(c)) {
            if looks_secret(piece) {
                self.add(piece);
            }
        }
    }

    /// What an address has beside host and path: user, password, query, fragment.
    fn add_url(&mut self, text: &str) {
        let start = text.find("://").map_or(0, |at| at + 3);
        let after = text.get(start..).unwrap_or_default();
        let (authority, rest) = after.split_once(['/', '?', '#']).unwrap_or((after, ""));
        if let Some((user, _)) = authority.rsplit_once('@') {
            self.add(user);
            user.split(':').skip(1).for_each(|password| self.add(password));
            self.add(user.split(':').next().filter(|name| looks_secret(name)).unwrap_or_default());
        }
        for piece in rest.split(['?', '&', '#', '/']) {
            match piece.split_once('=') {
                Some((name, value)) => self.add_named(name, value),
                None if looks_secret(piece) => self.add(piece),
                None => {}
            }
        }
        let query = after.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split(['&', '#']) {
            self.add(pair.split_once('=').map_or(pair, |(_, value)| value));
        }
    }

    fn add(&mut self, value: &str) {
        let value = value.trim();
        let plain = ["true", "false", "null", "none", "http", "https", "stdio", "localhost"];
        if value.len() >= SHORTEST && !plain.contains(&value) {
            self.0.insert(value.to_owned());
        }
    }

    /// A text without them.
    pub(in crate::cli) fn hide(&self, text: &str) -> String {
        let mut longest: Vec<&String> =
            self.0.iter().filter(|secret| text.contains(secret.as_str())).collect();
        longest.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        longest.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    /// The texts of a value without them; what its keys are stays.
    pub(in crate::cli) fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.hide_in(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a name says that its value is a secret.
fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let parts = [
        "token",
        "secret",
        "password",
        "passwd",
        "passphrase",
        "apikey",
        "accesskey",
        "privatekey",
        "credential",
        "auth",
        "bearer",
        "cookie",
        "dsn",
        "connectionstring",
        "databaseurl",
        "session",
        "signature",
        "sig",
    ];
    let whole = ["key", "pat", "pwd", "pass", "pin", "code", "p", "k"];
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or_default().to_ascii_lowercase();
    parts.iter().any(|part| plain.contains(part))
        || plain.ends_with("key")
        || whole.contains(&last.as_str())
}

/// Whether a text looks like a secret whatever its name: a known beginning, or long and mixed.
fn looks_secret(text: &str) -> bool {
    let known = [
        "sk-",
        "sk_",
        "pk_",
        "rk_",
        "ghp_",
        "gho_",
        "ghs_",
        "ghu_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "xoxa-",
        "xapp-",
        "sntryu_",
        "sntrys_",
        "ntn_",
        "secret_",
        "lin_api_",
        "AKIA",
        "ASIA",
        "AIza",
        "ya29.",
        "eyJ",
        "pat-",
        "fc-",
        "tvly-",
        "sbp_",
        "hf_",
        "npm_",
        "dop_v1_",
        "shpat_",
        "figd_",
        "key-",
        "SG.",
        "gsk_",
        "r8_",
        "phx_",
        "ATATT",
    ];
    if text.len() >= 8 && known.iter().any(|start| text.starts_with(start)) {
        return true;
    }
    let has = |kind: fn(&char) -> bool| text.chars().filter(kind).count();
    let mixed = has(char::is_ascii_digit) >= 4 && has(char::is_ascii_alphabetic) >= 4;
    let tokens = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+~".contains(c));
    // Names have separators often, and versions or hashes of packages have dots.
    let longest = text.split(['-', '_', '.']).map(str::len).max().unwrap_or_default();
    tokens && mixed && longest >= 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(arguments: &[&str], environment: &[(&str, &str)]) -> Target {
        Target::Process(Process {
            command: "npx".to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            directory: None,
        })
    }

    fn remote(url: &str, headers: &[(&str, &str)]) -> Target {
        let mut remote = Remote::new(url).unwrap();
        remote.headers =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Target::Remote(remote)
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_is_not() {
        for (target, text, expected) in [
            (process(&["--access-token=SECRET1"], &[]), "bad SECRET1", "bad [hidden]"),
            (process(&["--api-key", "SECRET2"], &[]), "SECRET2", "[hidden]"),
            (
                process(&["--header", "Authorization: Bearer SECRET33"], &[]),
                "no SECRET33",
                "no [hidden]",
            ),
            (process(&["sk_live_abcdef"], &[]), "sk_live_abcdef", "[hidden]"),
            (process(&["postgres://me:hunter22@db/x"], &[]), "hunter22 db", "[hidden] db"),
            (process(&["https://x/mcp?whatever=abcd"], &[]), "abcd", "[hidden]"),
            (process(&[], &[("MY_TOKEN", "SECRET4")]), "SECRET4", "[hidden]"),
            (process(&[], &[("LOG_LEVEL", "debug")]), "debug", "debug"),
            (
                process(&["-y", "@scope/server", "--db-path", "data.db", "--port", "8080"], &[]),
                "@scope/server data.db 8080",
                "@scope/server data.db 8080",
            ),
            (
                remote("https://x/mcp", &[("Authorization", "Bearer SECRET55")]),
                "SECRET55",
                "[hidden]",
            ),
            (
                remote("https://user:SECRET6@x/mcp?k=SECRET7#SECRET8", &[]),
                "SECRET6 SECRET7 SECRET8",
                "[hidden] [hidden] [hidden]",
            ),
            (
                remote("https://x/mcp/a1b2c3d4e5f6a7b8c9d0", &[]),
                "a1b2c3d4e5f6a7b8c9d0 /mcp",
                "[hidden] /mcp",
            ),
        ] {
            assert_eq!(Secrets::of(&target).hide(text), expected, "{target:?}");
        }
    }
}
