//! An agent with the Rust SDK, `rmcp`: runs the sessions that its argument describes and prints what it was shown.

use std::error::Error;
use std::sync::Mutex;

use rmcp::model::{
    CallToolRequestParams, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, FormElicitationCapability, GetPromptRequestParams, JsonObject,
    ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Session {
    url: String,
    mode: String,
    token: String,
    lists: Vec<String>,
    steps: Vec<Step>,
    answer: String,
}

#[derive(Deserialize)]
struct Step {
    kind: String,
    name: String,
    arguments: JsonObject,
}

type Client = RunningService<RoleClient, Agent>;

/// What answers the server's questions, and keeps their texts.
struct Agent {
    answer: String,
    asked: Mutex<Vec<String>>,
}

impl ClientHandler for Agent {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        if !self.answer.is_empty() {
            let mut forms = ElicitationCapability::new();
            forms.form = Some(FormElicitationCapability::new());
            config.capabilities.elicitation = Some(forms);
        }
        config
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let action = match &*self.answer {
            "accept" => ElicitationAction::Accept,
            "cancel" => ElicitationAction::Cancel,
            _ => ElicitationAction::Decline,
        };
        let ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } = request
        else {
            return Err(ErrorData::invalid_params("only forms", None));
        };
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(message);
        }
        let accepts = action == ElicitationAction::Accept;
        let result = ElicitResult::new(action);
        if !accepts {
            return Ok(result);
        }
        let form = serde_json::to_value(requested_schema).unwrap_or_default();
        Ok(result.with_content(filled(&form)))
    }
}

/// A form as somebody fills it in who agrees to all and is called Ada.
fn filled(form: &Value) -> Value {
    let fields = form["properties"].as_object().into_iter().flatten();
    let value = |field: &Value| if field["type"] == "boolean" { json!(true) } else { json!("Ada") };
    Value::Object(fields.map(|(name, field)| (name.clone(), value(field))).collect())
}

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
    let agent = Agent { answer: session.answer.clone(), asked: Mutex::default() };
    let client = agent.serve_with_lifecycle(transport, lifecycle).await?;
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
    let asked = client.service().asked.lock().map(|asked| asked.clone()).unwrap_or_default();
    client.cancel().await?;
    Ok(json!({
        "revision": revision, "lists": lists, "outcomes": outcomes, "tools_again": again, "asked": asked,
    }))
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
