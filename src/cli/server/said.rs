//! What a process wrote before it ended, and which line of it says why.

use mcp_policy::tools::one_line;

/// Longest text that is shown.
const MOST_SHOWN: usize = 300;

/// The part of what a process wrote that says why it ended; `None` where it wrote nothing.
pub(super) fn why(errors: &str, output: &str) -> Option<String> {
    [errors, output].iter().find_map(|text| telling(text))
}

fn telling(text: &str) -> Option<String> {
    let text = without_escapes(text);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| says_something(line)).collect();
    // Python ends with the error, below the frames that led to it.
    let traceback = lines.iter().any(|line| {
        line.trim_start_matches([' ', '|', '+']).starts_with("Traceback (most recent call last)")
    });
    let raised = |line: &&&str| error_of(line.trim_start_matches([' ', '|', '+'])).is_some();
    let error = if traceback { lines.iter().rev().find(raised) } else { lines.iter().find(raised) };
    if let Some(line) = error {
        let said = error_of(line.trim_start_matches([' ', '|', '+'])).unwrap_or_default();
        // A list of problems follows, as zod has it.
        if said.len() < 3
            && let Some(messages) = messages(&lines)
        {
            return Some(one_line(&messages, MOST_SHOWN));
        }
        return Some(one_line(line, MOST_SHOWN));
    }
    let words = [
        "error",
        "fatal",
        "panic",
        "cannot",
        "can't",
        "could not",
        "failed",
        "fail",
        "not found",
        "not set",
        "not provided",
        "missing",
        "required",
        "must ",
        "invalid",
        "denied",
        "unauthorized",
        "expected",
        "please",
        "usage:",
    ];
    let telling = |line: &&&str| {
        let line = line.to_lowercase();
        words.iter().any(|word| line.contains(word))
    };
    if let Some(line) = lines.iter().find(telling) {
        return Some(one_line(line, MOST_SHOWN));
    }
    let last: Vec<&str> = lines.iter().rev().take(10).rev().copied().collect();
    let last = one_line(&last.join(" / "), MOST_SHOWN);
    (!last.is_empty()).then_some(last)
}

/// What stands behind the name of an error: `Error: no key`, `ValueError: no key`, `Error [ERR_X]: no key`.
fn error_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix("Uncaught ").unwrap_or(line);
    let (name, said) = line.split_once(':')?;
    let name = name.split(" [").next().unwrap_or(name);
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._$".contains(c));
    let ends = ["Error", "Exception", "Exit", "error", "Fault", "ERROR", "Panic"];
    (plain && ends.iter().any(|end| name.ends_with(end))).then_some(said.trim())
}

/// All of `"message": "…"`, joined.
fn messages(lines: &[&str]) -> Option<String> {
    let found: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            let (_, after) =
                line.split_once("\"message\":").or_else(|| line.split_once("message:"))?;
            Some(after.trim().trim_end_matches(',').trim_matches(['"', '\'']))
        })
        .collect();
    (!found.is_empty()).then(|| found.join("; "))
}

/// Lines that only show where: frames, marks below code, versions, lone brackets.
fn says_something(line: &str) -> bool {
    let line = line.trim();
    let frames =
        ["at ", "File \"", "node:internal", "Node.js v", "throw ", "npm notice", "npm warn"];
    line.chars().any(char::is_alphanumeric) && !frames.iter().any(|start| line.starts_with(start))
}

/// A text without the escapes that colour it.
fn without_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || ";?".contains(c));
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_why() {
        for (errors, output, expected) in [
            ("", "", None),
            ("\n ] \n", "", None),
            ("no key\n", "", Some("no key")),
            (
                "/x/index.js:10\n    throw new Error(\"no key\");\n          ^\n\nError: Stripe API key not provided. Set it.\n    at main (/x/index.js:10:9)\n\nNode.js v20.20.2\n",
                "",
                Some("Error: Stripe API key not provided. Set it."),
            ),
            (
                "ZodError: [\n  {\n    \"code\": \"custom\",\n    \"message\": \"Elasticsearch URL cannot be empty\",\n    \"path\": [\"url\"]\n  }\n]\n    at x\nNode.js v20\n",
                "",
                Some("Elasticsearch URL cannot be empty"),
            ),
            (
                "INFO starting\nTraceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n    raise ValueError('no')\nValueError: AWS credentials validation failed\n",
                "",
                Some("ValueError: AWS credentials validation failed"),
            ),
            (
                "\u{1b}[31mFailed to start: no database\u{1b}[0m\nbye\n",
                "",
                Some("Failed to start: no database"),
            ),
            ("", "Missing MYSQL_HOST\n", Some("Missing MYSQL_HOST")),
            ("a\nb\n", "", Some("a / b")),
        ] {
            assert_eq!(why(errors, output).as_deref(), expected, "{errors}");
        }
    }
}
