//! Who can approve a call that needs it, and what that takes.

use super::environment::Environment;
use crate::matcher::path::Path;
use crate::number::Micros;
use crate::rate::limiter::Counter;
use crate::seal::Keys;

/// A way by which a call can be approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalWay {
    /// By a token that was given beforehand, and that Envoy has verified.
    Token,
    /// By a service that asks somebody.
    Approver,
    /// By the user at the agent, whom the agent's program asks.
    User,
}

impl ApprovalWay {
    /// The words in policies, answers and records, in the order in which the ways are tried.
    pub const WORDS: [(&'static str, ApprovalWay); 3] = [
        ("token", ApprovalWay::Token),
        ("approver", ApprovalWay::Approver),
        ("user", ApprovalWay::User),
    ];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        let row = ApprovalWay::WORDS.into_iter().find(|(_, way)| *way == self);
        row.map_or("", |(word, _)| word)
    }

    fn bit(self) -> u8 {
        match self {
            ApprovalWay::Token => 1,
            ApprovalWay::Approver => 2,
            ApprovalWay::User => 4,
        }
    }
}

/// Some of the ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApprovalWays(u8);

impl ApprovalWays {
    /// Whether this is one of them.
    #[must_use]
    pub fn have(self, way: ApprovalWay) -> bool {
        self.0 & way.bit() != 0
    }

    /// These, in the order in which they are tried.
    pub fn iter(self) -> impl Iterator<Item = ApprovalWay> {
        ApprovalWay::WORDS.into_iter().map(|(_, way)| way).filter(move |way| self.have(*way))
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, way: ApprovalWay) -> ApprovalWays {
        ApprovalWays(self.0 | way.bit())
    }
}

/// What approval a call needs. Any one of the ways is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// By whom; nobody can where several entries name nobody in common.
    pub by: ApprovalWays,
    /// How long a question, or what was said to it, holds, in seconds.
    pub expires: u32,
    /// Whether it is for one call; else for any number of identical ones, until it expires.
    pub once: bool,
}

impl Need {
    /// Whether somebody is asked for it; a token is only shown.
    #[must_use]
    pub fn asks(self) -> bool {
        self.by.have(ApprovalWay::Approver) || self.by.have(ApprovalWay::User)
    }

    /// The need of a call that two entries ask about: what is enough for both.
    #[must_use]
    pub fn and(self, other: Need) -> Need {
        Need {
            by: ApprovalWays(self.by.0 & other.by.0),
            expires: self.expires.min(other.expires),
            once: self.once || other.once,
        }
    }
}

/// The settings of approvals.
#[derive(Clone, Debug)]
pub struct Approvals {
    /// The environment variables of the VM that hold the secrets: the first must be there where users are asked, the others may.
    pub variables: Vec<Box<str>>,
    /// The keys that seal what clients carry for us, once the secrets have been read.
    pub keys: Option<Keys>,
    /// Whether clients of 2025-06-18 and 2025-11-25 are asked too, on a stream that is closed and resumed.
    pub legacy: bool,
    /// About how many used approvals are kept.
    pub max_entries: u32,
    /// The name of the verified token's payload in Envoy's metadata, in which approvals given beforehand stand.
    pub tokens: TokenSource,
    /// The service that asks somebody, where there is one.
    pub approver: Option<Approver>,
    /// How long a call is held while an approver thinks, in milliseconds.
    pub wait_millis: u32,
    /// Where an approval is good once: at every Envoy that has the secret, or at the one that asked.
    pub single_use: SingleUse,
    /// How often one caller may make somebody look.
    pub asks: Option<AskLimit>,
    /// For how long a call that was declined is refused without asking, in seconds.
    pub cooldown: u32,
}

/// Where an approval is good once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleUse {
    /// At any Envoy that has the secret: once for each of them.
    Any,
    /// At the Envoy that asked, and until it starts anew.
    Envoy,
}

impl SingleUse {
    /// The words in policies.
    pub const WORDS: [(&'static str, SingleUse); 2] =
        [("any", SingleUse::Any), ("envoy", SingleUse::Envoy)];
}

/// What a person is shown beside the call.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The author's text, in the place of the reason.
    pub text: Option<Box<str>>,
    /// The arguments that come first.
    pub show: Box<[Path]>,
}

/// How often one caller may make somebody look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskLimit {
    /// Where that is counted.
    pub counter: Counter,
    /// The most.
    pub max: Micros,
}

/// Where approvals stand that were given beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// `payload_in_metadata` of the provider in Envoy's `jwt_authn`.
    pub payload: Box<str>,
    /// The longest that a token may still be valid when it is used, in seconds.
    pub longest: u32,
    /// Whether it has to name the policy by its digest, so that a change of the policy voids it.
    pub pins_policy: bool,
}

/// A service that is asked whether a call may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approver {
    /// Envoy's cluster.
    pub cluster: Box<str>,
    /// `:authority` of the questions.
    pub authority: Box<str>,
    /// The path of the AuthZEN evaluation endpoint.
    pub path: Box<str>,
    /// The path of the access requests, below which the states of all requests are.
    pub requests: Box<str>,
    /// The environment variable that holds the `authorization` header, where there is one.
    pub variable: Option<Box<str>>,
    /// That header, once it has been read.
    pub authorization: Option<Box<str>>,
    /// How long one answer may take, in milliseconds.
    pub timeout_millis: u32,
    /// Whether the arguments themselves are sent, or only their digest.
    pub sends_arguments: bool,
    /// What links must begin with that agents are told.
    pub links: Vec<Box<str>>,
}

impl Approvals {
    /// Reads the secrets that the configuration names. `asks_users` says whether any rule does.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn unlock(
        &mut self,
        audience: &str,
        asks_users: bool,
        environment: &Environment,
    ) -> Result<(), String> {
        if asks_users {
            environment.needs("approval by the user needs a secret", &self.variables)?;
        }
        let secrets = environment.secrets(&self.variables, "approvals")?;
        self.keys = Keys::new(&secrets, "mcp-policy approval 1", audience);
        let Some(approver) = &mut self.approver else { return Ok(()) };
        let Some(name) = &approver.variable else { return Ok(()) };
        let value = (environment.read)(name).and_then(|value| String::from_utf8(value).ok());
        let value = value.filter(|value| value.bytes().all(|byte| (b' '..0x7f).contains(&byte)));
        let Some(value) = value else {
            let needs = "approvals.approver needs its authorization";
            return Err(environment.lacks(needs, "text in ", name));
        };
        approver.authorization = Some(value.into());
        Ok(())
    }
}
