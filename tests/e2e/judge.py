"""What a well-formed answer is, and which status and code go with which reason.

The table repeats policies/README.md on purpose: the tests hold the filter to what its users are told.
"""

from __future__ import annotations

import json
from typing import Any

from attempts import Attempt, Sent
from client import Response
from upstream import RAN, Arrival

_FRONT_DOOR = {
    "not_mcp": (405, -32600),
    "path_not_mcp": (404, -32600),
    "path_ambiguous": (400, -32600),
    "session_unknown": (404, -32001),
    "method_not_allowed": (405, -32600),
    "body_not_allowed": (400, -32600),
    "method_override": (400, -32600),
    "content_type": (415, -32600),
    "content_encoding": (415, -32600),
    "body_too_large": (413, -32600),
    "repeated_header": (400, -32600),
    "invalid_utf8": (400, -32700),
    "byte_order_mark": (400, -32700),
    "invalid_json": (400, -32700),
    "too_deep": (400, -32600),
    "too_complex": (400, -32600),
    "duplicate_key": (400, -32600),
    "ambiguous_key": (400, -32600),
    "credential_ambiguous": (400, -32600),
    "invalid_message": (400, -32600),
    "missing_id": (400, -32600),
    "invalid_params": (400, -32600),
    "batch_not_allowed": (400, -32600),
    "header_mismatch": (400, -32020),
}
_DENIALS = {
    "unmatched": (200, 403),
    "tool_hidden": (200, -32602),
    "tool_not_allowed": (200, 403),
    "tool_denied": (200, 403),
    "name_not_exact": (200, 403),
    "requirement_not_met": (200, 403),
    "denied_by_condition": (200, 403),
    "value_undecidable": (200, 403),
    "invalid_increment": (200, 403),
    "definition_changed": (200, 403),
    "approval_required": (200, 428),
    "limit_reached": (200, 429),
    "too_many_callers": (200, 429),
    "counters_unavailable": (200, 429),
    "switched_off": (200, 403),
    "batch_refused": (200, 403),
    "resource_hidden": (200, -32602),
    "resource_not_allowed": (200, 403),
    "resource_denied": (200, 403),
    "prompt_hidden": (200, -32602),
    "prompt_not_allowed": (200, 403),
    "prompt_denied": (200, 403),
    "rpc_method_hidden": (200, -32601),
    "rpc_method_not_allowed": (200, 403),
    "rpc_method_denied": (200, 403),
    "name_unreadable": (200, 403),
    "list_unreadable": (200, -32603),
}
# What is hidden is answered as what does not exist, without data: the text tells what it is.
_HIDDEN = {
    "Unknown tool: ": "tool_hidden",
    "Unknown prompt: ": "prompt_hidden",
    "Resource not found: ": "resource_hidden",
    "Method not found": "rpc_method_hidden",
}
REASONS = _FRONT_DOOR | _DENIALS
# What is no POST has no JSON-RPC id, and gets an HTTP status.
_BARE = {"unmatched": 404}


class Wrong(Exception):
    """An answer is not what it must be; the text says how."""


