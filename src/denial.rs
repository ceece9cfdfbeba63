//! Why a call is denied. A denial is owned, so that it can outlive the body that it is about.

use std::borrow::Cow;
use std::sync::Arc;

use crate::matcher::Mismatch;
use crate::mcp::call::Kind;
use crate::number::Micros;
use crate::policy::compiled::Policy;
use crate::policy::rules::RuleId;
use crate::reason::Reason;

/// Why a call is denied, and by which rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: Reason,
    /// What is denied.
    pub kind: Kind,
    /// The rule that decided, if one did.
    pub rule: Option<RuleId>,
    /// What else there is to say.
    pub detail: Detail,
}

/// What a denial says beyond its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    None,
    /// The argument whose condition does not hold.
    Path(Arc<str>),
    /// The argument that cannot be decided, with what it needed and what it had.
    Mismatch(Arc<str>, Mismatch),
    /// What is told in place of the reason: the name is hidden, and no entry lists it, so it must answer as others that no entry lists.
    Unlisted {
        /// The reason that such a name has.
        reason: Reason,
        /// Its rule.
        rule: RuleId,
    },
    /// A number among the arguments stands for several, so that nobody can approve what will run.
    Inexact,
    /// The approval that is missing, or no good.
    Approval(Box<ApprovalDetail>),
    /// The limit that is reached.
    Limit {
        /// The counter, by its index in the policy; none where it is no rule's.
        counter: Option<usize>,
        /// The most that the window admits.
        max: Micros,
        /// What it still admits.
        remaining: Micros,
        /// Its length.
        window_seconds: u64,
        /// Milliseconds until the call could pass.
        retry_after: Option<u64>,
    },
}

impl Detail {
    /// The reason of a call that cannot be counted for this.
    #[must_use]
    pub fn uncounted(&self) -> Reason {
        match self {
            // Equal calls are not known as equal.
            Detail::Inexact => Reason::ValueUndecidable,
            Detail::None | Detail::Path(_) | Detail::Mismatch(..) | Detail::Unlisted { .. } => {
                Reason::InvalidIncrement
            }
            Detail::Approval(_) | Detail::Limit { .. } => Reason::InvalidIncrement,
        }
    }
}

/// What is told of an approval that is missing, or is no good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalDetail {
    /// Who could give it.
    pub by: Vec<&'static str>,
    /// The digest of the arguments that it is about.
    pub arguments_digest: Option<String>,
    /// The digest of the policy that asks.
    pub policy_digest: Option<String>,
    /// What the client would need, so that its user could be asked.
    pub missing: Option<&'static str>,
    /// What of a token does not match the call.
    pub mismatch: Option<&'static str>,
    /// The request that somebody is thinking about.
    pub id: Option<String>,
    /// Where it can be followed.
    pub url: Option<String>,
    /// Until when it can be approved.
    pub expires_at: Option<String>,
    /// When to call again, in milliseconds.
    pub retry_after: Option<u64>,
}

impl Denial {
    /// A denial by a rule, with nothing more to say.
    #[must_use]
    pub fn by(rule: RuleId, kind: Kind, reason: Reason) -> Denial {
        Denial { reason, kind, rule: Some(rule), detail: Detail::None }
    }

    /// A denial that no rule made.
    #[must_use]
    pub fn without_rule(kind: Kind, reason: Reason) -> Denial {
        Denial { reason, kind, rule: None, detail: Detail::None }
    }

    /// The denial as the agent is told it; the record has it as it is.
    #[must_use]
    pub fn told(&self) -> Cow<'_, Denial> {
        match self.detail {
            Detail::Unlisted { reason, rule } => Cow::Owned(Denial::by(rule, self.kind, reason)),
            Detail::None
            | Detail::Path(_)
            | Detail::Mismatch(..)
            | Detail::Inexact
            | Detail::Approval(_)
            | Detail::Limit { .. } => Cow::Borrowed(self),
        }
    }

    /// When the call may come again, in whole seconds (RFC 9110, `Retry-After`): never sooner than it could pass.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let millis = match &self.detail {
            Detail::Limit { retry_after, .. } => *retry_after,
            Detail::Approval(approval) => approval.retry_after,
            Detail::None
            | Detail::Path(_)
            | Detail::Mismatch(..)
            | Detail::Inexact
            | Detail::Unlisted { .. } => None,
        };
        millis.map(|millis| millis.div_ceil(1000))
    }

    /// JSON Pointer to the rule in the policy; empty where none decided.
    #[must_use]
    pub fn pointer<'p>(&self, policy: &'p Policy) -> &'p str {
        self.rule.map_or("", |rule| policy.rules.pointer(rule))
    }

    /// The author's text, where he wrote one for this.
    #[must_use]
    pub fn text<'p>(&self, policy: &'p Policy) -> Option<&'p str> {
        let row = policy.rules.get(self.rule?).filter(|_| self.reason.is_authored())?;
        row.text.as_deref()
    }
}
