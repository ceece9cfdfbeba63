//! The response to a request that was forwarded: counts given back on errors, lists cut down to what the policy shows.
//!
//! Only a JSON list waits until it is whole. Events pass one by one, and what needs no look passes untouched.

use super::{BodyAction, Chunk, Environment, HeaderEdit, ResponseHead, give_back};
use crate::bounds::MAX_LIST_BYTES;
use crate::listing::{Filtered, filter};
use crate::mcp::headers::{Events, Framing};
use crate::mcp::outcome::{BodyForm, Observer};
use crate::mcp::sse::{EventStream, Verdict};
use crate::policy::compiled::{Config, Policy};
use crate::rate::limiter::Reservation;
use crate::reply::{framed_body, list_unreadable_object};

/// Counts that are given back if the server answers a call with an error, by the call's id.
pub(super) type Refunds = Vec<(String, Vec<Reservation>)>;

/// A body that changes has another length than its header says.
const UNMEASURED: HeaderEdit = HeaderEdit::Remove("content-length");

/// What the response is needed for.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) refunds: Refunds,
    /// All that was counted for a caller whom nothing verified. Where the server itself refuses him it is given back: else invented
    /// credentials would use up what others have.
    pub(super) unproven: Vec<Reservation>,
    pub(super) lists: Lists,
}

/// The lists that a response may hold.
#[derive(Debug, Default)]
pub(super) enum Lists {
    /// None that is filtered.
    #[default]
    None,
    /// Answers to the requests with these ids.
    To {
        /// The ids' own bytes.
        ids: Vec<String>,
        /// Whether the requests came as a batch.
        batch: bool,
        /// How the client wants to be answered.
        framing: Framing,
    },
    /// A GET: a stream can bring answers to any request (MCP 2024-11-05; resumed streams since 2025-03-26).
    Any(Events),
}

/// A response on its way through.
#[derive(Debug)]
pub(super) struct Response {
    observer: Option<Observer>,
    refunds: Refunds,
    form: Form,
    lists: Lists,
    policy: Option<usize>,
}

#[derive(Debug)]
enum Form {
    /// It passes unread, but for the observer.
    Untouched,
    /// One JSON text, kept until it is whole; this much of it is buffered.
    Json(usize),
    /// A page about an error, kept in the same way: it may be JSON under another name.
    Page(usize),
    /// Events, judged one by one.
    Events(EventStream),
    /// Something that cannot be read: this takes its place, and then nothing more passes.
    Withheld(Vec<u8>),
}

impl Expected {
    pub(super) fn has_lists(&self) -> bool {
        !matches!(self.lists, Lists::None)
    }

    /// Whether the head of the response is enough.
    pub(super) fn needs_no_body(&self) -> bool {
        self.refunds.is_empty() && !self.has_lists()
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.needs_no_body() && self.unproven.is_empty()
    }
}

impl Response {
    /// Reads the head of a response. `None` where nothing of its body is needed.
    pub(super) fn start<E: Environment>(
        config: &Config,
        policy: Option<usize>,
        env: &E,
        expected: Expected,
        head: ResponseHead<'_>,
    ) -> Option<(Response, Vec<HeaderEdit>)> {
        let Expected { mut refunds, unproven, lists } = expected;
        let body = BodyForm::of(head.content_type, head.encoded);
        if head.refuses_the_caller() && !unproven.is_empty() {
            give_back(config, env, unproven.iter());
            refunds.clear();
        } else if !head.conclusive {
            refunds.clear();
        } else if head.status >= 400 {
            give_back(config, env, refunds.iter().flat_map(|(_, counts)| counts));
            refunds.clear();
        }
        let observer = (!refunds.is_empty())
            .then(|| Observer::new(body, refunds.iter().map(|(id, _)| id.clone()).collect()));
        let (form, edits) = match lists {
            Lists::None => (Form::Untouched, Vec::new()),
            Lists::To { .. } | Lists::Any(_) => lists.form(policy, body, head),
        };
        if head.ends || (observer.is_none() && matches!(form, Form::Untouched)) {
            return None;
        }
        Some((Response { observer, refunds, form, lists, policy }, edits))
    }

