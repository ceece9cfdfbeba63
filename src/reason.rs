//! Why a request was not forwarded: one row per reason, with everything that follows from it.

/// The cause of a refusal or denial, as `error.data.reason` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The HTTP method can neither carry a call nor pass.
    MethodNotAllowed,
    /// A request without a body that has none of the three shapes of MCP.
    NotMcp,
    /// The path is none of `requests.paths`.
    PathNotMcp,
    /// A GET, HEAD, OPTIONS or DELETE has a body.
    BodyNotAllowed,
    /// A method-override header: the server might see another method than Envoy.
    MethodOverride,
    /// The content type is not `application/json`.
    ContentType,
    /// The content encoding is not `identity`.
    ContentEncoding,
    /// The body is longer than `requests.max_body_bytes`.
    BodyTooLarge,
    /// A header that identifies or describes the request is there twice.
    RepeatedHeader,
    /// The body is not UTF-8.
    InvalidUtf8,
    /// The body starts with a byte order mark.
    ByteOrderMark,
    /// The body is not exactly one JSON value.
    InvalidJson,
    /// The body nests deeper than `requests.max_depth`.
    TooDeep,
    /// The body has more values than `requests.max_body_bytes` allows.
    TooComplex,
    /// An object has one key twice.
    DuplicateKey,
    /// A key equals a meaningful one only for a parser that folds case or drops characters.
    AmbiguousKey,
    /// Not a JSON-RPC 2.0 message.
    InvalidMessage,
    /// A request that needs an id has none that can be echoed.
    MissingId,
    /// The parameters do not have the shape that the method asks for.
    InvalidParams,
    /// Batches are refused by configuration, or this one is empty, nested, too long or ambiguous.
    BatchNotAllowed,
    /// An MCP header disagrees with the body, is missing, repeated or cannot be decoded.
    HeaderMismatch,
    /// Headers cannot be held although `requests.hold_headers` is `always`.
    HeadersNotHeld,
    /// Envoy did not hand over what the filter needs to decide.
    HostFailure,
    /// A header, claim or certificate that names the caller cannot be read.
    IdentityUnreadable,
    /// The credential that tells callers apart could be spelled otherwise.
    CredentialAmbiguous,
    /// The path could be read in two ways, which matters for what governs it.
    PathAmbiguous,
    /// The session id is not one that this caller was given.
    SessionUnknown,
    /// No binding matches the request.
    Unmatched,
    /// No source names the caller, and one must.
    IdentityRequired,
    /// A list could not be read, and so not be filtered.
    ListUnreadable,
    /// The name or URI could be read in two ways.
    NameUnreadable,
    /// The tool is hidden.
    ToolHidden,
    /// The resource is hidden.
    ResourceHidden,
    /// The prompt is hidden.
    PromptHidden,
    /// The method of the protocol is hidden.
    RpcHidden,
    /// The name equals a listed one only after folding.
    NameNotExact,
    /// No entry lists the tool under `default: deny`.
    ToolNotAllowed,
    /// The same of a resource.
    ResourceNotAllowed,
    /// The same of a prompt.
    PromptNotAllowed,
    /// The same of a method of the protocol.
    RpcNotAllowed,
    /// An entry or a rule denies the tool.
    ToolDenied,
    /// An entry denies the resource.
    ResourceDenied,
    /// An entry denies the prompt.
    PromptDenied,
    /// An entry denies the method of the protocol.
    RpcDenied,
    /// A `require` or a rule does not hold.
    RequirementNotMet,
    /// A `deny_if` matches.
    DeniedByCondition,
    /// A condition cannot be decided on the argument that came.
    ValueUndecidable,
    /// The argument that a limit counts is not a number that can be counted.
    InvalidIncrement,
    /// The tool is not defined as the policy pins it.
    DefinitionChanged,
    /// The tool requires approval.
    ApprovalRequired,
    /// Somebody was asked for approval and has not answered yet.
    ApprovalPending,
    /// The user has approved the call, which has to be made again.
    ApprovalGiven,
    /// The service that is asked for approval gives no answer that can be understood.
    ApproverUnavailable,
    /// Nobody could write down that the approval is used.
    ApprovalsUnavailable,
    /// Somebody was asked for approval, and did not give it.
    ApprovalDeclined,
    /// The approval is used.
    ApprovalUsed,
    /// The approval is not for this call, or not for this caller, or not ours.
    ApprovalInvalid,
    /// A limit is reached.
    LimitReached,
    /// The caller is new, and too many came from the same place.
    TooManyCallers,
    /// A counter could not be read or changed.
    CountersUnavailable,
    /// The operator has switched it off, by the rate limit service.
    SwitchedOff,
    /// Another call of the same batch was denied.
    BatchRefused,
}

