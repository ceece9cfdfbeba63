//! What a client carries for us in `requestState`, sealed: what was asked, or that the server asks something itself.

use super::call::CallDigest;
use crate::once::UseId;
use crate::rate::table::CallerId;
use crate::seal::{Keys, NONCE_BYTES};
use crate::world::Random;

/// What a state of ours begins with.
pub const PREFIX: &str = "mp1.";

const QUESTION: u8 = 1;
const CHAIN: u8 = 2;
const TASK: u8 = 3;
const ELICITED: u8 = 4;

/// A state that a client carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedState {
    /// The call that it is for.
    pub call: CallDigest,
    /// From when on it is worth nothing, in seconds since the epoch.
    pub expires: u64,
    /// By which it is used once.
    pub id: UseId,
    /// How many rounds the client has made.
    pub leg: u8,
    /// What it is.
    pub step: CarriedStep,
}

/// What a state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarriedStep {
    /// The user was asked.
    Question,
    /// The call was approved, and the server has asked something: its own state, if it gave one.
    Chain(Option<String>),
    /// An approver is thinking about this task.
    Task(String),
    /// The user was asked on a stream, for the request with this id.
    Elicited(String),
}

impl CarriedState {
    /// Seals it for a caller.
    #[must_use]
    pub fn seal(&self, keys: &Keys, caller: CallerId, random: &Random) -> Option<String> {
        let (kind, payload) = match &self.step {
            CarriedStep::Question => (QUESTION, Vec::new()),
            CarriedStep::Chain(None) => (CHAIN, Vec::new()),
            // A mark before it: a state may be an empty text.
            CarriedStep::Chain(Some(inner)) => (CHAIN, [b"=", inner.as_bytes()].concat()),
            CarriedStep::Task(task) => (TASK, task.as_bytes().to_vec()),
            CarriedStep::Elicited(id) => (ELICITED, id.as_bytes().to_vec()),
        };
        let expires = self.expires.to_le_bytes();
        let head: [&[u8]; 5] = [&[kind], &expires, &self.id.0, &self.call.0, &[self.leg]];
        let bytes = [&head.concat()[..], &payload].concat();
        let nonce = random.first_chunk::<NONCE_BYTES>()?;
        Some(format!("{PREFIX}{}", keys.seal(caller, nonce, &bytes)?))
    }

    /// Opens one that this caller carries.
    #[must_use]
    pub fn open(keys: &Keys, caller: CallerId, text: &str) -> Option<CarriedState> {
        let bytes = keys.open(caller, text.strip_prefix(PREFIX)?)?;
        let (&kind, rest) = bytes.split_first()?;
        let (expires, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let (call, rest) = rest.split_first_chunk()?;
        let (&leg, payload) = rest.split_first()?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let step = match (kind, payload.split_first()) {
            (QUESTION, None) => CarriedStep::Question,
            (CHAIN, None) => CarriedStep::Chain(None),
            (CHAIN, Some((b'=', inner))) => CarriedStep::Chain(Some(text(inner)?)),
            (TASK, Some(_)) => CarriedStep::Task(text(payload)?),
            (ELICITED, Some(_)) => CarriedStep::Elicited(text(payload)?),
            _ => return None,
        };
        let (id, call) = (UseId(*id), CallDigest(*call));
        Some(CarriedState { call, expires: u64::from_le_bytes(*expires), id, leg, step })
    }
}

/// The id in random bytes.
#[must_use]
pub fn drawn(random: &Random) -> UseId {
    UseId(random.last_chunk().copied().unwrap_or_default())
}
