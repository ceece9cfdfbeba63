//! What is said of a tool: its class, how much harm a call can do, what it touches, and how sure that is.

use std::fmt;

use clap::ValueEnum;

/// What a tool does at worst, from the least to the most dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(in crate::cli::scan) enum ToolClass {
    Read,
    /// Nothing says what it does. Worse than a read, since it may be anything.
    Unknown,
    Write,
    Destructive,
    Execute,
    Financial,
}

/// How much harm a call can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli::scan) enum ToolSeverity {
    Low,
    Medium,
    High,
    Critical,
}

/// How sure a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli::scan) enum Confidence {
    Low,
    Medium,
    High,
}

/// What a tool touches, whatever its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::cli::scan) enum ToolMark {
    /// It reaches any address, or sends something to people: a way out.
    OpenWorld,
    /// It returns what is somebody's own: mail, files, pages, secrets.
    PrivateData,
    /// It returns what strangers wrote. Not shown beside a tool, but a part of combinations.
    UntrustedContent,
}

/// What an argument takes that deserves a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli::scan) enum ArgumentFlag {
    Credential,
    Code,
    Sql,
    Path,
    Url,
    Bulk,
}

/// An argument with a flag, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::scan) struct FlaggedArgument {
    /// Its name; with dots where it is within another.
    pub(in crate::cli::scan) name: String,
    pub(in crate::cli::scan) flag: ArgumentFlag,
    pub(in crate::cli::scan) evidence: String,
}

/// A mark, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::scan) struct MarkFound {
    pub(in crate::cli::scan) mark: ToolMark,
    pub(in crate::cli::scan) evidence: String,
}

/// What an unknown tool probably is, by what its server says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::scan) struct ClassProposal {
    pub(in crate::cli::scan) class: ToolClass,
    pub(in crate::cli::scan) evidence: Vec<String>,
}

/// What a tool was taken for, and why.
#[derive(Clone, Debug)]
pub(in crate::cli::scan) struct Classification {
    pub(in crate::cli::scan) class: ToolClass,
    pub(in crate::cli::scan) severity: ToolSeverity,
    pub(in crate::cli::scan) confidence: Confidence,
    pub(in crate::cli::scan) marks: Vec<MarkFound>,
    pub(in crate::cli::scan) flags: Vec<FlaggedArgument>,
    pub(in crate::cli::scan) proposal: Option<ClassProposal>,
    pub(in crate::cli::scan) evidence: Vec<String>,
}

impl Classification {
    /// One that nothing has been added to yet.
    pub(in crate::cli::scan) fn new(
        class: ToolClass,
        confidence: Confidence,
        evidence: String,
    ) -> Classification {
        Classification {
            class,
            severity: ToolSeverity::Low,
            confidence,
            marks: Vec::new(),
            flags: Vec::new(),
            proposal: None,
            evidence: vec![evidence],
        }
    }

    /// Makes it at least that bad. Where it is already, nothing is said.
    pub(in crate::cli::scan) fn raise(
        &mut self,
        class: ToolClass,
        confidence: Confidence,
        evidence: String,
    ) {
        if class > self.class {
            self.class = class;
            self.confidence = confidence;
            self.evidence.push(evidence);
        }
    }

    /// Makes the severity at least that, and says why if it was less.
    pub(in crate::cli::scan) fn aggravate(&mut self, severity: ToolSeverity, evidence: &str) {
        if severity > self.severity {
            self.severity = severity;
            if !evidence.is_empty() {
                self.evidence.push(evidence.to_owned());
            }
        }
    }

    pub(in crate::cli::scan) fn mark(&mut self, mark: ToolMark, evidence: String) {
        if !self.is_marked(mark) {
            self.marks.push(MarkFound { mark, evidence });
            self.marks.sort_by_key(|found| found.mark);
        }
    }

    pub(in crate::cli::scan) fn is_marked(&self, mark: ToolMark) -> bool {
        self.marks.iter().any(|found| found.mark == mark)
    }

    /// The marks that are shown beside a tool.
    pub(in crate::cli::scan) fn shown_marks(&self) -> impl Iterator<Item = &MarkFound> {
        self.marks.iter().filter(|found| found.mark != ToolMark::UntrustedContent)
    }

    pub(in crate::cli::scan) fn takes(&self, flag: ArgumentFlag) -> bool {
        self.flags.iter().any(|flagged| flagged.flag == flag)
    }
}

impl ToolClass {
    pub(in crate::cli::scan) fn word(self) -> &'static str {
        match self {
            ToolClass::Read => "read",
            ToolClass::Unknown => "unknown",
            ToolClass::Write => "write",
            ToolClass::Destructive => "destructive",
            ToolClass::Execute => "execute",
            ToolClass::Financial => "financial",
        }
    }

    pub(in crate::cli::scan) fn severity(self) -> ToolSeverity {
        match self {
            ToolClass::Read => ToolSeverity::Low,
            ToolClass::Unknown | ToolClass::Write => ToolSeverity::Medium,
            ToolClass::Destructive => ToolSeverity::High,
            ToolClass::Execute | ToolClass::Financial => ToolSeverity::Critical,
        }
    }
}

impl fmt::Display for ToolClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.word())
    }
}

impl fmt::Display for ToolSeverity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ToolSeverity::Low => "low",
            ToolSeverity::Medium => "medium",
            ToolSeverity::High => "high",
            ToolSeverity::Critical => "critical",
        })
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        })
    }
}

impl fmt::Display for ToolMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ToolMark::OpenWorld => "open_world",
            ToolMark::PrivateData => "private_data",
            ToolMark::UntrustedContent => "untrusted_content",
        })
    }
}

impl fmt::Display for ArgumentFlag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ArgumentFlag::Credential => "credential",
            ArgumentFlag::Code => "code",
            ArgumentFlag::Sql => "sql",
            ArgumentFlag::Path => "path",
            ArgumentFlag::Url => "url",
            ArgumentFlag::Bulk => "bulk",
        })
    }
}
