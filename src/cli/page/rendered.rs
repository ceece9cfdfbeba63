//! Deployment files for the page: what `mcp-policy render` writes of the text that it sends.

use std::process::Stdio;

use mcp_policy::json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::files::told;

/// What a page may ask for. Nothing else of what it sends gets into the command's arguments.
const TARGETS: [&str; 4] = ["envoy", "istio-envoyfilter", "istio-wasmplugin", "json"];

/// Renders `{"text": …, "for": …}`, in a process of its own, with names and addresses to be replaced by whoever deploys it.
///
/// # Errors
/// What the command says.
pub(super) async fn rendered(name: &str, body: &[u8]) -> Result<String, String> {
    let told = told(body);
    let member = |key| told.as_ref()?.get(key).and_then(Value::as_str);
    let asked = member("text").zip(member("for"));
    let known = asked.filter(|(_, target)| TARGETS.contains(target));
    let (text, target) = known.ok_or("what the page sends cannot be read")?;
    let failed = |error: std::io::Error| format!("cannot be rendered: {error}");
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(["render", "-", "--for", target, "--name", &kubernetes(name)]);
    if target.starts_with("istio") {
        command.args(["--namespace", "default", "--app", "mcp-server"]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = command.spawn().map_err(failed)?;
    let stdin = running.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command that has failed already reads no more, and says why.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, running.wait_with_output());
    let output = output.map_err(failed)?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

/// A name that Kubernetes takes.
fn kubernetes(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().take(50).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "policy".to_owned() } else { name.to_owned() }
}
