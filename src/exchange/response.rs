//! The response to a request that was forwarded: counts given back on errors, lists cut down to what the policy shows.
//!
//! Which answer comes is chosen by the client too (a server sends what it has to whoever holds a stream), so every response to a governed caller is
//! looked at, whatever was asked. It is skimmed as it streams by: what is not a list passes byte for byte, and only what may be one waits.

mod head;
mod screen;
mod sieve;
mod text;

use std::borrow::Cow;
use std::rc::Rc;

use super::chain::Chain;
use super::expected::{Asked, Expected, Lists, Refunds};
use super::refunds::{give_back, ids};
use super::{Chunk, HeaderEdit};
use crate::bounds::MAX_UNJUDGED_BYTES;
use crate::identity::Caller;
use crate::listing::{Cause, ChangedTool};
use crate::mcp::headers::{Follows, Framing};
use crate::mcp::outcome::{BodyForm, Observer};
use crate::mcp::sse::EventStream;
use crate::pins::ServerId;
use crate::policy::compiled::{Config, Policy};
use crate::record::Record;
use crate::reply::{framed_body, list_unreadable_object};
use crate::world::World;

pub(super) use head::ResponseHead;
use screen::Screen;
use sieve::{Reading, Sieve};
use text::TextBody;

/// A body that changes has another length than its header says.
const UNMEASURED: HeaderEdit = HeaderEdit::Remove(Cow::Borrowed("content-length"));

/// What decides over the lists of a response.
#[derive(Clone, Debug)]
pub(super) struct ListAudience {
    /// The policy, by its index; `None` where no binding matches.
    pub(super) policy: Option<usize>,
    /// The server that answers.
    pub(super) server: ServerId,
    /// Who asks, where what lists show depends on him.
    pub(super) viewer: Option<Rc<Caller>>,
}

/// A response on its way through.
#[derive(Debug)]
pub(super) struct Response {
    observer: Option<Observer>,
    refunds: Refunds,
    form: ResponseForm,
    audience: ListAudience,
    noted: Option<Cause>,
}

#[derive(Debug)]
enum ResponseForm {
    /// It passes unread, but for the observer.
    Untouched,
    /// One text, or a page that may be one.
    Text(TextBody, Sieve),
    /// Events, judged one by one.
    Events(EventStream, Sieve),
    /// Events or a page, which its first bytes tell; those that do not are kept.
    Guess(Vec<u8>, Lists),
    /// Something that cannot be read: this takes its place, and then nothing more passes.
    Withheld(Vec<u8>),
}

/// How the body is treated.
enum Plan {
    Untouched,
    Read(Reading),
    /// Some clients read as events whatever comes where they want them (TypeScript SDK 1.x).
    Guess,
    /// Nothing of it passes, and nobody misses it.
    Empty,
    Withhold(Cause),
}

impl Response {
    /// Reads the head of a response. `None` where nothing of its body is needed.
    pub(super) fn start<W: World>(
        config: &Rc<Config>,
        audience: ListAudience,
        world: &W,
        expected: Expected,
        head: ResponseHead<'_>,
    ) -> Option<(Response, Vec<HeaderEdit>)> {
        let Expected { mut refunds, unproven, lists, used, chain, in_flight: _ } = expected;
        let body = BodyForm::of(head.content_type, head.encoded);
        if let Some(used) = used.filter(|_| head.never_sent) {
            ids(config, world).give_back(used);
        }
        if head.refuses_the_caller() && !unproven.is_empty() {
            give_back(config, world, unproven.iter());
            refunds.clear();
        } else if !head.conclusive {
            refunds.clear();
        } else if head.failed {
            give_back(config, world, refunds.iter().flat_map(|(_, counts)| counts));
            refunds.clear();
        }
        let observer = (!refunds.is_empty())
            .then(|| Observer::new(body, refunds.iter().map(|(id, _)| id.clone()).collect()));
        if head.follows == Follows::Nothing {
            return None;
        }
        let mut noted = None;
        let (form, edits) = match lists.plan(body, head, chain.is_some()) {
            Plan::Untouched => (ResponseForm::Untouched, Vec::new()),
            Plan::Empty => (ResponseForm::Withheld(Vec::new()), vec![UNMEASURED]),
            Plan::Read(reading) => {
                (read(config, audience.clone(), (lists, chain), reading), vec![UNMEASURED])
            }
            Plan::Guess => (ResponseForm::Guess(Vec::new(), lists), vec![UNMEASURED]),
            Plan::Withhold(cause) => {
                let edits = lists.edits(head.status);
                let form = ResponseForm::Withheld(lists.body_error(&cause));
                noted = Some(cause);
                (form, edits)
            }
        };
        if observer.is_none() && matches!(form, ResponseForm::Untouched) {
            return None;
        }
        Some((Response { observer, refunds, form, audience, noted }, edits))
    }

