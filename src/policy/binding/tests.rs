use super::{
    Ambiguous, Binding, BindingInput, Bindings, PathPattern, RouteFact, Unmatched, host, path,
};
use crate::json::Value;
use crate::matcher::name::Pattern;
use crate::pins::ServerId;

fn policy_of(bindings: &Bindings, shown: &BindingInput<'_>) -> Result<Option<usize>, Ambiguous> {
    bindings.select(shown).map(|row| row.map(|row| row.policy))
}

#[test]
fn hosts_and_paths_have_one_spelling() {
    for (text, expected) in [
        ("Example.com:8080", Some("example.com")),
        ("example.com.", Some("example.com")),
        ("example.com..", None),
        ("[2001:DB8::1]:80", Some("[2001:db8::1]")),
        ("[::1]", Some("[::1]")),
        ("[::1]x", None),
        ("[::1]:x", None),
        ("[::1", None),
        ("::1", None),
        ("a[::1]", None),
        ("example.com:", Some("example.com")),
        ("example.com:x", None),
        ("example.com:80:80", None),
        ("example.com:x@other.test", None),
        ("example.com:80@other.test", None),
        ("user@example.com", None),
        ("", None),
        (":80", None),
        ("exam ple.com", None),
    ] {
        assert_eq!(host(text.as_bytes()).as_deref(), expected, "{text}");
    }
    for (text, expected) in [
        ("/mcp?x=1", Some("/mcp")),
        ("/%6dcp", Some("/mcp")),
        ("/a/b/", Some("/a/b/")),
        ("/", Some("/")),
        ("/a/../b", None),
        ("/a/%2e%2e/b", None),
        ("/a%2fb", None),
        ("/a%5cb", None),
        ("/a//b", None),
        ("//a", None),
        ("/a\\b", None),
        ("/a;b", None),
        ("/a#b", None),
        ("/a%25b", None),
        ("/a%3bb", None),
        ("/a%3f/b", None),
        ("/a%23b", None),
        ("/a/%c0%ae%c0%ae/b", None),
        ("/a%c0%afb", None),
        ("/a%ff", None),
        ("/a%ef%bc%8fb", None),
        ("/a/\u{ff0e}\u{ff0e}/b", None),
        ("/a%2bb", Some("/a%2Bb")),
        ("/caf\u{e9}", Some("/caf\u{e9}")),
        ("a", None),
        ("*", None),
        ("http://x/a", None),
        ("", None),
    ] {
        assert_eq!(path(text.as_bytes()).as_deref(), expected, "{text}");
    }
}

#[test]
fn the_first_binding_that_matches_governs() {
    let row = |host: &str, path: &str, policy| Binding {
        host: (!host.is_empty()).then(|| Pattern::new(host)),
        path: (!path.is_empty()).then(|| PathPattern::new(path).unwrap()),
        route: None,
        metadata: Vec::new(),
        identity: Vec::new(),
        policy,
        server: ServerId::default(),
    };
    let rows = vec![
        row("a.test", "/strict/*", 0),
        row("", "/strict/*", 1),
        row("*.test", "", 2),
        row("", "/one", 3),
        row("", "/p*/x", 4),
        row("", "/team+a/caf%C3%89", 6),
        row("", "/*", 5),
    ];
    let bindings = Bindings::new(rows, Unmatched::Deny);
    for (host, path, expected) in [
        ("a.test", "/strict/x", Ok(Some(0))),
        ("a.test", "/other", Ok(Some(2))),
        ("b.test", "/strict/x", Ok(Some(1))),
        ("b.test", "/one", Ok(Some(2))),
        ("c", "/one", Ok(Some(3))),
        ("c", "/pp/x", Ok(Some(4))),
        ("c", "/two", Ok(Some(5))),
        // What a lenient server takes for the path of another binding.
        ("c", "/Strict/x", Err(Ambiguous)),
        ("c", "/strict", Err(Ambiguous)),
        ("c", "/one/", Err(Ambiguous)),
        ("c", "/ONE", Err(Ambiguous)),
        ("c", "/Two", Ok(Some(5))),
        ("c", "/team+a/caf%C3%89", Ok(Some(6))),
        ("c", "/team%2Ba/caf%C3%89", Err(Ambiguous)),
        ("c", "/team+a/caf%C3%A9", Err(Ambiguous)),
        ("c", "/team+a/CAF\u{e9}", Err(Ambiguous)),
        ("c", "/%E2%80%8Bone", Err(Ambiguous)),
        ("c", "/%EF%BD%8Fne", Err(Ambiguous)),
        ("c", "/team%2Bb", Ok(Some(5))),
    ] {
        let shown = BindingInput { host, path, route: &|_| None, identity: &|_| None };
        assert_eq!(policy_of(&bindings, &shown), expected, "{host}{path}");
    }
}

#[test]
fn a_binding_is_found_by_whatever_it_names() {
    let plain = |policy| Binding {
        host: None,
        path: None,
        route: None,
        metadata: Vec::new(),
        identity: Vec::new(),
        policy,
        server: ServerId::default(),
    };
    let data = |key: &str, value: &str| ["n".into(), key.into(), value.into()];
    let rows = vec![
        Binding { route: Some("r".into()), identity: vec![(0, "sre".into())], ..plain(0) },
        Binding { route: Some("r".into()), ..plain(1) },
        Binding { metadata: vec![data("a", "1"), data("b", "2")], ..plain(2) },
        Binding { metadata: vec![data("a", "1")], ..plain(3) },
        Binding { identity: vec![(0, "sre".into()), (1, "7".into())], ..plain(4) },
        Binding { identity: vec![(1, "true".into())], ..plain(5) },
    ];
    let bindings = Bindings::new(rows, Unmatched::Deny);
    let list = Value::Array(vec![Value::String("dev".into()), Value::String("sre".into())]);
    let (sre, seven, yes) =
        (Value::String("sre".into()), Value::Number("7".into()), Value::Bool(true));
    for (route, metadata, names, expected) in [
        ("r", [""; 2], [Some(&sre), None], Some(0)),
        ("r", [""; 2], [None, None], Some(1)),
        ("q", ["1", "2"], [None, None], Some(2)),
        ("q", ["1", "3"], [None, None], Some(3)),
        ("q", ["2", "2"], [None, None], None),
        ("q", [""; 2], [Some(&list), Some(&seven)], Some(4)),
        ("q", [""; 2], [Some(&list), Some(&yes)], Some(5)),
        ("q", [""; 2], [None, Some(&seven)], None),
        ("r", ["1", "2"], [Some(&list), Some(&yes)], Some(0)),
    ] {
        let of_route = |fact: RouteFact<'_>| {
            let text = match fact {
                RouteFact::Name => route,
                RouteFact::Metadata("n", "a") => metadata[0],
                RouteFact::Metadata(..) => metadata[1],
            };
            (!text.is_empty()).then(|| text.as_bytes().to_vec())
        };
        let shown =
            BindingInput { host: "h", path: "/p", route: &of_route, identity: &|at| names[at] };
        assert_eq!(policy_of(&bindings, &shown), Ok(expected), "{route} {metadata:?} {names:?}");
    }
}
