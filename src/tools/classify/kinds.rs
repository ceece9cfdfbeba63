//! What is said of a tool: its class, how much harm a call can do, what it touches, and how sure that is.

use std::fmt;

/// What a tool does at worst, from the least to the most dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ToolClass {
    /// It only reads.
    Read,
    /// Nothing says what it does. Worse than a read, since it may be anything.
    Unknown,
    /// It adds or changes something.
    Write,
    /// It removes or stops something.
    Destructive,
    /// It runs what the caller made up.
    Execute,
    /// It moves money.
    Financial,
}

/// How much harm a call can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolSeverity {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// As much as can be.
    Critical,
}

/// How sure a class is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// A guess.
    Low,
    /// Likely.
    Medium,
    /// Its name or arguments say so.
    High,
}

/// What a tool touches, whatever its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToolMark {
    /// It reaches any address, or sends something to people: a way out.
    OpenWorld,
    /// It returns what is somebody's own: mail, files, pages, secrets.
    PrivateData,
    /// It returns what strangers wrote. Not shown beside a tool, but a part of combinations.
    UntrustedContent,
}

/// What an argument takes that deserves a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArgumentFlag {
    /// A secret.
    Credential,
    /// Code or a command.
    Code,
    /// SQL.
    Sql,
    /// A place in a file system.
    Path,
    /// An address.
    Url,
    /// Many at once, or everything.
    Bulk,
}

/// An argument with a flag, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlaggedArgument {
    /// Its name; with dots where it is within another.
    pub name: String,
    /// What it takes.
    pub flag: ArgumentFlag,
    /// Why, in words.
    pub evidence: String,
}

/// A mark, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkFound {
    /// What it touches.
    pub mark: ToolMark,
    /// Why, in words.
    pub evidence: String,
}

/// What an unknown tool probably is, by what its server says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassProposal {
    /// What it does at worst.
    pub class: ToolClass,
    /// Why, in words.
    pub evidence: Vec<String>,
}

/// What a tool was taken for, and why.
#[derive(Clone, Debug)]
pub struct Classification {
    /// What it does at worst.
    pub class: ToolClass,
    /// How much harm a call can do.
    pub severity: ToolSeverity,
    /// How sure the class is.
    pub confidence: Confidence,
    /// What it touches.
    pub marks: Vec<MarkFound>,
    /// Arguments that deserve a condition.
    pub flags: Vec<FlaggedArgument>,
    /// What it probably is, where the class is unknown.
    pub proposal: Option<ClassProposal>,
    /// Why, in words.
    pub evidence: Vec<String>,
}

impl Classification {
    /// One that nothing has been added to yet.
    #[must_use]
    pub fn new(class: ToolClass, confidence: Confidence, evidence: String) -> Classification {
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
    pub fn raise(&mut self, class: ToolClass, confidence: Confidence, evidence: String) {
        if class > self.class {
            self.class = class;
            self.confidence = confidence;
            self.evidence.push(evidence);
        }
    }

    /// Makes the severity at least that, and says why if it was less.
    pub fn aggravate(&mut self, severity: ToolSeverity, evidence: &str) {
        if severity > self.severity {
            self.severity = severity;
            if !evidence.is_empty() {
                self.evidence.push(evidence.to_owned());
            }
        }
    }

    /// Adds a mark, unless it has it.
    pub fn mark(&mut self, mark: ToolMark, evidence: String) {
        if !self.is_marked(mark) {
            self.marks.push(MarkFound { mark, evidence });
            self.marks.sort_by_key(|found| found.mark);
        }
    }

    /// Whether it has this mark.
    #[must_use]
    pub fn is_marked(&self, mark: ToolMark) -> bool {
        self.marks.iter().any(|found| found.mark == mark)
    }

    /// The marks that are shown beside a tool.
    pub fn shown_marks(&self) -> impl Iterator<Item = &MarkFound> {
        self.marks.iter().filter(|found| found.mark != ToolMark::UntrustedContent)
    }

    /// Whether an argument has this flag.
    #[must_use]
    pub fn takes(&self, flag: ArgumentFlag) -> bool {
        self.flags.iter().any(|flagged| flagged.flag == flag)
    }
}

impl ToolClass {
    /// How much harm a call of this class can do, when nothing else is known.
    #[must_use]
    pub fn severity(self) -> ToolSeverity {
        match self {
            ToolClass::Read => ToolSeverity::Low,
            ToolClass::Unknown | ToolClass::Write => ToolSeverity::Medium,
            ToolClass::Destructive => ToolSeverity::High,
            ToolClass::Execute | ToolClass::Financial => ToolSeverity::Critical,
        }
    }
}

/// Gives each kind its words, as people, files and programs have them.
macro_rules! words {
    ($kind:ident: $($variant:ident $word:literal),+) => {
        impl $kind {
            /// Every one, in order.
            pub const ALL: &[$kind] = &[$($kind::$variant),+];

            /// Its word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $($kind::$variant => $word,)+
                }
            }

            /// The one that has this word.
            #[must_use]
            pub fn of(word: &str) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|each| each.word() == word)
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.word())
            }
        }
    };
}

words!(ToolClass: Read "read", Unknown "unknown", Write "write", Destructive "destructive", Execute "execute", Financial "financial");
words!(ToolSeverity: Low "low", Medium "medium", High "high", Critical "critical");
words!(Confidence: Low "low", Medium "medium", High "high");
words!(ToolMark: OpenWorld "open_world", PrivateData "private_data", UntrustedContent "untrusted_content");
words!(ArgumentFlag: Credential "credential", Code "code", Sql "sql", Path "path", Url "url", Bulk "bulk");
