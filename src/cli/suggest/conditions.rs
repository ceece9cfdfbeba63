//! Conditions that all calls met that were seen: proposals, where many calls speak for them.

use mcp_policy::tree::{Map, Node, TreeItem};

use super::arguments::{MembersSeen, ValuesSeen};
use super::seen::Uses;
use crate::cli::key::member_path;

/// So many values must have been seen, before they say anything of those that were not.
const ENOUGH: u64 = 20;

/// Most conditions of one entry.
const MOST_CONDITIONS: usize = 32;

/// What could be asked of the arguments of a tool.
#[derive(Debug, Default)]
pub(super) struct Proposal {
    /// Of arguments that every call has.
    require: Vec<Node>,
    /// Of those that some calls leave out: the conditions of each element.
    deny_if: Vec<Vec<Node>>,
}

impl Proposal {
    /// What the calls that were seen allow to propose. Where the arguments of one are not on record, that is nothing.
    pub(super) fn from(uses: &Uses) -> Proposal {
        let mut proposal = Proposal::default();
        if uses.without_arguments == 0 {
            proposal.look_into(&uses.arguments, "args", uses.calls, true);
        }
        proposal
    }

    /// As members of an entry.
    pub(super) fn members(self) -> Map {
        let mut entry = Map::default();
        let element =
            |conditions: Vec<Node>| Node::map([("conditions", Node::list(conditions))]).into();
        if !self.require.is_empty() {
            entry.extend("require", vec![element(self.require)]);
        }
        let elements: Vec<TreeItem> = self.deny_if.into_iter().map(element).collect();
        entry.extend("deny_if", elements);
        entry
    }

    /// `holders` is how many objects there were that could have had these members; `always` whether each call has one.
    fn look_into(&mut self, seen: &MembersSeen, within: &str, holders: u64, always: bool) {
        for (key, values) in &seen.members {
            let path = member_path(within, key).filter(|_| seen.is_plain(key) && !values.secret);
            let Some(path) = path.filter(|_| values.kinds() == 1) else { continue };
            let always = always && values.count == holders;
            if values.objects > 0 {
                self.look_into(&values.within, &path, values.objects, always);
            } else if values.count >= ENOUGH {
                self.propose(&path, values, always);
            }
        }
    }

    fn propose(&mut self, path: &str, values: &ValuesSeen, always: bool) {
        let Some(seen) = Narrowing::of(values) else { return };
        if self.require.len() + self.deny_if.len() >= MOST_CONDITIONS {
            return;
        }
        let condition = |op: &str, value: Node| {
            Node::map([("path", Node::text(path)), ("op", Node::text(op)), ("value", value)])
        };
        let exists = || condition("exists", Node::Plain("true".to_owned()));
        match (seen, always) {
            (Narrowing::OneOf(values), true) => self.require.push(condition("in", values)),
            (Narrowing::OneOf(values), false) => {
                self.deny_if.push(vec![exists(), condition("not_in", values)]);
            }
            (Narrowing::Only(value), true) => self.require.push(condition("eq", value)),
            (Narrowing::Only(value), false) => {
                self.deny_if.push(vec![exists(), condition("neq", value)]);
            }
            (Narrowing::Between(least, most), true) => {
                self.require.extend([condition("gte", least), condition("lte", most)]);
            }
            (Narrowing::Between(least, most), false) => {
                self.deny_if.push(vec![condition("lt", least)]);
                self.deny_if.push(vec![condition("gt", most)]);
            }
        }
    }
}

/// What all values of one place have in common.
enum Narrowing {
    OneOf(Node),
    Only(Node),
    Between(Node, Node),
}

impl Narrowing {
    fn of(values: &ValuesSeen) -> Option<Narrowing> {
        let texts = &values.texts;
        if texts.count > 0 {
            let few = !(texts.too_many || texts.withheld || texts.doubtful);
            return few.then(|| Narrowing::OneOf(Node::list(texts.each.keys().map(Node::text))));
        }
        if let Some((least, most)) = values.numbers.range.filter(|_| !values.numbers.inexact) {
            let (from, to) = (Node::number(least), Node::number(most));
            let only = least == most;
            return Some(if only { Narrowing::Only(from) } else { Narrowing::Between(from, to) });
        }
        match values.flags {
            [0, count] if count > 0 => Some(Narrowing::Only(Node::Plain("true".to_owned()))),
            [count, 0] if count > 0 => Some(Narrowing::Only(Node::Plain("false".to_owned()))),
            [_, _] => None,
        }
    }
}
