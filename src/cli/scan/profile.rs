//! What a first policy says of each class of tools.

use clap::ValueEnum;

use crate::cli::tree::{Map, Node};
use mcp_policy::tools::classify::kinds::{Classification, ToolClass, ToolSeverity};

/// How much a first policy lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// Reads pass; the user is asked about writes; the rest is denied.
    Cautious,
    /// Reads and writes pass, within limits; the user is asked about what is unknown, destroys or costs; running code is denied.
    Balanced,
    /// Everything passes, within limits.
    Open,
}

/// What becomes of the calls of one class.
enum Treatment {
    Deny,
    Approve,
    /// So many a minute for each tool.
    Rate(u32),
    /// So many a minute and a day, over all tools of the class.
    Pool(u32, u32),
}

impl Profile {
    fn treatment(self, class: ToolClass) -> Treatment {
        match (self, class) {
            (Profile::Cautious, ToolClass::Read) => Treatment::Rate(60),
            (Profile::Cautious, ToolClass::Write) => Treatment::Approve,
            (
                Profile::Cautious,
                ToolClass::Unknown
                | ToolClass::Destructive
                | ToolClass::Execute
                | ToolClass::Financial,
            )
            | (Profile::Balanced, ToolClass::Execute) => Treatment::Deny,
            (Profile::Balanced, ToolClass::Read) => Treatment::Rate(120),
            (Profile::Balanced, ToolClass::Write) => Treatment::Pool(20, 200),
            (
                Profile::Balanced,
                ToolClass::Unknown | ToolClass::Destructive | ToolClass::Financial,
            ) => Treatment::Approve,
            (Profile::Open, ToolClass::Read) => Treatment::Rate(300),
            (Profile::Open, ToolClass::Write) => Treatment::Pool(60, 2000),
            (Profile::Open, ToolClass::Unknown | ToolClass::Destructive | ToolClass::Execute) => {
                Treatment::Pool(10, 100)
            }
            (Profile::Open, ToolClass::Financial) => Treatment::Pool(2, 20),
        }
    }

    /// What becomes of a tool: what its class says, unless reading it is itself a high risk.
    fn of(self, judgement: &Classification) -> Treatment {
        let secret = judgement.class == ToolClass::Read && judgement.severity >= ToolSeverity::High;
        match self {
            Profile::Cautious if secret => Treatment::Deny,
            Profile::Balanced if secret => Treatment::Approve,
            Profile::Cautious | Profile::Balanced | Profile::Open => {
                self.treatment(judgement.class)
            }
        }
    }

    /// The entry of a tool.
    pub(super) fn entry(self, judgement: &Classification) -> Map {
        let class = judgement.class;
        let mut entry = Map::default();
        match self.of(judgement) {
            Treatment::Deny => {
                entry.push("action", Node::text("deny"));
                entry.push("reason", Node::text(reason(class)));
            }
            Treatment::Approve => {
                entry.push("action", Node::text("require_approval"));
                entry.push("approval", Node::text("user"));
                entry.push("reason", Node::text("A person has to approve this."));
            }
            Treatment::Rate(max) => entry.push("rate_limit", Node::Text(format!("{max}/minute"))),
            Treatment::Pool(minute, day) => {
                let limit = |window: &str, max: u32| {
                    let counter = format!("{}_per_{window}", class.word());
                    Node::map([
                        ("counter", Node::Text(counter)),
                        ("window", Node::text(window)),
                        ("max", Node::number(max)),
                    ])
                };
                entry.push("limits", Node::list([limit("minute", minute), limit("day", day)]));
            }
        }
        entry
    }

    /// A sentence for the head of the policy.
    pub(super) fn about(self) -> &'static str {
        match self {
            Profile::Cautious => {
                "cautious: reads pass; the user is asked about writes; the rest is denied"
            }
            Profile::Balanced => {
                "balanced: reads and writes pass within limits; the user is asked about what is unknown, destroys or costs; running code is denied"
            }
            Profile::Open => "open: everything passes within limits",
        }
    }
}

fn reason(class: ToolClass) -> &'static str {
    match class {
        ToolClass::Read => "What is secret or private is not for an agent.",
        ToolClass::Unknown => "Nobody knows what this does.",
        ToolClass::Write => "Changing this is not allowed.",
        ToolClass::Destructive => "What cannot be undone is not for an agent.",
        ToolClass::Execute => "Running code or commands is not for an agent.",
        ToolClass::Financial => "Moving money is not for an agent.",
    }
}
