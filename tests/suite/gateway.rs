//! Gateway files: what they come to, what is said of a bad one and in which file, and that the schema knows the same language.

use std::fs;
use std::path::PathBuf;

use mcp_policy::gateway::Gateway;
use mcp_policy::json::{Duplicates, parse};
use serde_json::{Value, json};

use crate::command::{Ran, command, run};

/// A folder of this test's own, with files in it.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gateway").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

fn mcp_policy(folder: &PathBuf, arguments: &[&str]) -> Ran {
    run(command(arguments).current_dir(folder), b"")
}

const POLICY: &str = "version: \"1\"\ndefault: deny\ntools: {search: {}}\n";

/// What servers there are, and what must be said of them; nothing where all is well.
fn rows() -> Vec<(Value, Option<&'static str>)> {
    let one = |server: Value| json!({"version": "1", "servers": {"git": server}});
    let with = |field: &str, value: Value| {
        let mut server = json!({"url": "https://mcp.example.com/mcp", "policy": "git.yaml"});
        server[field] = value;
        one(server)
    };
    let two = |one: Value, other: Value| {
        let server = |more: Value| {
            let mut server = json!({"url": "http://127.0.0.1:8000/mcp", "policy": "git.yaml"});
            server.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            server
        };
        json!({"version": "1", "servers": {"a": server(one), "b": server(other)}})
    };
    vec![
        (one(json!({"url": "http://127.0.0.1:8000/mcp", "policy": "git.yaml"})), None),
        (with("host", json!("git.example.com")), None),
        (with("path", json!("/x")), None),
        (with("ca", json!("/ca.pem")), None),
        (with("host_header", json!("a:81")), None),
        (with("keep_host", json!(true)), None),
        (two(json!({}), json!({"host": "b.example.com"})), None),
        (
            json!({"version": "1", "name": "a-1", "servers": {"git": {"url": "http://a", "policy": "git.yaml"}}}),
            None,
        ),
        (json!({"version": "1", "servers": {}}), Some("there is no server")),
        (
            json!({"servers": {"git": {"url": "http://a", "policy": "git.yaml"}}}),
            Some("missing field `version`"),
        ),
        (
            json!({"version": "1", "name": "A", "servers": {"git": {"url": "http://a", "policy": "git.yaml"}}}),
            Some("not a name: `A`"),
        ),
        (
            json!({"version": "1", "servers": {"Git": {"url": "http://a", "policy": "git.yaml"}}}),
            Some("not a name: `Git`"),
        ),
        (
            json!({"version": "1", "servers": {"git": {"policy": "git.yaml"}}}),
            Some("missing field `url`"),
        ),
        (
            json!({"version": "1", "servers": {"git": {"url": "http://a"}}}),
            Some("missing field `policy`"),
        ),
        (
            json!({"version": "1", "server": {}, "servers": {"git": {"url": "http://a", "policy": "git.yaml"}}}),
            Some("did you mean `servers`?"),
        ),
        (with("url", json!("mcp.example.com:443")), Some("begins with http:// or https://")),
        (
            with("url", json!("https://me:secret@mcp.example.com")),
            Some("agents send their own credentials"),
        ),
        (with("url", json!("https://mcp.example.com/?a")), Some("no query")),
        (with("polcy", json!("x")), Some("did you mean `policy`?")),
        (with("path", json!("/a/*")), Some("not a path")),
        (with("host", json!("a:80")), Some("not the name of a host")),
        (with("sni", json!("A")), Some("not the name of a host")),
        (with("host_header", json!("a b")), Some("not a host with or without a port")),
        (with("policy", json!("")), Some("expected the name of a file")),
        (
            with("callers", json!([{"identity": {}, "policy": "git.yaml"}])),
            Some("it names no caller"),
        ),
        (
            with("callers", json!([{"identity": {"team": "sre"}, "policy": "git.yaml"}])),
            Some("`identity.keys` has no `team`"),
        ),
        (with("path", json!("/a/../b")), Some("no path is matched in this spelling")),
        (
            one(json!({"url": "http://a", "policy": "git.yaml", "sni": "b"})),
            Some("says nothing of an `http` address"),
        ),
        (
            one(
                json!({"url": "https://a", "policy": "git.yaml", "host_header": "b", "keep_host": true}),
            ),
            Some("keep one of them"),
        ),
        (two(json!({"path": "/x"}), json!({"path": "/x"})), Some("agents reach `a` there already")),
        (with("policy", json!("none.yaml")), Some("none.yaml: cannot be read")),
        (with("policy", json!("bad.yaml")), Some("bad.yaml:2:10")),
        (with("policy", json!("full.yaml")), Some("it is a whole configuration")),
        (with("policy", json!("gateway.json")), Some("unknown field `servers`")),
    ]
}

