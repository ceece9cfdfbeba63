//! Which paths speak MCP, and what passes beside it.
//!
//! What is not MCP reaches a server only where a setting names it: on servers whose tools are routes, any request runs one.

use super::binding::{Ambiguous, PathPattern, lenient, path};
use crate::matcher::name::Pattern;

/// `requests.paths` and `requests.pass`.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// The paths that speak MCP; `None` where all do.
    pub mcp: Option<Vec<PathPattern>>,
    /// What passes unread. No path of it is one that speaks MCP.
    pub unread: Vec<Unread>,
}

/// Something that passes unread.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Its path.
    pub pattern: PathPattern,
    /// The HTTP methods by which it passes; none stands for all.
    pub methods: &'static [&'static [u8]],
}

/// The documents by which a client finds out where to log in: RFC 9728 section 3.1, RFC 8414 section 3. The form of OpenID Connect that comes
/// behind a path is not here: a tool's route could take it for an argument.
pub const DISCOVERY: &[(&str, &[&[u8]])] = &[
    ("/.well-known/oauth-protected-resource", &[b"GET"]),
    ("/.well-known/oauth-protected-resource/*", &[b"GET"]),
    ("/.well-known/oauth-authorization-server", &[b"GET"]),
    ("/.well-known/oauth-authorization-server/*", &[b"GET"]),
    ("/.well-known/openid-configuration", &[b"GET"]),
    ("/.well-known/openid-configuration/*", &[b"GET"]),
];

/// The endpoints of a server that is its own authorization server, as the official SDKs have them, and the two more of FastMCP's proxy.
pub const OAUTH: &[(&str, &[&[u8]])] = &[
    ("/authorize", &[b"GET", b"POST"]),
    ("/token", &[b"POST"]),
    ("/register", &[b"POST"]),
    ("/revoke", &[b"POST"]),
    ("/consent", &[b"GET", b"POST"]),
    ("/auth/callback", &[b"GET"]),
];

impl Doors {
    /// Whether MCP is spoken where a request goes.
    ///
    /// # Errors
    /// [`Ambiguous`] where servers may disagree about it.
    pub fn speak_mcp(&self, target: Option<&[u8]>) -> Result<bool, Ambiguous> {
        let Some(patterns) = &self.mcp else { return Ok(true) };
        let path = target.and_then(path).ok_or(Ambiguous)?;
        let seen = lenient(&path);
        let exactly = patterns.iter().any(|pattern| pattern.exact.matches(&path));
        let leniently = patterns.iter().any(|pattern| pattern.lenient.matches(&seen));
        if exactly == leniently { Ok(exactly) } else { Err(Ambiguous) }
    }

    /// Whether a request passes unread: its path is spelled in the one way that every server reads as this path.
    #[must_use]
    pub fn let_by(&self, method: Option<&[u8]>, preflight: bool, target: Option<&[u8]>) -> bool {
        let takes = |unread: &&Unread| {
            let mut methods = unread.methods.iter();
            preflight || unread.methods.is_empty() || methods.any(|each| Some(*each) == method)
        };
        let mut taken = self.unread.iter().filter(takes).peekable();
        let (Some(target), Some(_)) = (target, taken.peek()) else { return false };
        let Some(path) = path(target) else { return false };
        let literal = target.split(|&byte| byte == b'?').next() == Some(path.as_bytes());
        literal && taken.any(|unread| unread.pattern.exact.matches(&path))
    }

    /// A path that speaks MCP.
    #[must_use]
    pub fn example(&self) -> Option<String> {
        let pattern = self.mcp.as_ref()?.first()?;
        Some(pattern.exact.to_string().replace('*', "mcp").replace('?', "a"))
    }
}

/// Whether some path is at both spots, for a server that reads leniently.
#[must_use]
pub fn meet(one: &PathPattern, other: &PathPattern) -> bool {
    let letters = |pattern: &Pattern| pattern.to_string().chars().collect::<Vec<char>>();
    let (rows, columns) = (letters(&one.lenient), letters(&other.lenient));
    // Whether what was read of the one meets each beginning of the other.
    let mut met = vec![true];
    for each in &columns {
        met.push(*each == '*' && met.last() == Some(&true));
    }
    for own in rows {
        let mut next = vec![own == '*' && met.first() == Some(&true)];
        for (each, pair) in columns.iter().zip(met.windows(2)) {
            let [before, above] = pair else { continue };
            let left = next.last() == Some(&true);
            next.push(match (own, *each) {
                ('*', _) | (_, '*') => *above || left,
                ('?', _) | (_, '?') => *before,
                (own, each) => *before && own == each,
            });
        }
        met = next;
    }
    met.last() == Some(&true)
}

#[cfg(test)]
mod tests;
