//! What was seen of the arguments of a tool: types, ranges, and the values where there are few. Values that could be secrets are
//! never kept.

use std::collections::BTreeMap;

use mcp_policy::json::lenient::may_be_json;
use mcp_policy::json::{Object, Value};
use mcp_policy::matcher::fold::{folded, invisible};
use mcp_policy::matcher::normal::nfc;
use mcp_policy::matcher::path::has_meaning;
use mcp_policy::number::Decimal;

use super::secret::{is_credential, looks_secret};

/// Most different texts of one argument that are kept: more are no list that anybody would write.
pub(super) const MOST_TEXTS: usize = 8;

/// Longest text that is kept, in characters.
const LONGEST_TEXT: usize = 64;

/// What stands where a value was taken out.
const REDACTED: &str = "[redacted]";

/// The members of an object, over all calls.
#[derive(Debug, Default)]
pub(super) struct MembersSeen {
    pub(super) members: BTreeMap<String, ValuesSeen>,
    /// Whether there were members that there was no room for.
    pub(super) left_out: bool,
}

/// The values in one place, over all calls.
#[derive(Debug, Default)]
pub(super) struct ValuesSeen {
    /// How many there were; `null` is none.
    pub(super) count: u64,
    pub(super) texts: TextsSeen,
    pub(super) numbers: NumbersSeen,
    /// How often `false`, and how often `true`.
    pub(super) flags: [u64; 2],
    pub(super) lists: u64,
    pub(super) objects: u64,
    pub(super) within: MembersSeen,
    /// Whether the values must not be told.
    pub(super) secret: bool,
}

/// The strings in one place.
#[derive(Debug, Default)]
pub(super) struct TextsSeen {
    pub(super) count: u64,
    /// The different ones, with how often they came. Nothing is said of the others where there are too many, or some are not to be told.
    pub(super) each: BTreeMap<String, u64>,
    pub(super) too_many: bool,
    /// Whether some are too long to be told, or could be secrets.
    pub(super) withheld: bool,
    /// Whether some could be compared in two ways.
    pub(super) doubtful: bool,
    pub(super) longest: usize,
}

/// The numbers in one place.
#[derive(Debug, Default)]
pub(super) struct NumbersSeen {
    pub(super) count: u64,
    pub(super) range: Option<(Decimal, Decimal)>,
    /// Whether some have more digits than can be compared.
    pub(super) inexact: bool,
}

impl MembersSeen {
    /// Takes in the members of one object. `room` is how many places can still be told apart.
    pub(super) fn note(&mut self, object: &Object<'_>, secret: bool, room: &mut usize) {
        for member in &object.0 {
            if let Some(values) = self.at(&member.key, room) {
                values.secret |= secret || is_credential(&member.key);
                values.note(&member.value, room);
            }
        }
    }

    /// Takes in the keys of one object, of which nothing else is known.
    pub(super) fn note_keys(&mut self, keys: &[String], room: &mut usize) {
        for key in keys {
            if let Some(values) = self.at(key, room) {
                values.count += 1;
            }
        }
    }

    fn at(&mut self, key: &str, room: &mut usize) -> Option<&mut ValuesSeen> {
        if !self.members.contains_key(key) {
            if *room == 0 || key.len() > 2 * LONGEST_TEXT {
                self.left_out = true;
                return None;
            }
            *room -= 1;
        }
        Some(self.members.entry(key.to_owned()).or_default())
    }

    /// Whether a condition could look for this key: no other one here can be taken for it.
    pub(super) fn is_plain(&self, key: &str) -> bool {
        let skeleton =
            |key: &str| folded(key).filter(|c| !matches!(c, '_' | '-')).collect::<String>();
        let own = skeleton(key);
        let others = || self.members.keys().filter(|other| *other != key);
        !self.left_out
            && !own.is_empty()
            && !key.contains(invisible)
            && nfc(key) == key
            && !others().any(|other| has_meaning(other) || skeleton(other) == own)
            && !has_meaning(key)
    }
}

impl ValuesSeen {
    fn note(&mut self, value: &Value<'_>, room: &mut usize) {
        self.count += u64::from(*value != Value::Null);
        match value {
            Value::Null => {}
            Value::Bool(flag) => {
                let [no, yes] = &mut self.flags;
                *(if *flag { yes } else { no }) += 1;
            }
            Value::Number(text) => self.numbers.note(text),
            Value::String(text) => {
                self.secret |= text == REDACTED;
                self.texts.note(text, self.secret);
            }
            Value::Array(_) => self.lists += 1,
            Value::Object(object) => {
                self.objects += 1;
                self.within.note(object, self.secret, room);
            }
        }
    }

    /// How many kinds of values there were.
    pub(super) fn kinds(&self) -> usize {
        let counts = [
            self.texts.count,
            self.numbers.count,
            self.flags.iter().sum(),
            self.lists,
            self.objects,
        ];
        counts.iter().filter(|count| **count > 0).count()
    }
}

impl TextsSeen {
    fn note(&mut self, text: &str, secret: bool) {
        self.count += 1;
        let length = text.chars().count();
        self.longest = self.longest.max(length);
        self.withheld |= secret || length > LONGEST_TEXT || looks_secret(text);
        self.doubtful |= may_be_json(text) || nfc(text) != text || text.contains(invisible);
        if self.withheld {
            self.each.clear();
        } else if self.each.len() < MOST_TEXTS || self.each.contains_key(text) {
            *self.each.entry(text.to_owned()).or_default() += 1;
        } else {
            self.too_many = true;
        }
    }
}

impl NumbersSeen {
    fn note(&mut self, text: &str) {
        self.count += 1;
        let Some(number) = Decimal::parse(text) else {
            self.inexact = true;
            return;
        };
        let (least, most) = self.range.unwrap_or((number, number));
        self.range = Some((least.min(number), most.max(number)));
    }
}
