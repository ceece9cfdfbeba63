//! An agent with the Rust SDK, `rmcp`: runs the sessions that its argument describes and prints what it was shown.

use std::error::Error;

use rmcp::model::{
    CallToolRequestParams, GetPromptRequestParams, JsonObject, ProtocolVersion,
    ReadResourceRequestParams,
};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Session {
    url: String,
    mode: String,
    token: String,
    lists: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    kind: String,
    name: String,
    arguments: JsonObject,
}

type Client = RunningService<RoleClient, ()>;

fn main() -> Result<(), Box<dyn Error>> {
    let sessions = std::env::args().nth(1).ok_or("usage: rmcp-client SESSIONS")?;
    let sessions: Vec<Session> = serde_json::from_str(&sessions)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reports: Result<Vec<Value>, _> =
        sessions.iter().map(|session| runtime.block_on(run(session))).collect();
    println!("{}", Value::Array(reports?));
    Ok(())
}

async fn run(session: &Session) -> Result<Value, Box<dyn Error>> {
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
    let mut lists = Map::new();
    for kind in &session.lists {
        lists.insert(kind.clone(), listed(&client, kind).await?);
    }
    let mut outcomes = Vec::new();
    for step in &session.steps {
        outcomes.push(outcome(&client, step).await);
    }
    let again: Vec<_> = client.list_all_tools().await?.into_iter().map(|tool| tool.name).collect();
    client.cancel().await?;
    Ok(json!({"revision": revision, "lists": lists, "outcomes": outcomes, "tools_again": again}))
}

async fn listed(client: &Client, kind: &str) -> Result<Value, Box<dyn Error>> {
    Ok(match kind {
        "tools" => serde_json::to_value(client.list_all_tools().await?)?,
        "resources" => serde_json::to_value(client.list_all_resources().await?)?,
        "resourceTemplates" => serde_json::to_value(client.list_all_resource_templates().await?)?,
        "prompts" => serde_json::to_value(client.list_all_prompts().await?)?,
        other => return Err(format!("unknown list {other}").into()),
    })
}

/// What the agent's program gets: a result, or an error with the text that it prints as.
async fn outcome(client: &Client, Step { kind, name, arguments }: &Step) -> Value {
    let (name, arguments) = (name.clone(), arguments.clone());
    match &**kind {
        "tool" => {
            let params = CallToolRequestParams::new(name).with_arguments(arguments);
            shown(client.call_tool(params).await)
        }
        "resource" => shown(client.read_resource(ReadResourceRequestParams::new(name)).await),
        _ => {
            let params = GetPromptRequestParams::new(name).with_arguments(arguments);
            shown(client.get_prompt(params).await)
        }
    }
}

fn shown(answer: Result<impl Serialize, ServiceError>) -> Value {
    match answer {
        Ok(result) => json!({"result": result}),
        Err(error) => {
            let text = error.to_string();
            match error {
                ServiceError::McpError(data) => {
                    json!({"raised": "ServiceError::McpError", "text": text, "code": data.code.0})
                }
                other => json!({"raised": format!("{other:?}"), "text": text}),
            }
        }
    }
}
