//! Paths into the arguments of a call: `args.a.b[0][*]["odd.key"]`.

use std::sync::Arc;

use super::fold::{confusable, folded};
use super::terms::{Decode, Terms};
use super::work::{Price, TOO_MUCH, Work};
use super::{Mismatch, Truth};
use crate::json::lenient::{begins_as_json, may_be_json};
use crate::json::{Duplicates, Fault, Object, Value, parse};

/// A compiled path. The text is kept for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: Arc<str>,
    steps: Box<[PathStep]>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// Into a member of an object.
    Key(Box<str>),
    /// Into an element of an array.
    Index(usize),
    /// Into any element of an array.
    Each,
}

impl Path {
    /// Compiles the part after `args`, such as `.amount` or `.items[*].id`; `None` if it is not a path.
    #[must_use]
    pub fn new(text: &str) -> Option<Path> {
        let steps = steps(text.strip_prefix("args")?, PLAIN)?;
        let starts_with_key = matches!(steps.first(), Some(PathStep::Key(_)));
        starts_with_key.then(|| Path { text: text.into(), steps: steps.into() })
    }

    /// The path as the policy has it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same text, for what outlives the policy's borrow.
    #[must_use]
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The steps, from the arguments on; the first is a key.
    #[must_use]
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// Whether a `[*]` step is in it.
    #[must_use]
    pub fn has_each(&self) -> bool {
        self.steps.contains(&PathStep::Each)
    }

    /// Visits what the path leads to and joins the answers with "or"; an absent value (or `null`) is visited as `None`.
    pub fn visit<F>(&self, arguments: Option<&Value<'_>>, terms: Terms<'_>, visit: &mut F) -> Truth
    where
        F: FnMut(Option<&Value<'_>>) -> Truth,
    {
        match (arguments, self.steps.split_first()) {
            (Some(Value::Object(object)), Some((PathStep::Key(key), rest))) => {
                if terms.work.spend(members(object)).is_err() {
                    return Truth::Undecidable(TOO_MUCH);
                }
                top_level(object.get(key), rest, terms, visit)
            }
            _ => visit(None),
        }
    }

    /// Whether some key on the way is one that a lenient reader could take for the key that the path names, or one to which a
    /// reader gives a meaning of its own. `named` are the paths of the policy for this call: a key that one of them names there
    /// is meant. What cannot be paid for is refused too.
    #[must_use]
    pub fn meets_ambiguous(
        &self,
        arguments: &Value<'_>,
        terms: Terms<'_>,
        named: &[&Path],
    ) -> bool {
        let way = Way { steps: &self.steps, named, work: terms.work };
        let (Some(PathStep::Key(key)), Value::Object(object)) = (self.steps.first(), arguments)
        else {
            return false;
        };
        if way.is_ambiguous(object, key, 0) || spend_on_reading(object.get(key), terms).is_err() {
            return true;
        }
        object.get(key).is_some_and(|value| match encoded(value, terms.decode) {
            Some(Ok(decoded)) => way.meets_ambiguous(&decoded, 1),
            Some(Err(_)) | None => way.meets_ambiguous(value, 1),
        })
    }
}

/// A path, and what else the policy names beside it.
struct Way<'w> {
    steps: &'w [PathStep],
    named: &'w [&'w Path],
    work: &'w Work,
}

