//! Problems of a document: a stable code, the place, what was found, what was expected, and the cure.

use std::fmt;

/// A problem that the author of a document should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of problem.
    pub code: Code,
    /// Whether it refuses the document.
    pub severity: Severity,
    /// The place in the document, such as `tools.search.limits[0].window`; empty for the whole of it.
    pub place: String,
    /// What is wrong: lower case, one line, no final period, the author's words in back-ticks.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The earlier place that it contradicts, where there is one.
    pub earlier: Option<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is legal, but surely not what was meant.
    Warning,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// The kinds of problems. Codes are stable: a code is never given another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The code as it is printed.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The document is not JSON.
    NotJson = "P001",
    /// The configuration came as a protobuf Struct.
    ProtobufStruct = "P002",
    /// A value has the wrong type.
    WrongType = "P003",
    /// A field that does not exist.
    UnknownField = "P004",
    /// A key is there twice.
    DuplicateKey = "P005",
    /// A required field is missing.
    MissingField = "P006",
    /// A word that is not one of those allowed.
    UnknownWord = "P007",
    /// A path that cannot be read as one.
    BadPath = "P008",
    /// The value does not go with the operator.
    BadOperand = "P009",
    /// A pattern that does not compile, or is too large.
    BadPattern = "P010",
    /// A window that cannot be read as one.
    BadWindow = "P011",
    /// A number outside its range.
    BadNumber = "P012",
    /// Limits that share a counter disagree.
    CounterConflict = "P013",
    /// A condition reads a counter that nothing counts.
    UnknownCounter = "P014",
    /// Fields that do not go together.
    Contradiction = "P015",
    /// Something that does nothing.
    NoEffect = "P016",
    /// A name of callers that `identity.keys` does not have.
    UnknownKey = "P018",
    /// A positive operator on `[*]` in an assertion binds one element, not all.
    AnyElement = "P101",
    /// An entry, a check or a limit that no call can reach.
    Unreachable = "P102",
    /// A counter that nothing limits or reads.
    IdleCounter = "P103",
    /// A pattern that permits a path or URL wherever it occurs in it.
    Unanchored = "P104",
    /// Every call is allowed.
    AllowsEverything = "P105",
    /// A list that is there and empty.
    EmptyList = "P106",
    /// A limit that no call can keep.
    ImpossibleLimit = "P107",
    /// A text for the agent that is blank.
    EmptyText = "P108",
    /// A tool's name with white space or invisible characters around it.
    OuterSpace = "P109",
    /// A limit by session where sessions are not trusted.
    UntrustedSession = "P110",
    /// A field that changes nothing here.
    Redundant = "P111",
    /// Counts that are given back on the word of an answer, which the agent can choose.
    TrustsAgent = "P112",
    /// A limit by callers whom anybody can invent.
    InventedCallers = "P113",
    /// Paths pass unread, and no path is said to speak MCP.
    UnplacedMcp = "P115",
    /// Callers who are asked about and can be anonymous: one could use another's approval.
    AnonymousApproval = "P116",
    /// An entry that asks for approval, and nobody can give it.
    NobodyApproves = "P117",
    /// A call waits for its approval while the server has its headers.
    WaitsUnheld = "P118",
    /// The server has no such tool.
    UnknownTool = "P201",
    /// The tool has no such argument.
    UnknownArgument = "P202",
    /// The argument's type never fits the operator.
    ArgumentType = "P203",
    /// The argument's schema leaves the condition always or never true.
    ArgumentValue = "P204",
    /// The argument is optional, or required, against what the condition supposes.
    ArgumentPresence = "P205",
    /// A count that starts anew where this document takes the place of another.
    CountRestarts = "P301",
    /// A count that nothing goes on with there.
    CountEnds = "P302",
    /// Requests reach a server without the filter.
    NoFilter = "P401",
    /// The filter has no policy that it takes.
    NoPolicy = "P402",
    /// The filter is disabled.
    FilterOff = "P403",
    /// What becomes of requests after a crash.
    FailsOpen = "P404",
    /// Headers of denied calls reach the server.
    HeadersPass = "P405",
    /// Another filter is on the wrong side of this one.
    FilterOrder = "P406",
    /// Claims that the policy reads are not there.
    TokensUnread = "P407",
    /// Browsers do not get to see what the filter answers.
    CorsOrder = "P408",
    /// Envoy refuses bodies before the policy does.
    BufferTooSmall = "P409",
    /// Envoy cuts off what streams or waits.
    StreamsCut = "P410",
    /// Counters are shared with another filter.
    CountersShared = "P411",
    /// A secret that the filter cannot read, or that everybody can.
    SecretMissing = "P412",
    /// A cluster that the policy asks is not there.
    ClusterMissing = "P413",
    /// The caller's address is what the caller says.
    AddressUnknown = "P414",
    /// The server reads a path or header otherwise than it was judged.
    PathsDiffer = "P415",
    /// Envoy fetches no module that is not pinned.
    UnpinnedModule = "P416",
    /// Metrics have other names than dashboards and alerts ask for.
    MetricsRenamed = "P417",
}

impl Diagnostic {
    /// A problem that refuses the document.
    #[must_use]
    pub fn error(code: Code, place: String, message: String) -> Diagnostic {
        Diagnostic { code, severity: Severity::Error, place, message, help: None, earlier: None }
    }

    /// A problem that does not.
    #[must_use]
    pub fn warning(code: Code, place: String, message: String) -> Diagnostic {
        Diagnostic { code, severity: Severity::Warning, place, message, help: None, earlier: None }
    }

    /// The same problem, with a cure.
    #[must_use]
    pub fn with_help(self, help: String) -> Diagnostic {
        Diagnostic { help: Some(help), ..self }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{severity}[{}]", self.code.text())?;
        if !self.place.is_empty() {
            write!(formatter, " at {}", self.place)?;
        }
        write!(formatter, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(formatter, "; help: {help}")?;
        }
        Ok(())
    }
}