#[test]
fn a_gateway_file_is_read_strictly() {
    let full = "policies: {a: {version: \"1\", default: deny}}\n";
    let files = [
        ("git.yaml", POLICY),
        ("bad.yaml", "version: \"1\"\ndefault: denny\n"),
        ("full.yaml", full),
    ];
    let folder = folder("rows", &files);
    let schema = run(&mut command(&["schema", "gateway"]), b"").1;
    let schema = jsonschema::draft202012::new(&serde_json::from_str(&schema).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (document, said) in rows() {
        fs::write(folder.join("gateway.json"), document.to_string()).unwrap();
        let (code, out, err) = mcp_policy(&folder, &["validate", "gateway.json"]);
        let rendered = mcp_policy(&folder, &["render", "gateway.json", "--for", "envoy"]);
        let text = format!("{out}{err}");
        let fits = match said {
            None => code == 0 && rendered.0 == 0 && schema.is_valid(&document),
            Some(said) => code > 0 && text.contains(said) && rendered.0 == 2,
        };
        if !fits {
            wrong.push(format!("{document}: {code} {text} {} {}", rendered.0, rendered.2));
        }
        // What needs no more than a look at the file is found by the schema too.
        let shape = parse(&document.to_string(), Duplicates::Keep)
            .is_ok_and(|value| Gateway::read(&value).is_err());
        let between = [
            "another `path`",
            "agents reach",
            "says nothing",
            "keep one",
            "no user",
            "agents send",
        ];
        if shape && schema.is_valid(&document) && !between.iter().any(|said| text.contains(said)) {
            wrong.push(format!("the schema takes {document}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_schema_knows_the_same_fields() {
    let schema: Value =
        serde_json::from_str(&run(&mut command(&["schema", "gateway"]), b"").1).unwrap();
    let told = |document: Value| -> Vec<String> {
        let text = document.to_string();
        let value = parse(&text, Duplicates::Keep).unwrap();
        let problems = Gateway::read(&value).unwrap_err();
        let help = problems.iter().find_map(|problem| {
            problem.help.clone()?.strip_prefix("known fields: ").map(str::to_owned)
        });
        help.unwrap().split(", ").map(str::to_owned).collect()
    };
    let unlike = "qqqqqqqqqqqqqqqqqqqq";
    let ours = |object: &Value| -> Vec<String> {
        object["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let server = json!({"version": "1", "servers": {"a": {unlike: 1}}});
    let callers = json!({"version": "1", "servers": {"a": {"callers": [{unlike: 1}]}}});
    for (document, object) in [(server, "server"), (callers, "callers")] {
        let (mut known, mut ours) = (told(document), ours(&schema["$defs"][object]));
        known.sort();
        ours.sort();
        // The fields of the server around it are told first.
        if object == "server" {
            assert_eq!(known, ours);
        } else {
            assert_eq!(ours, ["identity", "policy"]);
        }
    }
    let known = told(json!({unlike: 1}));
    for field in ours(&schema) {
        assert!(known.contains(&field), "{field} is unknown: see SETTINGS in src/gateway.rs");
    }
}

#[test]
fn policies_are_combined() {
    let files = [
        ("Git Server.yaml", POLICY),
        ("db.yaml", "version: \"1\"\ndefault: allow\nrequests: {paths: [/mcp], batch: deny}\n"),
        ("sre.yaml", POLICY),
        ("two.yaml", "version: \"1\"\ndefault: allow\nrequests: {batch: decide}\n"),
        (
            "gateway.yaml",
            "version: \"1\"\nservers:\n  git: {url: \"http://127.0.0.1:1/mcp\", policy: Git Server.yaml, host: git.example.com}\n  \
             db:\n    url: https://db.example.com/v1\n    policy: db.yaml\n    callers: [{identity: {team: sre}, policy: sre.yaml}]\n\
             identity: {keys: {team: {jwt_claim: team}}}\n",
        ),
    ];
    let folder = folder("combined", &files);
    let (code, out, err) = mcp_policy(&folder, &["render", "gateway.yaml", "--for", "json"]);
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let expected = json!({
        "policies": {
            "git-server": {"version": "1", "default": "deny", "tools": {"search": {}}},
            "sre": {"version": "1", "default": "deny", "tools": {"search": {}}},
            "db": {"version": "1", "default": "allow"},
        },
        "bindings": [
            {"match": {"host": "git.example.com", "path": "/mcp"}, "policy": "git-server"},
            {"match": {"path": "/db/mcp", "identity": {"team": "sre"}}, "policy": "sre"},
            {"match": {"path": "/db/mcp"}, "policy": "db"},
        ],
        "identity": {"keys": {"team": {"jwt_claim": "team"}}},
        "requests": {"batch": "deny"},
    });
    assert_eq!(found, expected);
    assert!(err.contains("db.yaml: requests.paths: is left out"), "{err}");
    let (code, out, err) = mcp_policy(
        &folder,
        &["render", "db.yaml", "sre.yaml", "--for", "json", "--path", "/servers/{name}/mcp"],
    );
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        found["bindings"][1],
        json!({"match": {"path": "/servers/sre/mcp"}, "policy": "sre"})
    );
    let (code, _, err) = mcp_policy(&folder, &["render", "db.yaml", "two.yaml", "--for", "json"]);
    assert!(code == 2 && err.contains("its `requests` is not that of db.yaml"), "{err}");
}

#[test]
fn a_version_tells_policies_and_settings_apart() {
    let version = |name: &str, text: &str, more: &[&str]| {
        let folder = folder(name, &[("p.yaml", text)]);
        let (code, out, err) =
            mcp_policy(&folder, &[&["render", "p.yaml", "--for", "envoy-filter"], more].concat());
        assert_eq!(code, 0, "{err}");
        let line = out.lines().find_map(|line| line.strip_prefix("version_info: ")).unwrap();
        line.trim_matches('"').to_owned()
    };
    let bare = version("bare", POLICY, &[]);
    assert!(bare.starts_with("sha-256:") && bare.len() == 51, "{bare}");
    assert_eq!(version("commented", &format!("# a comment\n{POLICY}"), &[]), bare);
    let set = version("settings", &format!("{POLICY}requests: {{batch: deny}}\n"), &[]);
    assert!(set.starts_with(&format!("{bare}+settings:")), "{set}");
    let other = version("other", &POLICY.replace("search", "find"), &[]);
    let full = "policies: {a: {version: \"1\", default: deny}, b: {version: \"1\", default: allow}}\nbindings: [{match: {path: /a}, policy: a}, {match: {path: /b}, policy: b}]\n";
    let switched = ["shadow", "stop", "off"].map(|way| version(way, POLICY, &["--switch", way]));
    let mut all = vec![
        bare,
        set,
        other,
        version("full", full, &[]),
        version("swapped", &full.replace("/a", "/c"), &[]),
    ];
    assert_eq!(switched[2], "off");
    all.extend(switched);
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
}
