//! The patterns of entries' keys and of lines of `hide`.

use super::book::GLOBAL;
use crate::bounds::MAX_PATTERN_BYTES;
use crate::language::diagnostic::Code;
use crate::language::reader::{Place, Reader};
use crate::matcher::name::Pattern;
use crate::matcher::normal::nfc;
use crate::mcp::call::Kind;
use crate::mcp::uri::canonical;

/// The pattern of an entry's key or of a line of `hide`.
pub(super) fn pattern(
    kind: Kind,
    text: &str,
    place: &Place,
    reader: &mut Reader,
) -> Option<Pattern> {
    let text = &*nfc(text);
    if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
        let message = format!("a {} must have 1 to 4096 bytes", named(kind));
        reader.error(Code::BadPattern, place, message);
        return None;
    }
    if kind == Kind::Tool && text == GLOBAL {
        let message = format!("`{text}` is the name of the counters under `*`");
        let help =
            "a tool of this name cannot have an entry of its own; use a glob such as `_globa?`";
        reader.error_with_help(Code::Contradiction, place, message, help.to_owned());
        return None;
    }
    if kind == Kind::Resource {
        spelled_as_matched(text, place, reader)?;
    }
    Some(Pattern::new(text))
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Tool => "tool name",
        Kind::Resource => "resource URI",
        Kind::Prompt => "prompt name",
        Kind::Method => "method",
    }
}

/// URIs are matched in their canonical spelling, so a key in another one would never match.
fn spelled_as_matched(text: &str, place: &Place, reader: &mut Reader) -> Option<()> {
    // Wildcards stand for plain characters here, in a port for digits; a pattern that leaves the scheme open has no spelling to check.
    let [plain, digits] = ["a", "1"].map(|character| text.replace(['*', '?'], character));
    let plain = if canonical(&digits).is_some_and(|uri| uri == digits) { digits } else { plain };
    let open = text.split(':').next().is_some_and(|scheme| scheme.contains(['*', '?']));
    let help = match canonical(&plain) {
        _ if open => return Some(()),
        Some(uri) if uri == plain => return Some(()),
        Some(uri) if plain == text => format!("write `{uri}`"),
        Some(_) => "write the scheme in lower case, and the host of a scheme such as `https`; what can stand plain unescaped; a path after such a host; and no port that is empty or the default".to_owned(),
        None => "an absolute URI such as `file:///data/*`, without dot segments, fragment, spaces or encoded slashes".to_owned(),
    };
    let message = format!("no URI is matched in this spelling: `{}`", text.escape_debug());
    reader.error_with_help(Code::BadPattern, place, message, help);
    None
}