impl Way<'_> {
    /// Looks at a value and what follows from step `at` on.
    fn meets_ambiguous(&self, value: &Value<'_>, at: usize) -> bool {
        match (self.steps.get(at), value) {
            (Some(PathStep::Key(key)), Value::Object(object)) => {
                self.is_ambiguous(object, key, at)
                    || object.get(key).is_some_and(|value| self.meets_ambiguous(value, at + 1))
            }
            (Some(PathStep::Index(index)), Value::Array(items)) => {
                items.get(*index).is_some_and(|item| self.meets_ambiguous(item, at + 1))
            }
            (Some(PathStep::Each), Value::Array(items)) => {
                let unpaid = self.work.spend(8 * items.len() as u64).is_err();
                unpaid || items.iter().any(|item| self.meets_ambiguous(item, at + 1))
            }
            // Some readers take an object with such a key for something else than an object.
            (None, Value::Object(object)) => {
                let unpaid = self.work.spend(members(object)).is_err();
                unpaid || object.0.iter().any(|member| has_meaning(&member.key))
            }
            _ => false,
        }
    }

    fn is_ambiguous(&self, object: &Object<'_>, key: &str, at: usize) -> bool {
        object.0.iter().any(|member| {
            let cost = 16 + 4 * member.key.len() as u64;
            if self.work.spend(cost).is_err() {
                return true;
            }
            (has_meaning(&member.key) || alike(&member.key, key)) && !self.names(&member.key, at)
        })
    }

    /// Whether some path names this key, in the same place.
    fn names(&self, key: &str, at: usize) -> bool {
        self.named.iter().any(|path| {
            path.steps.get(..at) == self.steps.get(..at)
                && matches!(path.steps.get(at), Some(PathStep::Key(named)) if **named == *key)
        })
    }
}

/// Keys that a language's own reader of JSON, or what copies its objects, takes for something else than a key: JavaScript's
/// prototypes, and what Rust's `serde_json` keeps numbers and raw texts under.
#[must_use]
pub fn has_meaning(key: &str) -> bool {
    matches!(key, "__proto__" | "constructor" | "prototype")
        || key.starts_with("$serde_json::private::")
}

/// Whether a lenient reader could take one key for another: as [`confusable`], or with other case, `_` and `-`, as in
/// `user_id`, `userId` and `User-ID`. Many readers of typed arguments take each of these.
fn alike(key: &str, named: &str) -> bool {
    let joins = |character: &char| matches!(character, '_' | '-');
    if key == named {
        return false;
    }
    if key.bytes().chain(named.bytes()).all(|byte| byte.is_ascii_graphic()) {
        let letters = |text: &str| !text.bytes().all(|byte| matches!(byte, b'_' | b'-'));
        let plain = |byte: &u8| !matches!(byte, b'_' | b'-');
        let (left, right) = (key.bytes().filter(plain), named.bytes().filter(plain));
        return letters(named)
            && left.map(|b| b.to_ascii_lowercase()).eq(right.map(|b| b.to_ascii_lowercase()));
    }
    confusable(key, named)
        || folded(key)
            .filter(|character| !joins(character))
            .eq(folded(named).filter(|character| !joins(character)))
}

/// What may stand in a key without quotes, letters and digits aside: what looks like something else has to be quoted.
const PLAIN: &str = "_-$@/:+#";

/// The same for tool keys, which may be globs.
const PLAIN_TOOL: &str = "_-$@/:+#*?";

/// The keys of a path without other steps, such as `.tool["odd.counter"]`; `None` if it is not one.
#[must_use]
pub fn keys(text: &str) -> Option<Vec<Box<str>>> {
    let key = |step| {
        if let PathStep::Key(key) = step { Some(key) } else { None }
    };
    steps(text, PLAIN_TOOL)?.into_iter().map(key).collect()
}

fn steps(text: &str, plain: &str) -> Option<Vec<PathStep>> {
    let mut rest = text;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = next_step(rest, plain)?;
        steps.push(step);
        rest = after;
    }
    Some(steps)
}

fn next_step<'t>(text: &'t str, plain: &str) -> Option<(PathStep, &'t str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (key, after) = rest.split_at_checked(end)?;
        return is_plain(key, plain).then(|| (PathStep::Key(key.into()), after));
    }
    let inside = text.strip_prefix('[')?;
    if inside.starts_with('"') {
        let end = quoted_end(inside)?;
        let (quoted, after) = inside.split_at_checked(end)?;
        let value = parse(quoted, Duplicates::Refuse).ok()?;
        return Some((PathStep::Key(value.as_str()?.into()), after.strip_prefix(']')?));
    }
    let (index, after) = inside.split_once(']')?;
    if index == "*" {
        return Some((PathStep::Each, after));
    }
    let digits = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| index.parse().ok()).flatten().map(|index| (PathStep::Index(index), after))
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

