//! What a policy that is written for somebody can name: entries by the names that were listed or seen, arguments by paths.

use mcp_policy::json::written;
use mcp_policy::matcher::path::Path;

/// Whether a name can be a key: one that would match other names, or none, cannot.
pub(super) fn can_be_key(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > mcp_policy::bounds::MAX_CALLED_BYTES {
        return Err("its name is empty or too long");
    }
    if name.contains(['*', '?']) {
        return Err("its name has `*` or `?`, which in a policy match other names too");
    }
    if name == "_global" {
        return Err("the name is taken by the counters of the policy");
    }
    Ok(())
}

/// The path to a top-level argument.
pub(super) fn argument_path(name: &str) -> Option<String> {
    member_path("args", name)
}

/// The path to a member of what another path leads to.
pub(super) fn member_path(within: &str, name: &str) -> Option<String> {
    let plain = format!("{within}.{name}");
    if !name.contains(['.', '[']) && Path::new(&plain).is_some() {
        return Some(plain);
    }
    let quoted = format!("{within}[{}]", written(name));
    Path::new(&quoted).map(|_| quoted)
}
