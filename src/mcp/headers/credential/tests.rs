use super::{canonical, canonical_cookie};

fn spelled(value: &str) -> Option<String> {
    canonical(value.as_bytes()).unwrap().map(|spelled| String::from_utf8(spelled).unwrap())
}

const HEAD: &str = "eyJhbGciOiJIUzI1NiJ9";
/// 32 bytes, of which the last letter has two bits that mean nothing.
const SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

#[test]
fn one_credential_is_one_caller() {
    let jwt = format!("{HEAD}.eyJzdWIiOiJhIn0.{SIGNATURE}");
    let opaque = format!("hvs.{SIGNATURE}");
    for (one, others) in [
        (
            "Bearer abc",
            vec![
                "bearer abc",
                "BEARER  abc",
                "Bearer\tabc ",
                "Bearer abc==",
                "abc",
                "Token abc",
                "DPoP abc",
                "api-key abc",
            ],
        ),
        ("Basic YTpi", vec!["basic  YTpi", "BASIC YTpi ", "Basic QTpi", "ApiKey YTpi", "YTpi"]),
        ("Basic YTpiYg==", vec!["ApiKey YTpiYg", "ApiKey YTpiYh==", "apikey YTpiYi"]),
        (&*format!("Bearer {jwt}"), vec![&*format!("{jwt}="), &*format!("DPoP {jwt}")]),
        (
            &*format!("Bearer {opaque}"),
            vec![
                &*format!("Bearer {}l", opaque.strip_suffix('k').unwrap()),
                &*format!("Bearer {}m", opaque.strip_suffix('k').unwrap()),
            ],
        ),
    ] {
        assert!(spelled(one).is_some(), "{one}");
        for other in others {
            assert_eq!(spelled(other), spelled(one), "{other} is {one}");
        }
    }
}

#[test]
fn what_could_be_spelled_otherwise_tells_nobody_apart() {
    let jwt = |last: char| {
        format!("{HEAD}.eyJzdWIiOiJhIn0.{}{last}", SIGNATURE.strip_suffix('k').unwrap())
    };
    assert!(spelled(&format!("Bearer {}", jwt('k'))).is_some());
    for last in ['l', 'm', 'n', '+', '/', '~', '.'] {
        assert_eq!(spelled(&format!("Bearer {}", jwt(last))), None, "{last}");
    }
    for value in [
        "Bearer abc x1",
        "Bearer a b",
        "Bearer",
        "bearer  ",
        "Basic",
        "Bearer a\"b",
        "Bearer a;b",
        "Bearer a=b",
        "Bearer ==",
        "Bearer a%62c",
        "Bearer a\u{b}",
        "Bearer a\u{a0}",
        "Bearer abc|1",
        "Basic YTpiYg",
        "Basic YTpiYg=",
        "Basic YTpiYh==",
        "Basic YTpi YTpj",
        "Basic YTpi=",
        "Basic YWI=",
        "Basic YQA6Yg==",
        "Basic /zph",
        "Basic Y-pi",
        "Basic IGE6Yg==",
        "a,b",
        "sk-1,x",
        "\"abc\"",
        "x=abc",
        "x1 abc",
        "sk-1 abc",
        "averylongschemeofletters abc",
        "a b c",
        "Digest username=\"a\", nonce=\"b\"",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
        "Token token=abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0=.AA",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.A",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AA.AA",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AA.AA.AA",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e31.AA",
        "",
        "  ",
    ] {
        assert_eq!(spelled(value), None, "{value}");
    }
    assert_eq!(canonical(b"\xff\xfe").unwrap(), None);
    for joined in [&b"Bearer a,Bearer b"[..], b"Bearer a, b", b"basic YTpi,YTpi"] {
        assert!(canonical(joined).is_err(), "two of them, joined");
    }
}

#[test]
fn an_elliptic_curve_s_signature_has_two_spellings_and_one_caller() {
    let (r, s, mirrored) = ("A".repeat(43), "B".repeat(42) + "A", "C".repeat(42) + "A");
    let token = |s: &str| format!("Bearer {HEAD}.eyJzdWIiOiJhIn0.{r}{s}");
    assert!(spelled(&token(&s)).is_some());
    assert_eq!(spelled(&token(&s)), spelled(&token(&mirrored)));
}

#[test]
fn honest_tokens_of_every_kind_are_taken() {
    for value in [
        "Bearer sk-ant-api03_x",
        "Bearer 7",
        "Bearer ya29.a0AfH6SMB",
        "Bearer SG.ab_c.d-e",
        "Bearer abc.def.ghi",
        "Bearer v2.local.x.y",
        "Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "sk-123",
        "Key id:secret",
        "Basic YWxpY2U6cMOkc3M6d29yZA==",
        "Basic OnB3",
        "Negotiate YIIabc==",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    ] {
        assert!(spelled(value).is_some(), "{value}");
    }
    assert_ne!(spelled("Bearer abc"), spelled("Bearer abd"));
    assert_ne!(spelled("Bearer abc"), spelled("Bearer Abc"));
    assert_ne!(spelled("Basic YTpi"), spelled("Basic YTpC"));
}

#[test]
fn a_cookie_is_alone() {
    let cookie = |value: &str| canonical_cookie(value.as_bytes());
    assert_eq!(cookie("sid=abc="), cookie("sid=abc"));
    assert!(cookie("sid=abc").is_some() && cookie("sid=abc") != cookie("sid=abd"));
    for value in [
        "",
        "sid",
        "sid=",
        "=abc",
        "sid=abc; x=1",
        "x=1; sid=abc",
        "sid=abc;",
        "sid=\"abc\"",
        "sid=%61bc",
        "sid =abc",
        "sid= abc",
        "sid=a b",
    ] {
        assert_eq!(cookie(value), None, "{value}");
    }
}
