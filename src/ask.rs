//! Questions to services beside Envoy, and their answers: bytes, which a shell carries.

/// The number of a question within its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskId(pub u32);

/// A question: a POST of JSON, or a GET, to one of Envoy's clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number, which comes back with the answer.
    pub id: AskId,
    /// The cluster.
    pub cluster: Box<str>,
    /// `:authority`.
    pub authority: Box<str>,
    /// The path.
    pub path: Box<str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted; a question without a body is a GET.
    pub body: Option<String>,
    /// How long Envoy waits for an answer, in milliseconds.
    pub timeout_millis: u32,
}

impl Ask {
    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// An HTTP response. Envoy says 504 where none came in time.
    Http {
        /// Its status.
        status: u16,
        /// Its body.
        body: &'a [u8],
    },
    /// The question could not be asked, or its answer not be read.
    Failed,
}
