//! Names of tools that people or models could take for another's.

use mcp_policy::matcher::fold::{folded, legible};
use mcp_policy::matcher::name::Pattern;
use mcp_policy::matcher::normal::nfc;
use mcp_policy::policy::compiled::Policy;

use super::speech::TextWarning;
use crate::cli::definition::ListedTool;

/// Letters of other scripts, and digits, that look like a letter of ours. The letters of most names are in it, and not all of Unicode.
const ALIKE: &[(&str, char)] = &[
    ("а\u{251}\u{3b1}", 'a'),
    ("в", 'b'),
    ("с\u{3f2}", 'c'),
    ("\u{501}", 'd'),
    ("е\u{451}", 'e'),
    ("\u{261}", 'g'),
    ("һ", 'h'),
    ("і\u{3b9}\u{131}1l|", 'i'),
    ("ј", 'j'),
    ("к\u{3ba}", 'k'),
    ("м", 'm'),
    ("п", 'n'),
    ("о\u{3bf}0", 'o'),
    ("р\u{3c1}", 'p'),
    ("\u{51b}", 'q'),
    ("г", 'r'),
    ("ѕ5", 's'),
    ("т\u{3c4}", 't'),
    ("\u{3c5}", 'u'),
    ("\u{3bd}", 'v'),
    ("\u{51d}\u{3c9}", 'w'),
    ("х\u{3c7}", 'x'),
    ("у\u{3b3}", 'y'),
];

/// How a name looks to somebody who does not look closely.
fn look(name: &str) -> String {
    let letter = |c: char| {
        let alike = ALIKE.iter().find(|(others, _)| others.contains(c));
        alike.map_or(c, |(_, ours)| *ours)
    };
    let kept = folded(name).filter(|c| !matches!(c, '_' | '-' | '.' | ' '));
    kept.map(letter).collect::<String>().replace("rn", "m").replace("vv", "w")
}

/// The tools whose names look like another's: of the server, or of the policy.
pub(super) fn of(policy: &Policy, tools: &[ListedTool<'_>]) -> Vec<TextWarning> {
    let listed = tools.iter().map(|tool| tool.name);
    let entries = policy.tools.entries().iter().filter_map(|entry| match &entry.pattern {
        Pattern::Exact(name) => Some(&**name),
        Pattern::Any | Pattern::Prefix(_) | Pattern::Suffix(_) | Pattern::Glob(_) => None,
    });
    let mut known: Vec<(String, &str)> =
        entries.chain(listed).map(|name| (look(name), name)).collect();
    known.sort();
    known.dedup();
    let mut found = Vec::new();
    // What the policy has an entry for, somebody has looked at.
    for tool in tools.iter().filter(|tool| policy.tools.exact(&nfc(tool.name)).is_none()) {
        let looks = look(tool.name);
        let first = known.partition_point(|(look, _)| *look < looks);
        let alike = known.iter().skip(first).take_while(|(look, _)| *look == looks);
        let others: Vec<String> = alike
            .filter(|(_, name)| *name != tool.name)
            .map(|(_, name)| format!("`{}`", plain(name)))
            .collect();
        if !others.is_empty() {
            found.push(TextWarning {
                tool: legible(tool.name).into_owned(),
                place: "/name".to_owned(),
                warning: "its name looks like that of another tool".to_owned(),
                text: format!("`{}` beside {}", plain(tool.name), others.join(", ")),
            });
        }
    }
    found
}

/// A name of which nothing passes for a letter that it is not.
fn plain(name: &str) -> String {
    let shown = |c: char| {
        if c.is_ascii_graphic() { c.to_string() } else { c.escape_unicode().to_string() }
    };
    name.chars().map(shown).collect()
}
