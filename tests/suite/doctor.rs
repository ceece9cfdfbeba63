//! `mcp-policy doctor`: shipped and rendered files are clean, and each fault in `tests/data/doctor/` is found.

use std::fs;
use std::path::{Path, PathBuf};

use mcp_policy::json::{Object, Value};
use mcp_policy::language::diagnostic::Code;
use mcp_policy::yaml;

use crate::command::{command, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The exit code, and the problems as `error[P401]`, one for each.
fn doctor(files: &[&Path]) -> (i32, Vec<String>, String) {
    let mut command = command(&["doctor"]);
    command.args(files).current_dir(root());
    let (code, out, err) = run(&mut command, b"");
    let heads = err.lines().filter_map(|line| line.split_once(": "));
    let heads = heads.map(|(head, _)| head.to_owned());
    let problems =
        heads.filter(|head| head.starts_with("error[") || head.starts_with("warning[")).collect();
    (code, problems, format!("{out}{err}"))
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("doctor");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn items<'v>(value: &'v Value<'v>) -> &'v [Value<'v>] {
    let Value::Array(items) = value else { panic!("a list, not {value:?}") };
    items
}

/// Goes through a table of faults; `whole` makes of a row the file that its edits change.
fn each_is_found(table: &str, whole: impl Fn(&Object<'_>) -> String) {
    let text = fs::read_to_string(root().join("tests/data/doctor").join(table)).unwrap();
    let rows = yaml::read(&text).unwrap();
    let mut wrong = Vec::new();
    for (at, row) in items(&rows).iter().enumerate() {
        let row = row.as_object().unwrap();
        let name = row.get("name").unwrap().as_str().unwrap();
        let mut broken = whole(row);
        for edit in items(row.get("edits").unwrap()) {
            let [old, new] = items(edit) else { panic!("{name}: two texts") };
            let (old, new) = (old.as_str().unwrap(), new.as_str().unwrap());
            assert_eq!(broken.matches(old).count(), 1, "{name}: {old:?}");
            broken = broken.replacen(old, new, 1);
        }
        let expected: Vec<&str> =
            items(row.get("found").unwrap()).iter().map(|item| item.as_str().unwrap()).collect();
        let exit = i32::from(expected.iter().any(|found| found.starts_with("error")));
        let (code, found, said) = doctor(&[&file(&format!("{at}-{table}"), &broken)]);
        let cured = said.matches("= help: ").count() == found.len();
        if found != expected || code != exit || !cured {
            wrong.push(format!("{name}: exit {code}, {found:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_fault_is_found_and_nothing_else() {
    each_is_found("faults.yaml", |row| {
        fs::read_to_string(root().join(row.get("file").unwrap().as_str().unwrap())).unwrap()
    });
}

#[test]
fn each_fault_around_the_module_is_found_and_nothing_else() {
    each_is_found("faults-module.yaml", |row| {
        let policy = row.get("policy").unwrap().as_str().unwrap();
        let render = ["render", "-", "--for", "envoy-module", "--name", "mcp"];
        let (code, rendered, err) = run(&mut command(&render), policy.as_bytes());
        assert_eq!(code, 0, "{err}");
        rendered
    });
}

/// A secret of the module is in no file of Envoy's: the doctor says that it has not seen it.
#[test]
fn a_secret_of_the_module_is_asked_for() {
    let policy = r#"{"version": "1", "default": "deny", "sessions": {"pin": true, "secrets": ["NEW", "OLD"]}}"#;
    let render = ["render", "-", "--for", "envoy-module"];
    let (_, whole, _) = run(&mut command(&render), policy.as_bytes());
    let (code, found, said) = doctor(&[&file("module-secret.yaml", &whole)]);
    assert_eq!((code, found.len()), (0, 0), "{said}");
    assert!(said.contains("the policy needs the secret `NEW`"), "{said}");
    assert!(!said.contains("OLD"), "{said}");
}

#[test]
fn what_we_ship_and_render_is_clean() {
    let clean = |files: &[&Path]| {
        let (code, found, said) = doctor(files);
        assert!(code == 0 && found.is_empty(), "{files:?}: {said}");
    };
    clean(&[Path::new("envoy/envoy.yaml")]);
    clean(&[Path::new("envoy/istio-envoyfilter.yaml")]);
    let mut rendered = 0;
    let long = r#"{"version": "1", "default": "allow", "requests": {"max_body_bytes": 16777216}}"#;
    let shipped = fs::read_dir(root().join("policies")).unwrap().map(|item| item.unwrap().path());
    for policy in shipped.chain([file("long-bodies.json", long)]) {
        if policy.extension().is_none_or(|end| end != "json") {
            continue;
        }
        rendered += 1;
        let name = policy.file_stem().unwrap().to_str().unwrap();
        let policy = policy.to_str().unwrap();
        let render = |options: &[&str]| {
            let (code, out, err) = run(&mut command(&[&["render", policy], options].concat()), b"");
            assert_eq!(code, 0, "{err}");
            out
        };
        clean(&[&file(&format!("{name}.yaml"), &render(&["--for", "envoy"]))]);
        let module = render(&["--for", "envoy-module"]);
        clean(&[&file(&format!("{name}-module.yaml"), &module)]);
        let mesh = ["--for", "istio-envoyfilter", "--namespace", "a", "--app", "b"];
        clean(&[&file(&format!("{name}-mesh.yaml"), &render(&mesh))]);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("doctor");
        let live = folder.join(name);
        let live = live.to_str().unwrap();
        let whole = render(&["--for", "envoy", "--live", live, "--force"]);
        let filter = Path::new(live).join("mcp_policy.yaml");
        clean(&[&file(&format!("{name}-live.yaml"), &whole), &filter]);
        let live = ["--for", "envoy-module", "--live", live, "--force"];
        clean(&[&file(&format!("{name}-live-module.yaml"), &render(&live)), &filter]);
    }
    assert!(rendered >= 7);
}

/// Of a file that watches another one, the doctor says that it has not seen it.
#[test]
fn a_configuration_that_is_elsewhere_is_asked_for() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("doctor-elsewhere");
    let policy = root().join("policies/stripe.json");
    let arguments = ["render", policy.to_str().unwrap(), "--for", "envoy", "--force", "--live"];
    let (_, whole, _) = run(command(&arguments).arg(&folder), b"");
    let (code, found, said) = doctor(&[&file("elsewhere.yaml", &whole)]);
    assert_eq!((code, found.len()), (0, 0), "{said}");
    assert!(said.contains("the filter's own configuration comes from elsewhere"), "{said}");
}

#[test]
fn every_code_has_a_fault() {
    let faults = ["faults.yaml", "faults-module.yaml"]
        .map(|table| fs::read_to_string(root().join("tests/data/doctor").join(table)).unwrap())
        .concat();
    for code in Code::ALL.iter().map(|code| code.text()).filter(|code| *code > "P400") {
        assert!(faults.contains(&format!("[{code}]")), "{code} has no fault");
    }
}
