//! HTTP with SSE, the remote transport of revision 2024-11-05: a stream whose first event names the address that takes
//! messages, and which brings every answer. The SDK has the newer transport only.

use std::fmt;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use sse_stream::{Sse, SseStream};

use super::MOST_BYTES;

/// A connection of this kind.
pub(super) struct SseTransport {
    client: reqwest::Client,
    /// Where messages go.
    endpoint: reqwest::Url,
    events: BoxStream<'static, Result<Sse, sse_stream::Error>>,
}

/// Why a message did not get there.
#[derive(Debug)]
pub(super) struct SendFailed(String);

impl fmt::Display for SendFailed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for SendFailed {}

impl SseTransport {
    /// Opens the stream and waits for the address.
    ///
    /// # Errors
    /// Where the server does not speak this transport.
    pub(super) async fn connect(
        client: reqwest::Client,
        url: &str,
    ) -> Result<SseTransport, String> {
        let request = client.get(url).header("accept", "text/event-stream");
        let response = request.send().await.map_err(|error| format!("cannot connect: {error}"))?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let streams = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        if !response.status().is_success() || !streams {
            return Err(format!(
                "cannot connect: HTTP {} without an event stream",
                response.status()
            ));
        }
        let base = response.url().clone();
        let mut left = MOST_BYTES;
        let bounded = response.bytes_stream().take_while(move |chunk| {
            left = left.saturating_sub(chunk.as_ref().map_or(0, |bytes| bytes.len()));
            std::future::ready(left > 0)
        });
        let mut events = SseStream::from_bytes_stream(bounded).boxed();
        while let Some(Ok(event)) = events.next().await {
            if event.event.as_deref() != Some("endpoint") {
                continue;
            }
            let endpoint = base.join(event.data.as_deref().unwrap_or_default().trim());
            let endpoint =
                endpoint.map_err(|error| format!("its endpoint is no address: {error}"))?;
            if endpoint.origin() != base.origin() {
                return Err("its endpoint is on another server".to_owned());
            }
            return Ok(SseTransport { client, endpoint, events });
        }
        Err("the event stream ended without naming an endpoint".to_owned())
    }
}

impl Transport<RoleClient> for SseTransport {
    type Error = SendFailed;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), SendFailed>> + Send + 'static {
        let (client, endpoint) = (self.client.clone(), self.endpoint.clone());
        async move {
            let body = serde_json::to_vec(&item).map_err(|error| SendFailed(error.to_string()))?;
            let request =
                client.post(endpoint).header("content-type", "application/json").body(body);
            let response = request.send().await.map_err(|error| SendFailed(error.to_string()))?;
            let status = response.status();
            if status.is_success() { Ok(()) } else { Err(SendFailed(format!("HTTP {status}"))) }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        // What is no message is not for us.
        while let Some(Ok(event)) = self.events.next().await {
            let message = event.data.as_deref().and_then(|data| serde_json::from_str(data).ok());
            if message.is_some() {
                return message;
            }
        }
        None
    }

    async fn close(&mut self) -> Result<(), SendFailed> {
        Ok(())
    }
}