impl Reason {
    /// The word in `error.data.reason`, in the filter state and in the documentation.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of an answer to a request whose id is not known, or that has none.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// The HTTP status where no JSON-RPC message is answered, but a GET or a DELETE. A client that looks for documents goes on at 404.
    #[must_use]
    pub fn bare_status(self) -> u16 {
        if self == Reason::Unmatched {
            404
        } else if self == Reason::IdentityRequired {
            401
        } else {
            self.status()
        }
    }

    /// The HTTP status of an answer that carries the request's id. It is what every SDK shows to the agent and survives: at an HTTP
    /// error the Python SDK 1.x ends the whole session.
    #[must_use]
    pub fn status_to_request(self) -> u16 {
        // MCP 2026-07-28 asks for 400 here, and only clients of that revision meet it.
        if self == Reason::HeaderMismatch { self.status() } else { 200 }
    }

    /// The JSON-RPC error code of the answer.
    #[must_use]
    pub fn code(self) -> i32 {
        self.row().2
    }

    /// The sentence that answers when nothing more specific is known. Empty for reasons that always come with details.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        self.row().3
    }

    /// Whether the answer must not tell that the name exists.
    #[must_use]
    pub fn hides(self) -> bool {
        use Reason::{PromptHidden, ResourceHidden, RpcHidden, ToolHidden};
        matches!(self, ToolHidden | ResourceHidden | PromptHidden | RpcHidden)
    }

    /// Whether the author of the rule wrote about this, so that his text answers. He did not where nobody could tell whether his
    /// rule holds for want of a count, or where something else than his rule denies.
    #[must_use]
    pub fn is_authored(self) -> bool {
        use Reason::*;
        matches!(
            self,
            ToolDenied
                | ResourceDenied
                | PromptDenied
                | RpcDenied
                | RequirementNotMet
                | DeniedByCondition
                | ValueUndecidable
                | ApprovalRequired
                | LimitReached
        )
    }

    /// The table. JSON-RPC codes of the front door: -32700 and -32600 of JSON-RPC 2.0, -32020 of MCP 2026-07-28; codes of
    /// decisions lie outside the range that JSON-RPC reserves, as MCP 2026-07-28 asks.
    #[expect(clippy::too_many_lines, reason = "a table, with one line for each reason")]
    fn row(self) -> (&'static str, u16, i32, &'static str) {
        use Reason::*;
        #[rustfmt::skip]
        let row = match self {
            MethodNotAllowed => ("method_not_allowed", 405, -32600, "HTTP method not allowed: MCP uses POST, GET and DELETE"),
            NotMcp => ("not_mcp", 405, -32600, "Not MCP: without a body, MCP is a GET for text/event-stream, or a DELETE of a session"),
            PathNotMcp => ("path_not_mcp", 404, -32600, "MCP is not spoken at this path"),
            BodyNotAllowed => ("body_not_allowed", 400, -32600, "This HTTP method must not carry a body"),
            MethodOverride => ("method_override", 400, -32600, "Method override headers are not accepted"),
            ContentType => ("content_type", 415, -32600, "Content-Type must be application/json, encoded in UTF-8"),
            ContentEncoding => ("content_encoding", 415, -32600, "Content-Encoding must be absent or identity"),
            BodyTooLarge => ("body_too_large", 413, -32600, "The request body is too large"),
            RepeatedHeader => ("repeated_header", 400, -32600, "A header that must be unique is repeated"),
            InvalidUtf8 => ("invalid_utf8", 400, -32700, "Parse error: the body is not UTF-8"),
            ByteOrderMark => ("byte_order_mark", 400, -32700, "Parse error: the body starts with a byte order mark"),
            InvalidJson => ("invalid_json", 400, -32700, "Parse error: the body is not exactly one JSON value"),
            TooDeep => ("too_deep", 400, -32600, "The JSON is nested too deeply"),
            TooComplex => ("too_complex", 400, -32600, "The JSON has too many values"),
            DuplicateKey => ("duplicate_key", 400, -32600, "An object has the same key twice"),
            AmbiguousKey => ("ambiguous_key", 400, -32600, "A key differs from a meaningful one only by case or invisible characters"),
            InvalidMessage => ("invalid_message", 400, -32600, "Not a JSON-RPC 2.0 message"),
            MissingId => ("missing_id", 400, -32600, "The request needs an id that is a string or an integer"),
            InvalidParams => ("invalid_params", 400, -32600, "The parameters do not have the shape that the method needs"),
            BatchNotAllowed => ("batch_not_allowed", 400, -32600, "This batch is not accepted"),
            HeaderMismatch => ("header_mismatch", 400, -32020, "An MCP header is missing, repeated, not decodable or does not match the body"),
            HeadersNotHeld => ("headers_not_held", 503, -32603, "The policy filter is not set up to hold request headers"),
            HostFailure => ("host_failure", 500, -32603, "The request could not be read"),
            IdentityUnreadable => ("identity_unreadable", 400, -32600, "The name of the caller cannot be read"),
            CredentialAmbiguous => ("credential_ambiguous", 400, -32600, "Servers could read this credential as another spelling of the same one, so it does not tell who calls: send one scheme and one token, in canonical spelling"),
            PathAmbiguous => ("path_ambiguous", 400, -32600, "The path could be read in more than one way"),
            SessionUnknown => ("session_unknown", 404, -32001, "Session not found"),
            Unmatched => ("unmatched", 200, 403, "No policy governs this server"),
            IdentityRequired => ("identity_required", 200, 401, "The caller must identify itself"),
            ListUnreadable => ("list_unreadable", 200, -32603, "The list could not be checked against the policy, and is withheld"),
            NameUnreadable => ("name_unreadable", 200, 403, "The name or URI of this request is too long, or could be read in more than one way"),
            ToolHidden => ("tool_hidden", 200, -32602, ""),
            ResourceHidden => ("resource_hidden", 200, -32602, ""),
            PromptHidden => ("prompt_hidden", 200, -32602, ""),
            RpcHidden => ("rpc_method_hidden", 200, -32601, ""),
            NameNotExact => ("name_not_exact", 200, 403, ""),
            ToolNotAllowed => ("tool_not_allowed", 200, 403, ""),
            ResourceNotAllowed => ("resource_not_allowed", 200, 403, ""),
            PromptNotAllowed => ("prompt_not_allowed", 200, 403, ""),
            RpcNotAllowed => ("rpc_method_not_allowed", 200, 403, ""),
            ToolDenied => ("tool_denied", 200, 403, ""),
            ResourceDenied => ("resource_denied", 200, 403, ""),
            PromptDenied => ("prompt_denied", 200, 403, ""),
            RpcDenied => ("rpc_method_denied", 200, 403, ""),
            RequirementNotMet => ("requirement_not_met", 200, 403, ""),
            DeniedByCondition => ("denied_by_condition", 200, 403, ""),
            ValueUndecidable => ("value_undecidable", 200, 403, ""),
            InvalidIncrement => ("invalid_increment", 200, 403, ""),
            DefinitionChanged => ("definition_changed", 200, 403, ""),
            ApprovalRequired => ("approval_required", 200, 428, ""),
            ApprovalPending => ("approval_pending", 200, 428, ""),
            ApprovalGiven => ("approval_given", 200, 428, "Approved. Call again with the same arguments"),
            ApproverUnavailable => ("approver_unavailable", 200, 428, "Nobody could be asked for approval; try again later"),
            ApprovalsUnavailable => ("approvals_unavailable", 200, 428, "The approval could not be used now; try again later"),
            ApprovalDeclined => ("approval_declined", 200, 403, "The call was not approved. Do not repeat it"),
            ApprovalUsed => ("approval_used", 200, 403, "This approval is used. Call again to ask for another"),
            ApprovalInvalid => ("approval_invalid", 200, 403, "The approval that came with this call is not for it. Call again without it"),
            LimitReached => ("limit_reached", 200, 429, ""),
            TooManyCallers => ("too_many_callers", 200, 429, "Too many different callers came from this address in this window, and new ones cannot be counted. Operator: name callers by something verified, raise counters.max_entries, or let Envoy see the clients' own addresses"),
            CountersUnavailable => ("counters_unavailable", 200, 429, "The call could not be counted; try again"),
            SwitchedOff => ("switched_off", 200, 403, "Switched off by the operator. Do not repeat it"),
            BatchRefused => ("batch_refused", 200, 403, "Refused: another call of the same batch was denied"),
        };
        row
    }
}