/// What looking for a key costs.
fn members(object: &Object<'_>) -> u64 {
    8 + 4 * object.0.len() as u64
}

/// Pays for reading a string as JSON, where that is done: by its length, and by the values that it could hold.
fn spend_on_reading(value: Option<&Value<'_>>, terms: Terms<'_>) -> Result<(), Mismatch> {
    let text = value.and_then(Value::as_str).filter(|_| terms.decode == Decode::JsonStrings);
    let Some(text) = text.filter(|text| begins_as_json(text)) else { return Ok(()) };
    terms.work.spend_on(Price { fixed: 64, eighths_per_byte: 128 }, text.len())?;
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    terms.work.spend(96 * values as u64)
}

fn top_level<F>(
    value: Option<&Value<'_>>,
    rest: &[PathStep],
    terms: Terms<'_>,
    visit: &mut F,
) -> Truth
where
    F: FnMut(Option<&Value<'_>>) -> Truth,
{
    if let Err(mismatch) = spend_on_reading(value, terms) {
        return Truth::Undecidable(mismatch);
    }
    match value.and_then(|value| encoded(value, terms.decode)) {
        Some(Ok(decoded)) => walk(Some(&decoded), rest, terms.work, visit),
        // A lenient parser would read it, and we do not know how.
        Some(Err(_)) => Truth::Undecidable(Mismatch {
            expected: "strict JSON without duplicate keys, within the bounds",
            found: "JSON text that is read in more than one way",
        }),
        None => walk(value, rest, terms.work, visit),
    }
}

/// What a top-level argument holds as JSON text, where that is looked into: as the Python SDK does, which takes objects, arrays
/// and `null` out of their strings, and leaves texts that hold a string, a number or a boolean.
fn encoded<'v>(value: &'v Value<'_>, decode: Decode) -> Option<Result<Value<'v>, Fault>> {
    let (Value::String(text), Decode::JsonStrings) = (value, decode) else { return None };
    may_be_json(text).then(|| parse(text, Duplicates::Refuse))
}

fn walk<F>(value: Option<&Value<'_>>, steps: &[PathStep], work: &Work, visit: &mut F) -> Truth
where
    F: FnMut(Option<&Value<'_>>) -> Truth,
{
    let Some(value) = value.filter(|value| **value != Value::Null) else {
        return visit(None);
    };
    let Some((step, rest)) = steps.split_first() else {
        return visit(Some(value));
    };
    let cost = match (step, value) {
        (PathStep::Key(_), Value::Object(object)) => members(object),
        (PathStep::Each, Value::Array(items)) => 8 * items.len() as u64,
        _ => 8,
    };
    if work.spend(cost).is_err() {
        return Truth::Undecidable(TOO_MUCH);
    }
    match (step, value) {
        (PathStep::Key(key), Value::Object(object)) => walk(object.get(key), rest, work, visit),
        (PathStep::Index(index), Value::Array(items)) => walk(items.get(*index), rest, work, visit),
        (PathStep::Each, Value::Array(items)) if items.is_empty() => visit(None),
        (PathStep::Each, Value::Array(items)) => {
            let walk = |item| walk(Some(item), rest, work, &mut *visit);
            items.iter().map(walk).fold(Truth::False, Truth::or)
        }
        (PathStep::Key(_), other) => {
            Truth::Undecidable(Mismatch { expected: "an object", found: other.kind() })
        }
        (PathStep::Index(_) | PathStep::Each, other) => {
            Truth::Undecidable(Mismatch { expected: "an array", found: other.kind() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;
    use crate::json::{Duplicates, Value, parse};
    use crate::matcher::Truth;
    use crate::matcher::terms::Decode;
    use crate::matcher::terms::Terms;
    use crate::matcher::work::Work;
    use crate::time::UnixMillis;

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
        let arguments = r#"{"a":{"b":[1,null,{"c":"x"}]},"odd.key":1,"text":"[1]","none":"null","five":"5","nan":"[NaN]"}"#;
        let arguments = parse(arguments, Duplicates::Refuse).unwrap();
        let work = Work::of(0);
        let kinds = |path: &str, decode| {
            let mut kinds = Vec::new();
            let terms = Terms { decode, work: &work, now: UnixMillis(0) };
            let truth = Path::new(path).unwrap().visit(Some(&arguments), terms, &mut |value| {
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
            ("args.none", Decode::Never, (vec!["a string"], false)),
            ("args.none", Decode::JsonStrings, (vec!["absent"], false)),
            ("args.five", Decode::JsonStrings, (vec!["a string"], false)),
            ("args.nan", Decode::JsonStrings, (vec![], true)),
        ] {
            assert_eq!(kinds(path, decode), expected, "{path}");
        }
    }

    #[test]
    fn sees_ambiguous_keys_on_the_way() {
        let read = |text| parse(text, Duplicates::Refuse).unwrap();
        let work = Work::of(0);
        let terms = Terms { decode: Decode::Never, work: &work, now: UnixMillis(0) };
        for (path, arguments, expected) in [
            ("args.a", r#"{"A":1}"#, true),
            ("args.A", r#"{"A":1}"#, false),
            ("args.o.key", r#"{"o":{"Key":1}}"#, true),
            ("args.o.other", r#"{"o":{"Key":1}}"#, false),
            ("args.l[*].id", r#"{"l":[{"id":1},{"ID":2}]}"#, true),
            ("args.l[0].id", r#"{"l":[{"id":1},{"ID":2}]}"#, false),
            ("args.user_id", r#"{"userId":1}"#, true),
            ("args.user_id", r#"{"user_id":1,"User-ID":1}"#, true),
            ("args.userId", r#"{"user_id":1}"#, true),
            ("args.from", r#"{"from_":1}"#, true),
            ("args.user_id", r#"{"user_ids":1,"user":1,"id":1,"users_id":1}"#, false),
            ("args._", r#"{"-":1,"__":2}"#, false),
            ("args.größe", "{\"GRÖSSE_\":1}", true),
            ("args.a", r#"{"a":1,"__proto__":{}}"#, true),
            ("args.a.b", r#"{"a":{"constructor":1}}"#, true),
            ("args.a.b", r#"{"a":{"b":1},"c":{"prototype":1}}"#, false),
            ("args.a", r#"{"a":{"$serde_json::private::Number":"1"}}"#, true),
            ("args.a[*]", r#"{"a":[1,{"$serde_json::private::RawValue":"null"}]}"#, true),
            ("args.a", r#"{"a":[{"__proto__":1}]}"#, false),
            ("args.constructor", r#"{"constructor":1}"#, false),
            ("args.a", r#"{"proto":1,"constructors":2}"#, false),
        ] {
            let (path, arguments) = (Path::new(path).unwrap(), read(arguments));
            let meets = path.meets_ambiguous(&arguments, terms, &[&path]);
            assert_eq!(meets, expected, "{path:?} {arguments:?}");
        }
        let named = ["args.o.a_b", "args.o.aB", "args.p.AB"].map(|path| Path::new(path).unwrap());
        let named: Vec<&Path> = named.iter().collect();
        for (arguments, expected) in [
            (r#"{"o":{"a_b":1,"aB":2}}"#, false),
            (r#"{"o":{"a_b":1,"AB":2}}"#, true),
            (r#"{"O":{"a_b":1}}"#, true),
        ] {
            let arguments = read(arguments);
            let meets = named.iter().any(|p| p.meets_ambiguous(&arguments, terms, &named));
            assert_eq!(meets, expected, "{arguments:?}");
        }
    }
}
