//! Asking a service whether a call may run: OpenID AuthZEN 1.0 access evaluation, and its Access Request and Approval Profile (ARAP,
//! working group draft 1), which has words for "not yet: somebody has to be asked".
//!
//! What comes back approves only if it says so exactly. Whatever else comes, or nothing, does not.

mod answer;
mod body;

pub use answer::{Evaluated, Progress};
pub use body::Question;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::ask::{Answer, Ask, AskBody, AskId};
use crate::digest::of_parts;
use crate::once::{Use, UseId};
use crate::policy::approvals::Approver;
use crate::time::UnixMillis;
use answer::{evaluated, progress};

/// How long a state is left alone before it is looked at again, in milliseconds.
const POLL_MILLIS: u64 = 2000;

/// Longest that a used approval is kept, in seconds.
const MAX_KEPT_SECONDS: u64 = 86_400;

/// The questions about one call, one after the other.
#[derive(Debug)]
pub struct Inquiry {
    approver: Approver,
    question: Question,
    phase: Phase,
    /// The number of the question that is under way, or was last.
    ask: AskId,
    /// Whether a request that has expired was made anew.
    renewed: bool,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// May the call run?
    Evaluating,
    /// Somebody is to be asked.
    Requesting,
    /// How far is that?
    Polling(Task),
    /// Nothing is under way until then.
    Resting(Task, UnixMillis),
    /// It is approved, by this: may the call run now?
    Reevaluating(GivenApproval),
}

/// A request that somebody is thinking about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id, as the approver gave it.
    pub id: String,
    /// The path of its state.
    pub path: String,
    /// When it expires, as the approver says it.
    pub expires_at: Option<String>,
    /// Where the person who is responsible for the call can follow it.
    pub link: Option<String>,
}

impl Task {
    /// As text, for a state that a client carries.
    #[must_use]
    pub fn written(&self) -> String {
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        // None of them has a line break: all are visible ASCII.
        [self.id.clone(), self.path.clone(), optional(&self.expires_at), optional(&self.link)]
            .join("\n")
    }

    /// Reads what [`Task::written`] wrote.
    #[must_use]
    pub fn read(text: &str) -> Option<Task> {
        let mut lines = text.split('\n').map(str::to_owned);
        let (id, path) = (lines.next()?, lines.next()?);
        let mut optional =
            || Some(lines.next()?).map(|line| Some(line).filter(|line| !line.is_empty()));
        let (expires_at, link) = (optional()?, optional()?);
        Some(Task { id, path, expires_at, link })
    }
}

/// What a person said, as the approver handed it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenApproval {
    /// Its id.
    pub id: String,
    /// All of it, as JSON: it goes back unchanged.
    pub written: String,
    /// Until when it holds, in seconds since the epoch.
    pub until: Option<u64>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This is asked.
    Ask(Ask),
    /// Somebody is thinking.
    Rest,
    /// The call may run; by this approval, which can be used once.
    Approved(Option<(String, Use)>),
    /// The approval has let a call run already.
    Used,
    /// Somebody said no.
    Declined,
    /// Nobody knows what the approver says.
    Unavailable,
}

impl Inquiry {
    /// Begins by asking whether the call may run; or by looking after a task that was made before.
    pub fn begin(approver: &Approver, question: Question, task: Option<Task>) -> (Inquiry, Ask) {
        let phase = task.map_or(Phase::Evaluating, Phase::Polling);
        let approver = approver.clone();
        let mut inquiry = Inquiry { approver, question, phase, ask: AskId(0), renewed: false };
        let ask = inquiry.ask_now();
        (inquiry, ask)
    }

    /// Whether this is the question that is under way.
    #[must_use]
    pub fn awaits(&self, ask: AskId) -> bool {
        self.ask == ask && !matches!(self.phase, Phase::Resting(..))
    }

    /// The request that somebody is thinking about.
    #[must_use]
    pub fn task(&self) -> Option<&Task> {
        match &self.phase {
            Phase::Polling(task) | Phase::Resting(task, _) => Some(task),
            Phase::Evaluating | Phase::Requesting | Phase::Reevaluating(_) => None,
        }
    }

    /// Whether what is asked next makes somebody look.
    #[must_use]
    pub fn is_new_request(&self) -> bool {
        self.phase == Phase::Requesting
    }

