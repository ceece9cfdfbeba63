//! Paths into the arguments of a call: `args.a.b[0][*]["odd.key"]`.

use super::{Mismatch, Truth, fold::confusable};
use crate::json::{Duplicates, Fault, FaultKind, Value, parse};

/// A compiled path. The text is kept for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: Box<str>,
    steps: Box<[Step]>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a member of an object.
    Key(Box<str>),
    /// Into an element of an array.
    Index(usize),
    /// Into any element of an array.
    Each,
}

/// Whether strings that hold JSON are looked into, as `decode_json_strings` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// A string is a string.
    Never,
    /// A top-level argument that holds an object or array as text is read as that.
    JsonStrings,
}

impl Path {
    /// Compiles the part after `args`, such as `.amount` or `.items[*].id`; `None` if it is not a path.
    #[must_use]
    pub fn new(text: &str) -> Option<Path> {
        let steps = steps(text.strip_prefix("args")?, PLAIN)?;
        let starts_with_key = matches!(steps.first(), Some(Step::Key(_)));
        starts_with_key.then(|| Path { text: text.into(), steps: steps.into() })
    }

    /// The path as the policy has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The steps, from the arguments on; the first is a key.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a `[*]` step is in it.
    #[must_use]
    pub fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// Visits what the path leads to and joins the answers with "or"; an absent value (or `null`) is visited as `None`.
    pub fn visit<F>(&self, arguments: Option<&Value<'_>>, decode: Decode, visit: &mut F) -> Truth
    where
        F: FnMut(Option<&Value<'_>>) -> Truth,
    {
        match (arguments, self.steps.split_first()) {
            (Some(Value::Object(object)), Some((Step::Key(key), rest))) => {
                top_level(object.get(key), rest, decode, visit)
            }
            _ => visit(None),
        }
    }

    /// Whether some key on the way is one that a lenient reader could take for the key that the path names.
    #[must_use]
    pub fn meets_confusable(&self, arguments: &Value<'_>, decode: Decode) -> bool {
        let (Some((Step::Key(key), rest)), Value::Object(object)) =
            (self.steps.split_first(), arguments)
        else {
            return false;
        };
        object.0.iter().any(|member| {
            confusable(&member.key, key)
                || (*member.key == **key
                    && match encoded(&member.value, decode) {
                        Some(Ok(decoded)) => meets_confusable(&decoded, rest),
                        Some(Err(_)) | None => meets_confusable(&member.value, rest),
                    })
        })
    }
}

/// What may stand in a key without quotes, letters and digits aside: what looks like something else has to be quoted.
const PLAIN: &str = "_-$@/:+#";

/// The same for tool keys, which may be globs.
const PLAIN_TOOL: &str = "_-$@/:+#*?";

/// The keys of a path without other steps, such as `.tool["odd.counter"]`; `None` if it is not one.
#[must_use]
pub fn keys(text: &str) -> Option<Vec<Box<str>>> {
    let key = |step| {
        if let Step::Key(key) = step { Some(key) } else { None }
    };
    steps(text, PLAIN_TOOL)?.into_iter().map(key).collect()
}

fn steps(text: &str, plain: &str) -> Option<Vec<Step>> {
    let mut rest = text;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = next_step(rest, plain)?;
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

fn next_step<'t>(text: &'t str, plain: &str) -> Option<(Step, &'t str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at_checked(end)?;
        return is_plain(key, plain).then(|| (Step::Key(key.into()), after));
    }
    let inside = text.strip_prefix('[')?;
    if inside.starts_with('"') {
        let end = quoted_end(inside)?;
        let (quoted, after) = inside.split_at_checked(end)?;
        let value = parse(quoted, Duplicates::Refuse).ok()?;
        return Some((Step::Key(value.as_str()?.into()), after.strip_prefix(']')?));
    }
    let (index, after) = inside.split_once(']')?;
    if index == "*" {
        return Some((Step::Each, after));
    }
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| index.parse().ok()).flatten().map(|index| (Step::Index(index), after))
}

/// Whether a key can stand without quotes.
fn is_plain(key: &str, plain: &str) -> bool {
    let fits = |character: char| character.is_alphanumeric() || plain.contains(character);
    !key.is_empty() && key.chars().all(fits)
}

/// The end of the JSON string that `text` starts with.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().enumerate().skip(1).find_map(|(at, byte)| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes.then_some(at + 1)
    })
}

