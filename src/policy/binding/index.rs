//! Where to look for the binding of a request.
//!
//! Each binding lies under one of the things that it names exactly, the one that the fewest others name. What names nothing exactly is looked
//! at for every request.

use std::collections::HashMap;

use super::{Binding, BindingInput, RouteFact, texts};
use crate::matcher::name::Pattern;

/// Bindings by what they name; rows are in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Index {
    named: Vec<(Fact, ByText)>,
    anywhere: Vec<usize>,
}

type ByText = HashMap<Box<str>, Vec<usize>>;

/// What a binding can name exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Fact {
    Host,
    /// The first segment of the path, as a lenient server reads it.
    Segment,
    /// A name of the caller, by the index of its key.
    Caller(usize),
    Route,
    Metadata(Box<str>, Box<str>),
}

impl Index {
    pub(super) fn new(rows: &[Binding]) -> Index {
        let named: Vec<Vec<(Fact, Box<str>)>> = rows.iter().map(Fact::named_by).collect();
        let mut shared: HashMap<&(Fact, Box<str>), usize> = HashMap::new();
        for each in named.iter().flatten() {
            *shared.entry(each).or_default() += 1;
        }
        let mut index = Index::default();
        for (at, named) in named.iter().enumerate() {
            match named.iter().min_by_key(|each| shared.get(each)) {
                Some((fact, text)) => index.list(fact, text).push(at),
                None => index.anywhere.push(at),
            }
        }
        index
    }

    fn list(&mut self, fact: &Fact, text: &str) -> &mut Vec<usize> {
        let known = self.named.iter().position(|(known, _)| known == fact);
        let at = known.unwrap_or(self.named.len());
        if known.is_none() {
            self.named.push((fact.clone(), HashMap::new()));
        }
        match self.named.get_mut(at) {
            Some((_, rows)) => rows.entry(text.into()).or_default(),
            None => &mut self.anywhere,
        }
    }

    /// Lists of all bindings that can match.
    pub(super) fn near(&self, shown: &BindingInput<'_>, segment: &str) -> Vec<&[usize]> {
        let mut near: Vec<&[usize]> = vec![&self.anywhere];
        for (fact, rows) in &self.named {
            let mut add = |text: &str| near.extend(rows.get(text).map(Vec::as_slice));
            let route = |fact: RouteFact<'_>| {
                (shown.route)(fact).and_then(|text| String::from_utf8(text).ok())
            };
            match fact {
                Fact::Host => add(shown.host),
                Fact::Segment => add(segment),
                Fact::Caller(key) => texts((shown.identity)(*key)).for_each(add),
                Fact::Route => route(RouteFact::Name).as_deref().into_iter().for_each(add),
                Fact::Metadata(space, key) => {
                    route(RouteFact::Metadata(space, key)).as_deref().into_iter().for_each(add);
                }
            }
        }
        near
    }
}

impl Fact {
    fn named_by(row: &Binding) -> Vec<(Fact, Box<str>)> {
        let mut named = Vec::new();
        if let Some(Pattern::Exact(host)) = &row.host {
            named.push((Fact::Host, host.clone()));
        }
        if let Some(segment) = row.path.as_ref().and_then(|path| path.segment.as_ref()) {
            named.push((Fact::Segment, segment.clone()));
        }
        named.extend(row.identity.iter().map(|(key, value)| (Fact::Caller(*key), value.clone())));
        named.extend(row.route.iter().map(|route| (Fact::Route, route.clone())));
        named.extend(row.metadata.iter().map(|[space, key, value]| {
            (Fact::Metadata(space.clone(), key.clone()), value.clone())
        }));
        named
    }
}