    /// The next bytes of the body that are passing, so many: what passes in their place, if anything else does.
    pub(super) fn body<W: World>(
        &mut self,
        config: &Rc<Config>,
        world: &W,
        length: usize,
        chunk: Chunk,
    ) -> Option<Vec<u8>> {
        let mut bytes = if length == 0 { Some(Vec::new()) } else { world.response_chunk(length) };
        self.observe(config, world, bytes.as_deref(), chunk);
        let last = chunk == Chunk::Last;
        let kept = self.guess(config, &mut bytes, last);
        let (out, sieve) = match (&mut self.form, &bytes) {
            (ResponseForm::Untouched, _) => return None,
            (ResponseForm::Guess(..), Some(_)) => return Some(Vec::new()),
            (ResponseForm::Withheld(instead), _) => return Some(std::mem::take(instead)),
            (ResponseForm::Text(text, sieve), Some(bytes)) => {
                (text.push(bytes, last, sieve, world.store()), sieve)
            }
            (ResponseForm::Events(stream, sieve), Some(bytes)) => {
                let mut screen = Screen { sieve, store: world.store() };
                let mut out = stream.push_through(bytes, &mut screen);
                if last {
                    out.extend(stream.finish_through(&mut screen));
                }
                (out, sieve)
            }
            (ResponseForm::Text(..) | ResponseForm::Events(..) | ResponseForm::Guess(..), None) => {
                self.noted = Some(Cause::HostFailure);
                self.form = ResponseForm::Withheld(Vec::new());
                return Some(Vec::new());
            }
        };
        self.noted = self.noted.take().or_else(|| sieve.noted.take());
        let unchanged = !kept && bytes.is_some_and(|bytes| out == bytes);
        (!unchanged).then_some(out)
    }

    /// Decides what a body is, if that is still open; true where bytes that were kept now stand before its bytes.
    fn guess(&mut self, config: &Rc<Config>, bytes: &mut Option<Vec<u8>>, last: bool) -> bool {
        let (ResponseForm::Guess(kept, lists), Some(bytes)) = (&mut self.form, bytes) else {
            return false;
        };
        kept.append(bytes);
        let first = kept.iter().find(|byte| byte.is_ascii_graphic());
        if first.is_none() && !last && kept.len() <= MAX_UNJUDGED_BYTES {
            return false;
        }
        let page = first.is_some_and(|first| matches!(first, b'{' | b'['));
        *bytes = std::mem::take(kept);
        let reading = if page { Reading::Page } else { Reading::Events };
        self.form = read(config, self.audience.clone(), (std::mem::take(lists), None), reading);
        true
    }

    /// Trailers: where they come, the body never says that it has ended. Nothing can be added to it here.
    pub(super) fn trailers<W: World>(&mut self, config: &Config, world: &W) {
        self.observe(config, world, Some(&[]), Chunk::Last);
        if matches!(&self.form, ResponseForm::Text(text, _) if text.waits()) {
            self.noted = Some(Cause::Unfinished);
        }
    }