    /// Time has passed: it may be time to look again.
    pub fn tick(&mut self, now: UnixMillis) -> Option<Ask> {
        let Phase::Resting(task, until) = &self.phase else { return None };
        if now < *until {
            return None;
        }
        self.phase = Phase::Polling(task.clone());
        Some(self.next_ask())
    }

    /// An answer has come.
    pub fn answered(&mut self, answer: &Answer<'_>, now: UnixMillis) -> Next {
        match &self.phase {
            Phase::Evaluating => match evaluated(answer) {
                Some(Evaluated::Permitted) => Next::Approved(None),
                Some(Evaluated::Denied | Evaluated::Consumed) => Next::Declined,
                Some(Evaluated::Requestable(denial)) => {
                    self.question.denial = Some(denial);
                    self.phase = Phase::Requesting;
                    Next::Ask(self.next_ask())
                }
                None => Next::Unavailable,
            },
            Phase::Reevaluating(approval) => match evaluated(answer) {
                Some(Evaluated::Permitted) => Next::Approved(Some(approval.used(now))),
                Some(Evaluated::Consumed) => Next::Used,
                Some(Evaluated::Denied | Evaluated::Requestable(_)) => Next::Declined,
                None => Next::Unavailable,
            },
            Phase::Requesting | Phase::Polling(_) => {
                let known = self.task().cloned();
                match progress(answer, &self.approver, known) {
                    Some(Progress::Pending(task)) => {
                        let until = UnixMillis(now.0.saturating_add(POLL_MILLIS));
                        self.phase = Phase::Resting(task, until);
                        Next::Rest
                    }
                    Some(Progress::Approved(approval)) => {
                        self.phase = Phase::Reevaluating(approval);
                        Next::Ask(self.next_ask())
                    }
                    Some(Progress::Denied) => Next::Declined,
                    Some(Progress::Over) if !self.renewed => {
                        self.renewed = true;
                        self.question.denial = None;
                        self.phase = Phase::Evaluating;
                        Next::Ask(self.next_ask())
                    }
                    Some(Progress::Over) | None => Next::Unavailable,
                }
            }
            Phase::Resting(..) => Next::Rest,
        }
    }

    fn next_ask(&mut self) -> Ask {
        self.ask = AskId(self.ask.0.wrapping_add(1));
        self.ask_now()
    }

    fn ask_now(&mut self) -> Ask {
        let approver = &self.approver;
        let mut headers = Vec::new();
        let (path, body) = match &self.phase {
            Phase::Evaluating => (&*approver.path, AskBody::Json(self.question.evaluation(None))),
            Phase::Reevaluating(approval) => {
                (&*approver.path, AskBody::Json(self.question.evaluation(Some(&approval.written))))
            }
            Phase::Requesting => {
                headers.push(("idempotency-key", self.question.idempotency_key()));
                (&*approver.requests, AskBody::Json(self.question.request()))
            }
            Phase::Polling(task) | Phase::Resting(task, _) => (&*task.path, AskBody::Nothing),
        };
        let authorization = approver.authorization.iter();
        headers.extend(authorization.map(|value| ("authorization", value.to_string())));
        let request_id = self.question.request_id.iter();
        headers.extend(request_id.map(|id| ("x-request-id", id.clone())));
        Ask {
            id: self.ask,
            cluster: approver.cluster.clone(),
            authority: approver.authority.clone(),
            path: path.into(),
            headers,
            body,
            timeout_millis: approver.timeout_millis,
        }
    }
}

impl GivenApproval {
    /// By which it is used once, and its id.
    fn used(&self, now: UnixMillis) -> (String, Use) {
        let digest =
            Sha256::new().chain_update("mcp-policy approval id 1\0").chain_update(&self.id);
        let id = UseId(digest.finalize().first_chunk().copied().unwrap_or_default());
        let longest = now.seconds().saturating_add(MAX_KEPT_SECONDS);
        let expires = self.until.map_or(longest, |until| until.min(longest));
        (self.id.clone(), Use { id, most: 1, expires })
    }
}

/// A digest of some parts as base64url.
fn key_of(parts: &[&[u8]]) -> String {
    Base64UrlUnpadded::encode_string(&of_parts(parts))
}
