//! Changing what a client carries in `params` without moving any other byte: what goes becomes white space, so that the body keeps the
//! length that headers on their way may have told already.

use crate::json::{Member, Object, Value};
use crate::mcp::message::Request;

/// The same body without some members of `params`. `request` must have been read from these bytes, and the keys be plain words.
#[must_use]
pub fn without(body: &[u8], request: &Request<'_>, keys: &[&str]) -> Vec<u8> {
    let mut changed = body.to_vec();
    let members = members(request);
    let mut kept = false;
    let mut before = None;
    for member in members {
        let Some((start, end)) = place(body, member) else { continue };
        if keys.contains(&&*member.key) {
            let brace = || body.get(..start)?.iter().rposition(|byte| *byte == b'{');
            let from = before.or_else(|| brace().map(|at| at + 1)).unwrap_or(start);
            // With nothing before it, its comma stands behind.
            let to = if kept { end } else { past_comma(body, end) };
            blank(&mut changed, from, to);
        } else {
            kept = true;
        }
        before = Some(end);
    }
    changed
}

/// The same body with another text for a member of `params`, JSON of at most the same length.
#[must_use]
pub fn with(body: &[u8], request: &Request<'_>, key: &str, json: &str) -> Option<Vec<u8>> {
    let member = members(request).iter().find(|member| member.key == key)?;
    let (start, end) = place(body, member)?;
    let mut changed = body.to_vec();
    blank(&mut changed, start, end);
    let room = changed.get_mut(start..end)?.get_mut(..json.len())?;
    room.copy_from_slice(json.as_bytes());
    Some(changed)
}

fn members<'r, 'v>(request: &'r Request<'v>) -> &'r [Member<'v>] {
    match request.params {
        Some(Value::Object(Object(members))) => members,
        _ => &[],
    }
}

/// Where a member's value stands in the bytes that it was read from.
fn place(body: &[u8], member: &Member<'_>) -> Option<(usize, usize)> {
    let start = (member.raw.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    let end = start.checked_add(member.raw.len())?;
    (body.get(start..end)? == member.raw.as_bytes()).then_some((start, end))
}

fn past_comma(body: &[u8], end: usize) -> usize {
    let rest = body.get(end..).unwrap_or_default();
    let space = rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
    if rest.get(space) == Some(&b',') { end + space + 1 } else { end }
}

fn blank(bytes: &mut [u8], from: usize, to: usize) {
    if let Some(bytes) = bytes.get_mut(from..to) {
        bytes.fill(b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::{with, without};
    use crate::json::Bounds;
    use crate::mcp::message::{Body, Message, parse_body};

    fn changed(
        params: &str,
        change: impl Fn(&[u8], &crate::mcp::message::Request<'_>) -> Vec<u8>,
    ) -> String {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":"#;
        let body = format!("{head}{params}}}");
        let value = parse_body(body.as_bytes(), Bounds::DOCUMENT).unwrap();
        let Ok(Body::Single(Message::Request(request))) = Body::read(&value) else { panic!() };
        let changed = String::from_utf8(change(body.as_bytes(), &request)).unwrap();
        assert_eq!(changed.len(), body.len(), "the length stays");
        parse_body(changed.as_bytes(), Bounds::DOCUMENT).unwrap();
        let rest = changed.strip_prefix(head).unwrap();
        rest.strip_suffix('}').unwrap().split_whitespace().collect::<Vec<_>>().join("")
    }

    #[test]
    fn what_goes_leaves_no_trace_but_space() {
        for (params, expected) in [
            (r#"{"name":"a","a":1,"b":{"c":[2]}}"#, r#"{"name":"a"}"#),
            (r#"{"a":1,"name":"a","b":2}"#, r#"{"name":"a"}"#),
            (r#"{"a":1,"b":"}{,","name":"a"}"#, r#"{"name":"a"}"#),
            (r#"{ "a" : 1 , "b" : 2 , "name" : "a" , "c" : 3 }"#, r#"{"name":"a","c":3}"#),
            (r#"{"\u0061":1,"\u0062":2}"#, "{}"),
            (r#"{"a":1}"#, "{}"),
            (r#"{"b":1,"c":2,"a":3}"#, r#"{"c":2}"#),
            (r#"{"c":{"a":1}}"#, r#"{"c":{"a":1}}"#),
            ("{}", "{}"),
        ] {
            let found = changed(params, |body, request| without(body, request, &["a", "b"]));
            assert_eq!(found, expected, "{params}");
        }
    }

    #[test]
    fn a_text_takes_the_place_of_a_longer_one() {
        let found = changed(r#"{"a":"long text","b":1}"#, |body, request| {
            with(body, request, "a", r#""x""#).unwrap()
        });
        assert_eq!(found, r#"{"a":"x","b":1}"#);
        changed(r#"{"a":"x","b":1}"#, |body, request| {
            assert_eq!(with(body, request, "a", r#""longer""#), None);
            body.to_vec()
        });
    }
}