    /// The next bytes of the body. `length` counts those that Envoy has buffered where it was told to pause, else those that
    /// are passing.
    pub(super) fn body<E: Environment>(
        &mut self,
        config: &Config,
        env: &E,
        length: usize,
        chunk: Chunk,
    ) -> BodyAction {
        if let Form::Json(buffered) | Form::Page(buffered) = &mut self.form {
            *buffered = length;
            if length > MAX_LIST_BYTES {
                let error = self.lists.error();
                self.form = Form::Withheld(Vec::new());
                return BodyAction::Replace(error);
            }
            if chunk == Chunk::More {
                return BodyAction::Pause;
            }
        }
        let bytes = if length == 0 { Some(Vec::new()) } else { env.response_chunk(length) };
        self.observe(config, env, bytes.as_deref(), chunk);
        let policy = self.policy.and_then(|at| config.policy_at(at));
        match &mut self.form {
            Form::Untouched => BodyAction::Continue,
            Form::Page(_) if bytes.as_deref().is_some_and(|page| !may_be_json(page)) => {
                BodyAction::Continue
            }
            Form::Json(_) | Form::Page(_) => match bytes.map(|bytes| json(policy, &bytes)) {
                Some(Filtered::Unchanged) => BodyAction::Continue,
                Some(Filtered::Changed(text)) => BodyAction::Replace(text.into_bytes()),
                Some(Filtered::Unreadable) | None => BodyAction::Replace(self.lists.error()),
            },
            Form::Events(stream) => match bytes {
                Some(bytes) => {
                    let lists = &self.lists;
                    let mut judge = |data: Option<&[u8]>| event(policy, lists, data);
                    let mut out = stream.push(&bytes, &mut judge);
                    if chunk == Chunk::Last {
                        out.extend(stream.finish(&mut judge));
                    }
                    if out == bytes { BodyAction::Continue } else { BodyAction::Replace(out) }
                }
                None => BodyAction::Replace(Vec::new()),
            },
            Form::Withheld(instead) => BodyAction::Replace(std::mem::take(instead)),
        }
    }

    /// Trailers: where they come, the body never says that it has ended.
    pub(super) fn trailers<E: Environment>(&mut self, config: &Config, env: &E) -> BodyAction {
        match self.form {
            Form::Json(buffered) | Form::Page(buffered) => {
                self.body(config, env, buffered, Chunk::Last)
            }
            // Nothing can be added here.
            Form::Untouched | Form::Events(_) | Form::Withheld(_) => {
                self.observe(config, env, Some(&[]), Chunk::Last);
                BodyAction::Continue
            }
        }
    }

    fn observe<E: Environment>(
        &mut self,
        config: &Config,
        env: &E,
        bytes: Option<&[u8]>,
        chunk: Chunk,
    ) {
        let (Some(observer), Some(bytes)) = (&mut self.observer, bytes) else { return };
        let failed = observer.push(bytes, chunk == Chunk::Last);
        let refunds = self.refunds.iter().filter(|(id, _)| failed.contains(id));
        give_back(config, env, refunds.flat_map(|(_, counts)| counts));
        if !observer.is_watching() {
            self.observer = None;
        }
    }

    /// Whether nothing more of the body is needed.
    pub(super) fn is_over(&self) -> bool {
        self.observer.is_none() && matches!(self.form, Form::Untouched)
    }
}

