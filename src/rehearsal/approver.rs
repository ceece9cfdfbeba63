//! The approver on the stage: it asks somebody about everything, and hears what the test says.

use std::cell::Cell;

use crate::ask::Ask;

/// What comes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// A yes.
    Accept,
    /// A no.
    Decline,
    /// Nothing yet.
    Pending,
    /// A yes that has been used before.
    Used,
}

impl Consent {
    /// The words in tests.
    pub const WORDS: [(&'static str, Consent); 4] = [
        ("accept", Consent::Accept),
        ("decline", Consent::Decline),
        ("pending", Consent::Pending),
        ("used", Consent::Used),
    ];
}

/// An approver that answers the questions about one call.
pub(super) struct StagedApprover {
    consent: Consent,
    /// By which all that it says is told apart from what another one says.
    number: u64,
    requested: Cell<bool>,
}

impl StagedApprover {
    pub(super) fn new(consent: Consent, number: u64) -> StagedApprover {
        StagedApprover { consent, number, requested: Cell::new(false) }
    }

    /// Answers as AuthZEN and its Access Request and Approval Profile have it.
    pub(super) fn answer(&self, ask: &Ask, requests: &str) -> String {
        let number = self.number;
        if ask.json().is_some() && *ask.path != *requests {
            return match self.requested.get() {
                true => r#"{"decision":true}"#.to_owned(),
                false => format!(
                    r#"{{"decision":false,"context":{{"evaluation_id":"e{number}","access_request":{{}}}}}}"#
                ),
            };
        }
        self.requested.set(true);
        let result = match self.consent {
            Consent::Accept | Consent::Used => format!(
                r#""approved","result":{{"mode":"reevaluate","approval":{{"id":"rehearsed-{number}"}}}}"#
            ),
            Consent::Decline => r#""denied""#.to_owned(),
            Consent::Pending => r#""pending""#.to_owned(),
        };
        format!(
            r#"{{"task":{{"id":"rehearsed-{number}","status_endpoint":"{requests}/{number}","status":{result}}}}}"#
        )
    }
}