fn top_level<F>(value: Option<&Value<'_>>, rest: &[Step], decode: Decode, visit: &mut F) -> Truth
where
    F: FnMut(Option<&Value<'_>>) -> Truth,
{
    match value.and_then(|value| encoded(value, decode)) {
        Some(Ok(decoded)) => walk(Some(&decoded), rest, visit),
        // A lenient parser would read it, and we do not know how.
        Some(Err(fault)) if fault.kind != FaultKind::Syntax => Truth::Undecidable(Mismatch {
            expected: "JSON without duplicate keys, within the bounds",
            found: "JSON text that is read in more than one way",
        }),
        Some(Err(_)) | None => walk(value, rest, visit),
    }
}

/// What a top-level argument holds as JSON text, where that is looked into.
fn encoded<'v>(value: &'v Value<'_>, decode: Decode) -> Option<Result<Value<'v>, Fault>> {
    let (Value::String(text), Decode::JsonStrings) = (value, decode) else { return None };
    let container = text.trim_start().starts_with(['{', '[']);
    container.then(|| parse(text, Duplicates::Refuse))
}

fn walk<F>(value: Option<&Value<'_>>, steps: &[Step], visit: &mut F) -> Truth
where
    F: FnMut(Option<&Value<'_>>) -> Truth,
{
    let Some(value) = value.filter(|value| **value != Value::Null) else {
        return visit(None);
    };
    let Some((step, rest)) = steps.split_first() else {
        return visit(Some(value));
    };
    match (step, value) {
        (Step::Key(key), Value::Object(object)) => walk(object.get(key), rest, visit),
        (Step::Index(index), Value::Array(items)) => walk(items.get(*index), rest, visit),
        (Step::Each, Value::Array(items)) if items.is_empty() => visit(None),
        (Step::Each, Value::Array(items)) => {
            items.iter().fold(Truth::False, |truth, item| truth.or(walk(Some(item), rest, visit)))
        }
        (Step::Key(_), other) => {
            Truth::Undecidable(Mismatch { expected: "an object", found: other.kind() })
        }
        (Step::Index(_) | Step::Each, other) => {
            Truth::Undecidable(Mismatch { expected: "an array", found: other.kind() })
        }
    }
}

fn meets_confusable(value: &Value<'_>, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(object)) => object.0.iter().any(|member| {
            confusable(&member.key, key)
                || (*member.key == **key && meets_confusable(&member.value, rest))
        }),
        (Step::Index(index), Value::Array(items)) => {
            items.get(*index).is_some_and(|item| meets_confusable(item, rest))
        }
        (Step::Each, Value::Array(items)) => items.iter().any(|item| meets_confusable(item, rest)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Decode, Path};
    use crate::json::{Duplicates, Value, parse};
    use crate::matcher::Truth;

    #[test]
    fn only_paths_are_paths() {
        for (text, expected) in [
            ("args.a", true),
            ("args.a.b[0][*].c", true),
            (r#"args["odd.key"].x"#, true),
            (r#"args["a\"]b"]"#, true),
            ("args", false),
            ("args.", false),
            ("args..a", false),
            ("args[0]", false),
            ("args.a[", false),
            ("args.a[-1]", false),
            ("args.a[1]b", false),
            ("args.a[+1]", false),
            (r#"args["a]"#, false),
            ("arg.a", false),
        ] {
            assert_eq!(Path::new(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn leads_to_values() {
        let arguments = r#"{"a":{"b":[1,null,{"c":"x"}]},"odd.key":1,"text":"[1]"}"#;
        let arguments = parse(arguments, Duplicates::Refuse).unwrap();
        let kinds = |path: &str, decode| {
            let mut kinds = Vec::new();
            let truth = Path::new(path).unwrap().visit(Some(&arguments), decode, &mut |value| {
                kinds.push(value.map_or("absent", Value::kind));
                Truth::False
            });
            (kinds, matches!(truth, Truth::Undecidable(_)))
        };
        for (path, decode, expected) in [
            ("args.a.b[0]", Decode::Never, (vec!["a number"], false)),
            ("args.a.b[1]", Decode::Never, (vec!["absent"], false)),
            ("args.a.b[9]", Decode::Never, (vec!["absent"], false)),
            ("args.a.b[*].c", Decode::Never, (vec!["absent", "a string"], true)),
            ("args.x.y", Decode::Never, (vec!["absent"], false)),
            (r#"args["odd.key"]"#, Decode::Never, (vec!["a number"], false)),
            ("args.text[0]", Decode::Never, (vec![], true)),
            ("args.text[0]", Decode::JsonStrings, (vec!["a number"], false)),
        ] {
            assert_eq!(kinds(path, decode), expected, "{path}");
        }
    }

    #[test]
    fn sees_confusable_keys_on_the_way() {
        let arguments =
            parse(r#"{"A":1,"o":{"Key":1},"l":[{"id":1},{"ID":2}]}"#, Duplicates::Refuse).unwrap();
        for (path, expected) in [
            ("args.a", true),
            ("args.A", false),
            ("args.o.key", true),
            ("args.o.other", false),
            ("args.l[*].id", true),
            ("args.l[0].id", false),
        ] {
            let path = Path::new(path).unwrap();
            assert_eq!(path.meets_confusable(&arguments, Decode::Never), expected, "{path:?}");
        }
    }
}