def need(condition: object, text: str) -> None:
    """Raises `Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(text)


def error_of(response: Response, *, sse: bool | None = None) -> dict[str, Any]:
    """The JSON-RPC error of a well-formed denial: `{id, code, message, data, reason}`, the id as its JSON text."""
    return _error(_payload(response, sse))


def errors_of(response: Response) -> list[dict[str, Any]]:
    """The same of every element of an answer to a batch."""
    text = _payload(response, None).strip()
    need(text.startswith("["), f"not the answer to a batch: {text[:300]}")
    elements = _raw_elements(text)
    need(elements, "an empty answer to a batch")
    return [_error(element) for element in elements]


def _payload(response: Response, sse: bool | None) -> str:
    need(not response.fault, f"not a complete response: {response.fault}")
    kind = (response.header("content-type") or "").split(";")[0].strip().lower()
    need(kind in ("application/json", "text/event-stream"), f"content-type {kind!r}: {response}")
    need(sse is None or sse == (kind == "text/event-stream"), f"content-type {kind!r}")
    try:
        text = response.body.decode()
    except UnicodeDecodeError:
        raise Wrong(f"the answer is not UTF-8: {response.body!r}") from None
    return event_of(text) if kind == "text/event-stream" else text


def event_of(text: str) -> str:
    """The data of the only event of a stream."""
    events = [event for event in text.replace("\r\n", "\n").split("\n\n") if event]
    need(len(events) == 1 and text.endswith("\n\n"), f"not one whole event: {text!r}")
    fields = [line.partition(":") for line in events[0].split("\n")]
    need({name for name, _, _ in fields} <= {"event", "data", "id"}, f"odd event: {text!r}")
    need(all(value.strip() == "message" for name, _, value in fields if name == "event"), f"odd event type: {text!r}")
    return "\n".join(value.removeprefix(" ") for name, _, value in fields if name == "data")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({name for name, _ in pairs}) == len(pairs), f"a key twice in the answer: {pairs}")
    return dict(pairs)


def _error(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, object_pairs_hook=_unique)
    except ValueError:
        raise Wrong(f"not JSON: {text[:300]!r}") from None
    need(isinstance(message, dict) and message.get("jsonrpc") == "2.0", f"not JSON-RPC: {text[:300]}")
    need(set(message) == {"jsonrpc", "id", "error"}, f"keys {sorted(message)}")
    error = message["error"]
    need(isinstance(error, dict) and set(error) <= {"code", "message", "data"}, f"error {error!r}")
    need(type(error.get("code")) is int, f"code {error.get('code')!r}")
    need(isinstance(error.get("message"), str) and error["message"].strip(), f"message {error.get('message')!r}")
    need("\n" not in error["message"] or len(error["message"]) < 2000, "an unreadable message")
    data = error.get("data", {})
    need(isinstance(data, dict), f"data {data!r}")
    hidden = [reason for start, reason in _HIDDEN.items() if error["message"].startswith(start)]
    reason = data["reason"] if "reason" in data else hidden[0] if hidden else None
    return {"id": raw_member(text, "id"), "reason": reason, "data": data, **error}


def raw_member(text: str, name: str) -> str:
    """The bytes of a member of the outermost object, as they stand."""
    for key, start, end in _raw_members(text):
        if key == name:
            return text[start:end]
    raise Wrong(f"no {name} in {text[:300]}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _raw_members(text: str) -> list[tuple[str, int, int]]:
    decoder, members, at = json.JSONDecoder(), [], _skip(text, 0) + 1
    while text[(at := _skip(text, at))] != "}":
        key, at = decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        members.append((key, start, at))
        at = _skip(text, at)
        at += text[at] == ","
    return members


def _raw_elements(text: str) -> list[str]:
    decoder, elements, at = json.JSONDecoder(), [], 1
    while text[(at := _skip(text, at))] != "]":
        _, end = decoder.raw_decode(text, at)
        elements.append(text[at:end])
        at = _skip(text, end)
        at += text[at] == ","
    return elements


# --- Rows of the corpus -----------------------------------------------------------------------


def fault(attempt: Attempt, sent: Sent, arrivals: list[Arrival]) -> str:
    """What is wrong with how an attempt came out; empty when it came out as its row says."""
    try:
        judge(attempt, sent, arrivals)
    except Wrong as wrong:
        return str(wrong)
    return ""


def judge(attempt: Attempt, sent: Sent, arrivals: list[Arrival]) -> None:
    """Raises `Wrong` unless the attempt came out as its row says."""
    response, expect = sent.response, attempt.expect
    need(not response.hung, f"the request hangs: {response.fault}")
    answer = expect.get("answer", "error")
    _ANSWERS[answer](attempt, response)
    _judge_upstream(attempt, arrivals, expect.get("upstream", "exactly_once" if answer == "passed" else "none"))
    if answer == "passed":
        own = [each for each in arrivals if each.path != "/companion"]
        need(len(own) == 1, "no arrival of its own")
        _judge_passage(attempt, response, own[0])
    if sent.companion is not None:
        need(not sent.companion.fault and RAN in sent.companion.body, f"the other call: {sent.companion}")


def _judge_upstream(attempt: Attempt, arrivals: list[Arrival], expected: str) -> None:
    count = len(arrivals) - (attempt.expect.get("answer") == "passed" and attempt.request.pipelined is not None)
    met = {"none": count == 0, "exactly_once": count == 1, "at_most_once": count <= 1}[expected]
    need(met, f"{count} requests reached the upstream, expected {expected}: " + "; ".join(map(str, arrivals)))
    need(all(each.complete and not each.aborted for each in arrivals), f"only a part reached the upstream: {arrivals}")


def _judge_error(attempt: Attempt, response: Response) -> None:
    expect = attempt.expect
    error = error_of(response, sse=expect.get("framing") == "sse" if attempt.request.method == "POST" else None)
    wanted = _list(expect["reason"])
    need(error["reason"] in wanted, f"reason {error['reason']!r}, expected {wanted}: {response}")
    if attempt.request.method != "POST" and error["reason"] in _BARE:
        need(response.status == _BARE[error["reason"]] and error["id"] == "null", f"{response}")
        return
    _judge_code(response, error, _list(expect.get("id", _usual_ids(error["reason"]))))


def _usual_ids(reason: str) -> list[str]:
    # Before the body is read no id is known; a denial always has one.
    return ["7"] if reason in _DENIALS else ["7", "null"]


def _judge_code(response: Response, error: dict[str, Any], ids: list[str]) -> None:
    status, code = REASONS[error["reason"]]
    # Who waits for an answer under an id gets it: an HTTP error ends the session of some clients.
    if error["id"] != "null" and error["reason"] != "header_mismatch":
        status = 200
    need(response.status == status, f"HTTP {response.status} for {error['reason']}, expected {status}")
    need(error["code"] == code, f"code {error['code']} for {error['reason']}, expected {code}")
    need(error["id"] in ids, f"id {error['id']}, expected {ids}: {response}")


def _judge_batch(attempt: Attempt, response: Response) -> None:
    expect, errors = attempt.expect, errors_of(response)
    need(response.status == 200, f"HTTP {response.status} for a batch")
    ids = [error["id"] for error in errors]
    need(len(set(ids)) == len(ids), f"an id answered twice: {ids}")
    reasons = {error["id"]: error["reason"] for error in errors}
    for error in errors:
        need(error["code"] == REASONS[error["reason"]][1], f"code {error['code']} for {error['reason']}")
    wanted = dict(expect["errors"])
    if "others" in expect:
        wanted = {**dict.fromkeys(reasons, expect["others"]), **wanted}
        need(len(reasons) == expect["size"], f"{len(reasons)} answers, expected {expect['size']}")
    need(reasons == wanted, f"answers {reasons}, expected {wanted}")


def _judge_envoy(attempt: Attempt, response: Response) -> None:
    need(400 <= response.status < 600 or not response.status, f"Envoy did not refuse it: {response}")


def _judge_refused(attempt: Attempt, response: Response) -> None:
    if response.status and "json" in (response.header("content-type") or ""):
        text = _payload(response, None).strip()
        if text.startswith("["):
            errors_of(response)
            return
        error = error_of(response)
        _judge_code(response, error, [*_usual_ids(error["reason"]), "null"])
    else:
        _judge_envoy(attempt, response)


def _judge_closed(attempt: Attempt, response: Response) -> None:
    need(response.fault and not response.status or response.status >= 400, f"an answer to half a request: {response}")


def _judge_headless(attempt: Attempt, response: Response) -> None:
    need(not response.fault and not response.body, f"{response}")
    need(response.status in attempt.expect["status"], f"HTTP {response.status}")


def _judge_passed(attempt: Attempt, response: Response) -> None:
    need(not response.fault, f"not a complete response: {response.fault}")
    need(response.status in (200, 202), f"an honest request is refused: {response}")


def _judge_passage(attempt: Attempt, response: Response, arrival: Arrival) -> None:
    request = attempt.request
    need(arrival.method.decode() == request.method, f"method {arrival.method!r}")
    need(arrival.target.decode("latin-1") == request.path, f"path {arrival.target!r}")
    need(arrival.body == request.body, f"the body was changed: {arrival.body[:300]!r}")
    # Hop-by-hop headers and framing are Envoy's own business.
    framing = {"host", "expect", "connection", "content-length", "transfer-encoding"}
    for name in set(map(str.lower, request.given)) - framing:
        if name.startswith("x-envoy-"):
            continue
        sent = [value for key, value in request.headers if key.lower() == name.encode()]
        got = arrival.header(name)
        need(
            got == sent or b", ".join(got) == b", ".join(sent) or b"; ".join(got) == b"; ".join(sent),
            f"{name}: {got}, sent {sent}",
        )
    need(response.body == arrival.answer, f"the answer was changed: {response}, sent {arrival.answer!r}")


_ANSWERS = {
    "error": _judge_error,
    "batch": _judge_batch,
    "envoy": _judge_envoy,
    "refused": _judge_refused,
    "closed": _judge_closed,
    "headless": _judge_headless,
    "passed": _judge_passed,
    "any": lambda attempt, response: None,
}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
