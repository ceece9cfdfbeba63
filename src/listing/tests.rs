use super::{Filtered, ShownTo, filter};
use crate::pins::Sightings;
use crate::policy::compiled::Config;
use crate::rate::memory::MemoryStore;

fn filtered(policy: &str, text: &str) -> String {
    let config = Config::load(policy.as_bytes(), "").unwrap().config;
    let store = MemoryStore::default();
    let sightings = Sightings::new(&store, config.policy.server);
    let shown = ShownTo { policy: &config.policy, viewer: None };
    match filter(shown, text.as_bytes(), sightings).0 {
        Filtered::Unchanged => "unchanged".to_owned(),
        Filtered::Changed(text) => text,
        Filtered::Unreadable(_) => "unreadable".to_owned(),
    }
}

const DENY: &str = r#"{"version":"1","default":"deny","hide":["h*"],"tools":{"a":{},"d":{"action":"deny"},"*":{"deny_if":[{"conditions":[{"path":"args.x","op":"eq","value":1}]}]}},
    "resources":{"default":"deny","file:///data/*":{}},"prompts":{"hide":["p"]}}"#;

#[test]
fn shows_what_the_policy_shows() {
    for (text, expected) in [
        (r#"{"result":{"tools":[{"name":"a"},{"name":"d"}]}}"#, "unchanged"),
        (
            r#"{ "jsonrpc":"2.0", "id":1, "result":{ "tools":[ {"name":"x"}, { "name" : "a", "new":1e3 } ,{"name":"h"}], "nextCursor":"2" } }"#,
            r#"{ "jsonrpc":"2.0", "id":1, "result":{ "tools":[{ "name" : "a", "new":1e3 }], "nextCursor":"2" } }"#,
        ),
        (r#"{"result":{"tools":[{"name":"\u0068"}]}}"#, r#"{"result":{"tools":[]}}"#),
        (r#"{"result":{"tools":[]}}"#, "unchanged"),
        (r#"{"result":{"tools":null}}"#, "unchanged"),
        (r#"{"result":{"tools":{}}}"#, "unreadable"),
        (
            r#"{"result":{"tools":[{"title":"a"},1,null,{"name":1},[]]}}"#,
            r#"{"result":{"tools":[]}}"#,
        ),
        (r#"{"result":{"tools":[{"name":"a","Name":"h"}]}}"#, r#"{"result":{"tools":[]}}"#),
        (r#"{"result":{"tools":[{"name":"a"}],"Tools":[]}}"#, "unreadable"),
        (r#"{"result":{"tools":[{"name":"a"}],"tools":[]}}"#, "unreadable"),
        (r#"{"Result":{"tools":[{"name":"h"}]}}"#, "unreadable"),
        (
            r#"{"error":{"code":1},"result":{"tools":[{"name":"h"}]}}"#,
            r#"{"error":{"code":1},"result":{"tools":[]}}"#,
        ),
        (
            r#"{"method":"x","result":{"tools":[{"name":"h"}]}}"#,
            r#"{"method":"x","result":{"tools":[]}}"#,
        ),
        (
            r#"[{"id":1,"result":{"tools":[{"name":"h"}]}},{"id":2,"result":{"tools":[{"name":"a"}]}}]"#,
            r#"[{"id":1,"result":{"tools":[]}},{"id":2,"result":{"tools":[{"name":"a"}]}}]"#,
        ),
        (r#"[[{"result":{"tools":[{"name":"h"}]}}]]"#, "unreadable"),
        (r#"{"error":{"code":1,"message":"tools"}}"#, "unchanged"),
        (r#"{"result":"tools"}"#, "unchanged"),
        (r#"{"result":{"tools":[{"name":"a"}"#, "unreadable"),
        ("{}{}", "unreadable"),
        (
            r#"{"result":{"tools":[],"cacheScope":"public"}}"#,
            r#"{"result":{"tools":[],"cacheScope":"private"}}"#,
        ),
        (r#"{"result":{"tools":[],"cacheScope":"private"}}"#, "unchanged"),
        (r#"{"result":{"contents":[],"cacheScope":"public"}}"#, "unchanged"),
        (
            r#"{"result":{"resources":[{"uri":"file:///data/a"},{"uri":"FILE:///data/b"},{"uri":"file:///etc"},{"uri":"file:///data/../x"}]}}"#,
            r#"{"result":{"resources":[{"uri":"file:///data/a"},{"uri":"FILE:///data/b"}]}}"#,
        ),
        (
            r#"{"result":{"resourceTemplates":[{"uriTemplate":"file:///data/{n}"},{"uriTemplate":"file:///{p}"}]}}"#,
            r#"{"result":{"resourceTemplates":[{"uriTemplate":"file:///data/{n}"}]}}"#,
        ),
        (
            r#"{"result":{"prompts":[{"name":"p"},{"name":"q"}]}}"#,
            r#"{"result":{"prompts":[{"name":"q"}]}}"#,
        ),
    ] {
        assert_eq!(filtered(DENY, text), expected, "{text}");
    }
}

#[test]
fn settings_say_how_much_is_shown() {
    let list = r#"{"result":{"tools":[{"name":"a"},{"name":"A"},{"name":"b"},{"name":"d"},{"name":"n"},{"name":"h"},{"name":"H"},{"name":"q"}]}}"#;
    let shown = |policy: &str| {
        let text = filtered(policy, list);
        let names = text.split("\"name\":\"").skip(1);
        names.filter_map(|rest| rest.split('"').next()).collect::<String>()
    };
    let policy = |default, rest| {
        format!(
            r#"{{"version":"1","default":"{default}","hide":["h"],{rest}"tools":{{"a":{{}},"q":{{"action":"require_approval"}},
            "d":{{"action":"deny"}},"n":{{"deny_if":[{{"conditions":[]}}]}},"*":{{"limits":[]}}}}}}"#
        )
    };
    for (default, rest, expected) in [
        ("deny", "", "adnq"),
        ("deny", r#""tools_list":"listed","#, "adnq"),
        ("deny", r#""tools_list":"callable","#, "aq"),
        ("deny", r#""tools_list":"all","#, "aAbdnq"),
        ("allow", "", "aAbdnq"),
        ("allow", r#""tools_list":"callable","#, "abq"),
        ("allow", r#""tools_list":"all","#, "aAbdnq"),
        ("deny", r#""mode":"shadow","#, ""),
    ] {
        let policy = policy(default, rest);
        if expected.is_empty() {
            assert_eq!(filtered(&policy, list), "unchanged", "{policy}");
        } else {
            assert_eq!(shown(&policy), expected, "{policy}");
        }
    }
}
