//! Questions to services beside Envoy, and their answers: bytes, which a shell carries.

/// The number of a question within its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskId(pub u32);

/// A question to one of Envoy's clusters.
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
    /// What is sent.
    pub body: AskBody,
    /// How long Envoy waits for an answer, in milliseconds.
    pub timeout_millis: u32,
}

/// What a question sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskBody {
    /// Nothing: it is a GET.
    Nothing,
    /// JSON, by POST.
    Json(String),
    /// One message of gRPC, with what frames it.
    Grpc(Vec<u8>),
}

impl Ask {
    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self.body {
            AskBody::Nothing => "GET",
            AskBody::Json(_) | AskBody::Grpc(_) => "POST",
        }
    }

    /// All headers of the request, in the order in which they are sent.
    #[must_use]
    pub fn all_headers(&self) -> Vec<(&str, &str)> {
        let media: &[_] = match self.body {
            AskBody::Nothing => &[("accept", "application/json")],
            AskBody::Json(_) => {
                &[("accept", "application/json"), ("content-type", "application/json")]
            }
            // Unary gRPC is a POST by HTTP/2 with a frame around the message. Envoy carries it like any other.
            AskBody::Grpc(_) => &[("te", "trailers"), ("content-type", "application/grpc")],
        };
        let mut headers = vec![
            (":method", self.method()),
            (":path", &*self.path),
            (":authority", &*self.authority),
        ];
        headers.extend(media);
        headers.extend(self.headers.iter().map(|(name, value)| (*name, &**value)));
        headers
    }

    /// The bytes that are sent, if any are.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.body {
            AskBody::Nothing => None,
            AskBody::Json(text) => Some(text.as_bytes()),
            AskBody::Grpc(bytes) => Some(bytes),
        }
    }

    /// The JSON, where it is such a question.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        match &self.body {
            AskBody::Json(text) => Some(text),
            AskBody::Nothing | AskBody::Grpc(_) => None,
        }
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