impl Lists {
    /// How the body is treated, and what changes in the headers for it.
    fn form(
        &self,
        policy: Option<usize>,
        body: BodyForm,
        head: ResponseHead<'_>,
    ) -> (Form, Vec<HeaderEdit>) {
        let success = (200..300).contains(&head.status);
        let whole = head.status == 200 || !success;
        let governed = policy.is_some();
        let events = || Form::Events(EventStream::new(MAX_LIST_BYTES));
        let form = match (self, body) {
            (Lists::None, _) => return (Form::Untouched, Vec::new()),
            // The 2024-11-05 transport: the answer comes on the stream, and what is here is courtesy.
            (Lists::To { .. }, _) if matches!(head.status, 202 | 204 | 205) => {
                Form::Withheld(Vec::new())
            }
            (Lists::To { .. }, BodyForm::Json) if whole => Form::Json(0),
            (Lists::To { .. } | Lists::Any(_), BodyForm::EventStream) if whole && governed => {
                events()
            }
            (Lists::To { .. }, BodyForm::Opaque) if !success && !head.encoded => Form::Page(0),
            // Some clients read as events whatever comes where they want them (TypeScript SDK 1.x).
            (Lists::Any(Events::Wanted), BodyForm::Json | BodyForm::Opaque) if success => {
                match (body, head.encoded || !governed) {
                    (_, true) => return self.withheld(success),
                    (BodyForm::Json, false) => Form::Json(0),
                    (BodyForm::EventStream | BodyForm::OddEvents | BodyForm::Opaque, false) => {
                        events()
                    }
                }
            }
            (Lists::Any(_), BodyForm::Json | BodyForm::Opaque) => {
                return (Form::Untouched, Vec::new());
            }
            (Lists::To { .. } | Lists::Any(_), _) => return self.withheld(success),
        };
        (form, vec![UNMEASURED])
    }

    /// Replaces a response that cannot be read by an error.
    fn withheld(&self, success: bool) -> (Form, Vec<HeaderEdit>) {
        let (status, media) = match self {
            Lists::To { framing, .. } => ("200", framing.media()),
            Lists::Any(_) | Lists::None => ("502", Framing::Json.media()),
        };
        let mut edits = vec![UNMEASURED, HeaderEdit::Remove("content-encoding")];
        edits.push(HeaderEdit::Set("content-type", media.into()));
        if success {
            edits.push(HeaderEdit::Set(":status", status.into()));
        }
        (Form::Withheld(self.error()), edits)
    }

    /// The body that takes the place of one that cannot be read.
    fn error(&self) -> Vec<u8> {
        match self {
            // Nobody waits for an answer to notifications.
            Lists::To { ids, .. } if ids.is_empty() => Vec::new(),
            Lists::To { framing, .. } => framed_body(*framing, &self.error_object()),
            Lists::Any(_) | Lists::None => list_unreadable_object("null").into_bytes(),
        }
    }

    fn error_object(&self) -> String {
        let Lists::To { ids, batch, .. } = self else { return String::new() };
        let errors: Vec<String> = ids.iter().map(|id| list_unreadable_object(id)).collect();
        if *batch { format!("[{}]", errors.join(",")) } else { errors.concat() }
    }
}

fn json(policy: Option<&Policy>, bytes: &[u8]) -> Filtered {
    match policy {
        _ if bytes.is_empty() => Filtered::Unchanged,
        Some(policy) => filter(policy, bytes),
        // Nobody says what may be seen.
        None => Filtered::Unreadable,
    }
}

/// Events that are no JSON at all, such as the address that the 2024-11-05 transport begins with, hold no list.
fn event(policy: Option<&Policy>, lists: &Lists, data: Option<&[u8]>) -> Verdict {
    let filtered = match data {
        // Of several lines a reader may look at one alone.
        Some(data) if !may_be_json(data) && !data.contains(&b'\n') => Filtered::Unchanged,
        Some(data) => json(policy, data),
        None => Filtered::Unreadable,
    };
    match (filtered, lists) {
        (Filtered::Unchanged, _) => Verdict::Pass,
        (Filtered::Changed(text), _) => Verdict::Replace(text),
        (Filtered::Unreadable, Lists::To { .. }) => Verdict::Replace(lists.error_object()),
        (Filtered::Unreadable, Lists::Any(_) | Lists::None) => Verdict::Drop,
    }
}

/// Whether a lenient parser could find an object or an array here.
fn may_be_json(data: &[u8]) -> bool {
    let first = data.iter().find(|byte| !byte.is_ascii_whitespace());
    first.is_some_and(|byte| matches!(byte, b'{' | b'[') || !byte.is_ascii_graphic())
}
