//! An agent with the Rust SDK, `rmcp`: runs the sessions that its argument describes and prints what it was shown.

use rmcp::model::{CallToolRequestParams, CallToolResult, JsonObject, ProtocolVersion};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Session {
    url: String,
    mode: String,
    token: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    tool: String,
    arguments: JsonObject,
}

type Client = RunningService<RoleClient, ()>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = std::env::args().nth(1).ok_or("usage: rmcp-client SESSIONS")?;
    let sessions: Vec<Session> = serde_json::from_str(&sessions)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reports: Result<Vec<Value>, _> =
        sessions.iter().map(|session| runtime.block_on(run(session))).collect();
    println!("{}", Value::Array(reports?));
    Ok(())
}

async fn run(session: &Session) -> Result<Value, Box<dyn std::error::Error>> {
    let config = StreamableHttpClientTransportConfig::with_uri(&*session.url)
        .auth_header(session.token.clone());
    let transport = StreamableHttpClientTransport::from_config(config);
    let newest = vec![ProtocolVersion::V_2026_07_28];
    let lifecycle = match &*session.mode {
        "legacy" => ClientLifecycleMode::Initialize,
        "auto" => ClientLifecycleMode::Auto { preferred_versions: newest, legacy_version: None },
        "2026-07-28" => ClientLifecycleMode::Discover { preferred_versions: newest },
        other => return Err(format!("unknown mode {other}").into()),
    };
    let client = ().serve_with_lifecycle(transport, lifecycle).await?;
    let revision = client.peer_info().ok_or("no handshake")?.protocol_version.to_string();
    let tools = client.list_all_tools().await?;
    let mut outcomes = Vec::new();
    for call in &session.calls {
        outcomes.push(outcome(invoke(&client, call).await));
    }
    let again: Vec<_> = client.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
    client.cancel().await?;
    Ok(json!({"revision": revision, "tools": tools, "outcomes": outcomes, "tools_again": again}))
}

async fn invoke(client: &Client, call: &Call) -> Result<CallToolResult, ServiceError> {
    let params =
        CallToolRequestParams::new(call.tool.clone()).with_arguments(call.arguments.clone());
    client.call_tool(params).await
}

/// What the agent's program gets: a result, or an error with the text that it prints as.
fn outcome(answer: Result<CallToolResult, ServiceError>) -> Value {
    match answer {
        Ok(result) => json!({"result": result}),
        Err(error) => {
            let text = error.to_string();
            match error {
                ServiceError::McpError(data) => json!({
                    "raised": "ServiceError::McpError", "text": text, "code": data.code.0, "message": data.message
                }),
                other => json!({"raised": format!("{other:?}"), "text": text}),
            }
        }
    }
}