    fn observe<W: World>(
        &mut self,
        config: &Config,
        world: &W,
        bytes: Option<&[u8]>,
        chunk: Chunk,
    ) {
        let (Some(observer), Some(bytes)) = (&mut self.observer, bytes) else { return };
        let failed = observer.push(bytes, chunk == Chunk::Last);
        let refunds = self.refunds.iter().filter(|(id, _)| failed.contains(id));
        give_back(config, world, refunds.flat_map(|(_, counts)| counts));
        if !observer.is_watching() {
            self.observer = None;
        }
    }

    /// The records of what is withheld, as soon as there are any.
    pub(super) fn take_records(&mut self, config: &Config) -> Vec<Record> {
        let policy: Option<&Policy> = self.audience.policy.and_then(|at| config.policy_at(at));
        let changed = self.take_changed();
        let tools = changed.iter().map(|changed| Record::of_definition(changed, policy));
        let cause = self.noted.take();
        tools.chain(cause.map(|cause| Record::withheld(&cause, policy))).collect()
    }

    fn take_changed(&mut self) -> Vec<ChangedTool> {
        match &mut self.form {
            ResponseForm::Text(_, sieve) | ResponseForm::Events(_, sieve) => {
                std::mem::take(&mut sieve.changed)
            }
            ResponseForm::Untouched | ResponseForm::Guess(..) | ResponseForm::Withheld(_) => {
                Vec::new()
            }
        }
    }

    /// How many lists were changed, of which that is not counted yet.
    pub(super) fn take_filtered(&mut self) -> u64 {
        match &mut self.form {
            ResponseForm::Text(_, sieve) | ResponseForm::Events(_, sieve) => {
                std::mem::take(&mut sieve.filtered)
            }
            ResponseForm::Untouched | ResponseForm::Guess(..) | ResponseForm::Withheld(_) => 0,
        }
    }

    /// Whether nothing more of the body is needed.
    pub(super) fn is_over(&self) -> bool {
        self.observer.is_none()
            && match &self.form {
                ResponseForm::Untouched => true,
                ResponseForm::Text(text, _) => text.is_free(),
                ResponseForm::Events(..) | ResponseForm::Guess(..) | ResponseForm::Withheld(_) => {
                    false
                }
            }
    }
}

/// The form of a body that is read; what nobody governs is withheld.
fn read(
    config: &Rc<Config>,
    audience: ListAudience,
    (lists, chain): (Lists, Option<Box<Chain>>),
    reading: Reading,
) -> ResponseForm {
    let most = config.max_list_bytes;
    let sieve = Sieve::new(config, audience, lists, chain, reading);
    match (sieve, reading) {
        (Some(sieve), Reading::Events) => ResponseForm::Events(EventStream::new(most), sieve),
        (Some(sieve), Reading::List | Reading::Json | Reading::Page) => {
            ResponseForm::Text(TextBody::default(), sieve)
        }
        (None, _) => ResponseForm::Withheld(Vec::new()),
    }
}

impl Lists {
    fn plan(&self, body: BodyForm, head: ResponseHead<'_>, chains: bool) -> Plan {
        match self {
            Lists::None => match body {
                BodyForm::Json if chains => Plan::Read(Reading::Json),
                BodyForm::EventStream if chains => Plan::Read(Reading::Events),
                BodyForm::Json
                | BodyForm::EventStream
                | BodyForm::OddEvents
                | BodyForm::OddJson
                | BodyForm::Opaque => Plan::Untouched,
            },
            Lists::To(asked) if asked.lists => plan_of_list(body, head),
            Lists::To(_) => plan_of_post(body, head),
            Lists::Any => plan_of_get(body, head),
        }
    }

    /// The headers of an error in the place of a response.
    fn edits(&self, status: u16) -> Vec<HeaderEdit> {
        let (instead, media) = match self {
            Lists::To(asked) => ("200", asked.framing.media()),
            Lists::Any | Lists::None => ("502", Framing::Json.media()),
        };
        let mut edits = vec![UNMEASURED, HeaderEdit::Remove("content-encoding".into())];
        edits.push(HeaderEdit::Set("content-type", media.into()));
        if (200..300).contains(&status) {
            edits.push(HeaderEdit::Set(":status", instead.into()));
        }
        edits
    }

