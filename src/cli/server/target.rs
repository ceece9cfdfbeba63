//! What is scanned, and with which credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mcp_policy::tools::one_line;

/// An MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Target {
    /// A process that speaks over its standard input and output.
    Process(Process),
    /// A server that is reached over HTTP.
    Remote(Remote),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Process {
    pub(in crate::cli) command: String,
    pub(in crate::cli) arguments: Vec<String>,
    pub(in crate::cli) environment: BTreeMap<String, String>,
    pub(in crate::cli) directory: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Remote {
    pub(in crate::cli) url: String,
    /// Sent with every request.
    pub(in crate::cli) headers: Vec<(String, String)>,
    /// Whether the server speaks HTTP with SSE, as the first revision of the protocol had it.
    pub(in crate::cli) sse: bool,
}

impl Remote {
    /// A server at an address.
    ///
    /// # Errors
    /// Where it is no `http` or `https` address.
    pub(in crate::cli) fn new(url: &str) -> Result<Remote, String> {
        let parsed =
            reqwest::Url::parse(url).map_err(|error| format!("not an address: {error}"))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
            return Err("not an address that starts with http:// or https://".to_owned());
        }
        Ok(Remote { url: url.to_owned(), headers: Vec::new(), sse: false })
    }

    /// Whether credentials would cross a network in the clear.
    pub(in crate::cli) fn is_exposed(&self) -> bool {
        let url = reqwest::Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
        let local = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        !self.headers.is_empty() && !local && url.is_some_and(|url| url.scheme() == "http")
    }
}

/// An address as it may be told: without user, password, query and fragment.
pub(in crate::cli) fn shown(url: &str) -> String {
    let secrets = |text: &str| one_line(text.split(['?', '#']).next().unwrap_or_default(), 100);
    let Some((scheme, rest)) = url.split_once("://") else { return secrets(url) };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    secrets(&format!("{scheme}://{host}{path}"))
}

impl Target {
    /// What a server is called that gives itself no name: its host and path, or the program that is started.
    pub(in crate::cli) fn shown(&self) -> String {
        match self {
            Target::Remote(remote) => shown(&remote.url),
            Target::Process(process) => process.shown(),
        }
    }
}

impl Process {
    fn shown(&self) -> String {
        let last = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let program = last(&self.command);
        let starters = [
            "npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "uv", "uvx", "pipx", "node",
            "deno", "python", "python3", "docker", "podman", "env",
        ];
        if !starters.contains(&program.trim_end_matches(".exe").trim_end_matches(".cmd")) {
            return one_line(&program, 60);
        }
        let words = ["run", "exec", "x", "tool", "dlx", "--"];
        let plain = |argument: &&String| {
            !argument.starts_with('-')
                && !argument.contains(['=', ' ', '?'])
                && !argument.contains("://")
                && !words.contains(&argument.as_str())
        };
        let started = self.arguments.iter().find(plain).map(|argument| last(argument));
        one_line(&started.unwrap_or(program), 60)
    }
}

/// Headers of the command line: `name:value`, `name=VARIABLE`, and the variable of a bearer token.
///
/// # Errors
/// Where one is malformed, or a variable is not set.
pub(in crate::cli) fn headers(
    plain: &[String],
    from_variables: &[String],
    bearer: Option<&str>,
) -> Result<Vec<(String, String)>, String> {
    let mut headers = Vec::new();
    for text in plain {
        let (name, value) = text.split_once(':').ok_or("--header: expected NAME:VALUE")?;
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    for text in from_variables {
        let (name, variable) =
            text.split_once('=').ok_or("--header-env: expected NAME=VARIABLE")?;
        headers.push((name.trim().to_owned(), variable_value(variable.trim(), "--header-env")?));
    }
    if let Some(variable) = bearer {
        let token = variable_value(variable, "--bearer-env")?;
        headers.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    Ok(headers)
}

fn variable_value(name: &str, option: &str) -> Result<String, String> {
    let value =
        std::env::var(name).map_err(|_| format!("{option}: the variable `{name}` is not set"))?;
    Ok(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Remote;

    #[test]
    fn addresses() {
        for (url, fits, exposed) in [
            ("http://127.0.0.1:8000/mcp", true, false),
            ("http://localhost/mcp", true, false),
            ("https://mcp.example.com/", true, false),
            ("http://mcp.example.com/", true, true),
            ("mcp.example.com", false, false),
            ("ftp://mcp.example.com", false, false),
            ("http://", false, false),
            ("", false, false),
        ] {
            let remote = Remote::new(url);
            assert_eq!(remote.is_ok(), fits, "{url}");
            let with = remote
                .map(|remote| Remote { headers: vec![("a".to_owned(), "b".to_owned())], ..remote });
            assert_eq!(with.is_ok_and(|remote| remote.is_exposed()), exposed, "{url}");
        }
    }
}
