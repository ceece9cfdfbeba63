//! The language as tables: every object, its fields, their types and what they mean. The JSON Schemas and the reference page
//! are written from here; tests hold the tables to what the compiler of policies accepts.

mod callers;
mod condition;
mod counting;
mod gateway;
mod policy;
mod settings;
mod telling;

/// An object of the language.
pub(super) struct ObjectSpec {
    /// Its name in the schema, and its anchor in the reference.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it is, in Markdown.
    pub(super) about: &'static str,
    pub(super) fields: &'static [FieldSpec],
    /// Fields that it has beyond those of objects like it.
    pub(super) more: &'static [FieldSpec],
    /// What every other member is, by its section, where names are the author's own.
    pub(super) others: Option<&'static str>,
    /// What must hold between its fields: members of a JSON Schema, as JSON; may be empty.
    pub(super) rules: &'static str,
}

/// A section without anything unusual.
const PLAIN: ObjectSpec =
    ObjectSpec { id: "", title: "", about: "", fields: &[], more: &[], others: None, rules: "" };

impl ObjectSpec {
    /// All of its fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static FieldSpec> + use<> {
        self.fields.iter().chain(self.more)
    }
}

/// A field of an object.
pub(super) struct FieldSpec {
    pub(super) name: &'static str,
    pub(super) kind: FieldKind,
    pub(super) presence: Presence,
    /// What it means, in Markdown.
    pub(super) about: &'static str,
    /// A value, as JSON.
    pub(super) example: &'static str,
}

/// Whether a field must be there, and what holds where it is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    /// May be left out; then nothing is said.
    Optional,
    /// May be left out; then this holds, as JSON.
    Default(&'static str),
}

/// What a field holds.
pub(super) enum FieldKind {
    Text,
    Flag,
    /// `sha-256:…`
    Digest,
    /// Zero or more, at most six decimals.
    Amount,
    /// More than zero, at most six decimals.
    Increment,
    Whole(u32, u32),
    Words(&'static [&'static str]),
    /// A name, or a glob of names.
    Pattern,
    /// `args.…`
    ArgumentPath,
    /// `args.…`, `state.…`, `identity.…`, `header.…` or the name.
    Path,
    /// The same without `state.…` and `[*]`.
    FieldPath,
    /// Who counts together.
    Scope,
    Window,
    /// A length of time between so many seconds.
    Length(u32, u32),
    /// `10/minute`
    Rate,
    /// One of the operators of conditions; what the field `value` beside it must be depends on it.
    Operator,
    /// What a condition compares with.
    Operand,
    /// An object, by its section.
    Object(&'static str),
    /// A list of objects, by their section.
    Objects(&'static str),
    List(&'static FieldKind),
    /// An object with keys of the author's own.
    Named(&'static FieldKind, KeyKind),
    Either(&'static [FieldKind]),
}

/// What the author's own keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Tools,
    Policies,
    /// Names in lower case, for a gateway file.
    Servers,
    /// Keys of `identity.keys`.
    Identity,
    /// Namespaces and keys of metadata.
    Metadata,
}

/// The settings that stand beside a policy, or beside `policies`.
pub(super) const SETTINGS: &str = "settings";

/// The object of this name.
pub(super) fn section(id: &str) -> Option<&'static ObjectSpec> {
    sections().chain(of_gateways()).find(|section| section.id == id)
}

/// What gateway files have beside.
pub(super) fn of_gateways() -> impl Iterator<Item = &'static ObjectSpec> {
    gateway::SECTIONS.iter()
}

/// The words of a table, without what they mean.
#[expect(
    clippy::indexing_slicing,
    reason = "done by the compiler, which refuses what is out of range"
)]
pub(super) const fn words<T: Copy, const N: usize>(
    table: &[(&'static str, T); N],
) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

const fn field(
    name: &'static str,
    kind: FieldKind,
    presence: Presence,
    about: &'static str,
    example: &'static str,
) -> FieldSpec {
    FieldSpec { name, kind, presence, about, example }
}

/// From when on something holds, beside its `during`.
const NOT_BEFORE: FieldSpec = field(
    "not_before",
    FieldKind::Text,
    Presence::Optional,
    "The same from a time on, which has its offset.",
    r#""2026-12-20T00:00:00+01:00""#,
);

/// Until when it does.
const NOT_AFTER: FieldSpec = field(
    "not_after",
    FieldKind::Text,
    Presence::Optional,
    "The same until a time. Where several of the three are said, all must agree.",
    r#""2027-01-02T00:00:00+01:00""#,
);

/// Everything, in the order of the reference.
pub(super) fn sections() -> impl Iterator<Item = &'static ObjectSpec> {
    policy::SECTIONS
        .iter()
        .chain(condition::SECTIONS)
        .chain(counting::SECTIONS)
        .chain(settings::SECTIONS)
        .chain(telling::SECTIONS)
        .chain(callers::SECTIONS)
}