    /// The body that takes the place of one that cannot be read.
    fn body_error(&self, cause: &Cause) -> Vec<u8> {
        match self {
            Lists::To(asked) => match asked.error(cause) {
                // Nobody waits for an answer to notifications.
                None => Vec::new(),
                Some(error) => framed_body(asked.framing, &error),
            },
            Lists::Any | Lists::None => list_unreadable_object("null", cause).into_bytes(),
        }
    }

    /// The data of an event in the place of one of which nobody knows whom it answers.
    fn event_error(&self, cause: &Cause) -> Option<String> {
        match self {
            // Other answers may still come.
            Lists::To(asked) if !asked.lists => None,
            Lists::To(asked) => asked.error(cause),
            Lists::Any | Lists::None => None,
        }
    }
}

impl Asked {
    fn error(&self, cause: &Cause) -> Option<String> {
        let errors = self.ids.iter().map(|id| list_unreadable_object(id, cause));
        let errors: Vec<String> = errors.collect();
        match (errors.is_empty(), self.batch) {
            (true, _) => None,
            (false, true) => Some(format!("[{}]", errors.join(","))),
            (false, false) => Some(errors.concat()),
        }
    }
}

/// A list was asked for, so what comes is one, and what could be read in another way is not.
fn plan_of_list(body: BodyForm, head: ResponseHead<'_>) -> Plan {
    match body {
        // The 2024-11-05 transport: the answer comes on the stream, and what is here is courtesy.
        _ if matches!(head.status, 202 | 204 | 205) => Plan::Empty,
        BodyForm::Json if is_whole(head) => Plan::Read(Reading::List),
        BodyForm::EventStream if is_whole(head) => Plan::Read(Reading::Events),
        BodyForm::Opaque | BodyForm::OddJson if !is_success(head) && !head.encoded => {
            Plan::Read(Reading::Page)
        }
        BodyForm::Json
        | BodyForm::EventStream
        | BodyForm::OddEvents
        | BodyForm::OddJson
        | BodyForm::Opaque => Plan::Withhold(doubt(head)),
    }
}

/// Anything may come.
fn plan_of_post(body: BodyForm, head: ResponseHead<'_>) -> Plan {
    match body {
        _ if head.encoded => Plan::Withhold(doubt(head)),
        BodyForm::Json => Plan::Read(Reading::Json),
        BodyForm::EventStream => Plan::Read(Reading::Events),
        BodyForm::OddJson if !is_success(head) => Plan::Read(Reading::Page),
        BodyForm::OddEvents | BodyForm::OddJson => Plan::Withhold(Cause::MediaType),
        BodyForm::Opaque => Plan::Read(Reading::Page),
    }
}

/// A stream, or what comes in its place.
fn plan_of_get(body: BodyForm, head: ResponseHead<'_>) -> Plan {
    match body {
        BodyForm::EventStream if is_whole(head) => Plan::Read(Reading::Events),
        BodyForm::EventStream | BodyForm::OddEvents => Plan::Withhold(doubt(head)),
        _ if head.encoded && is_success(head) => Plan::Withhold(doubt(head)),
        _ if head.encoded => Plan::Untouched,
        BodyForm::Json if is_success(head) => Plan::Read(Reading::List),
        BodyForm::OddJson | BodyForm::Opaque if is_success(head) => Plan::Guess,
        BodyForm::Json => Plan::Read(Reading::Json),
        BodyForm::OddJson | BodyForm::Opaque => Plan::Read(Reading::Page),
    }
}

fn is_success(head: ResponseHead<'_>) -> bool {
    (200..300).contains(&head.status)
}

fn is_whole(head: ResponseHead<'_>) -> bool {
    head.status == 200 || !is_success(head)
}

/// Why a response is not read, going by its head.
fn doubt(head: ResponseHead<'_>) -> Cause {
    match () {
        () if head.encoded => Cause::encoded(&head.encoding()),
        () if !is_whole(head) => Cause::Status,
        () => Cause::MediaType,
    }
}
