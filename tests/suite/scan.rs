//! `mcp-policy scan` on a list of tools: what it prints, for every profile and format. Against servers, it is tested in
//! `tests/e2e/test_scan.py`.

use std::fs;
use std::path::Path;

use mcp_policy::policy::compiled::Config;

use crate::command::{command, run};

#[test]
fn scans_read_as_their_goldens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bless = std::env::var_os("MCP_POLICY_BLESS").is_some();
    let mut wrong = Vec::new();
    for (golden, arguments) in [
        ("shop-cautious.yaml", &["--profile", "cautious"][..]),
        ("shop-balanced.yaml", &[]),
        ("shop-open.yaml", &["--profile", "open"]),
        ("shop-table.txt", &["--as", "table"]),
        ("shop-inventory.json", &["--format", "json"]),
        ("shop-inventory.md", &["--as", "markdown"]),
    ] {
        let scan = [&["scan", "--tools", "tests/data/scan/shop.json"], arguments].concat();
        let (code, found, said) = run(command(&scan).current_dir(root), b"");
        assert_eq!(code, 0, "{said}");
        if Path::new(golden).extension().is_some_and(|end| end == "yaml") {
            let policy = mcp_policy::yaml::read(&found).unwrap();
            let loaded = Config::compile(&policy, "").unwrap();
            assert_eq!(loaded.config.policy.entries().count(), 9, "each tool but `*` is listed");
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            assert!(said.contains("`*` is not in the policy"), "{said}");
        }
        let path = root.join("tests/data/scan").join(golden);
        if bless {
            fs::write(&path, &found).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("{golden}: see `make bless`\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
