"""The example approver: an approval runs once, for the very call that a person saw, and only the page gives one."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import approver
import pytest
import rig
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import browser

EVALUATION = "/access/v1/evaluation"
REQUESTS = "/access/v1/requests"
ERROR = "urn:openid:authzen:access-request:error:"
START = 1_900_000_000
KEY = "the-key-of-the-page"
CALL = {
    "subject": {"type": "identity", "id": "agent-7", "properties": {"team": "sre", "verified": True}},
    "action": {"name": "tools/call"},
    "resource": {"type": "tool", "id": "close_account", "properties": {"server": "mcp.example.com/stripe"}},
    "context": {
        "arguments": {"id": 7, "note": "s3cret"},
        "arguments_digest": "sha-256:abc",
        "policy": "default",
        "policy_digest": "sha-256:def",
        "rule": "/tools/close_account/action",
        "reason": "Closing an account cannot be undone.",
    },
}
Json = dict[str, Any]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """An approver in this process, and its clients."""

    approver: approver.Approver
    clock: Clock
    lines: list[Json] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"127.0.0.1:{self.approver.port}"

    @property
    def page(self) -> str:
        return f"127.0.0.1:{self.approver.page_port}"

    def evaluate(self, call: Json, approval: Any = None) -> Json:
        context = call["context"] if approval is None else {**call["context"], "approval": approval}
        status, answer = request(self.api, "POST", EVALUATION, {**call, "context": context})
        assert status == 200, answer
        return answer

    def submit(self, call: Json, denied: Json | None = None, **headers: str) -> tuple[int, Json]:
        return request(self.api, "POST", REQUESTS, submission(call, denied or self.evaluate(call)), **headers)

    def asked(self, call: Json) -> str:
        """The id of a task that waits for this call."""
        status, answer = self.submit(call)
        assert status == 202, answer
        return answer["task"]["id"]

    def status(self, task: str) -> tuple[int, Json]:
        return request(self.api, "GET", f"{REQUESTS}/{task}")

    def decide(self, task: str, decision: str = "approve", **headers: str | None) -> tuple[int, Json]:
        headers = {"x_approver_key": KEY, "origin": f"http://{self.page}", **headers}
        return request(self.page, "POST", "/decide", {"id": task, "decision": decision}, **headers)

    def approved(self, call: Json) -> Json:
        """An approval for this call."""
        task = self.asked(call)
        assert self.decide(task) == (200, {"id": task, "status": "approved"})
        return self.status(task)[1]["result"]["approval"]


def request(at: str, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, Json]:
    """One request and its answer in JSON. A header that is None is left out."""
    whole = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    octets = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(at, timeout=20)
    try:
        kept = {name: value for name, value in whole.items() if value is not None}
        connection.request(method, path, body=octets, headers=kept)
        reply = connection.getresponse()
        assert reply.headers["cache-control"] == "no-store"
        wanted = "application/json" if reply.status < 400 else "application/problem+json"
        assert reply.headers["content-type"] == wanted
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def submission(call: Json, denied: Json) -> Json:
    """What the filter sends after this denial."""
    context = denied["context"]
    denial = {"evaluation_id": context["evaluation_id"], **context["access_request"]}
    return {**call, "denial": denial, "client": {"id": "mcp-policy"}}


@contextmanager
def serving(**settings: Any) -> Iterator[Rig]:
    clock, lines = Clock(), []
    chosen = approver.Settings(port=0, page_port=0, page_key=KEY, **settings)
    with approver.Approver(chosen, clock=clock, log=lines.append) as running:
        yield Rig(running, clock, lines)


@pytest.fixture
def desk() -> Iterator[Rig]:
    with serving() as running:
        yield running


def changed(path: str, value: Any) -> Json:
    """The call with one member set, or taken out where the value is `...`."""
    call = deepcopy(CALL)
    *parents, last = path.split(".")
    at: Any = call
    for name in parents:
        at = at[name]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return call


# --- The protocol -----------------------------------------------------------------------------


def test_a_call_is_denied_asked_for_approved_and_permitted(desk: Rig) -> None:
    denied = desk.evaluate(CALL)
    context = denied["context"]
    assert denied["decision"] is False
    assert context.keys() == {"evaluation_id", "reason", "access_request"}
    assert context["reason"] == "approval_required"
    assert context["access_request"].keys() == {"expires_at", "binding_token"}
    assert context["access_request"]["expires_at"] == approver.timestamp(START + 300)

    status, pending = desk.submit(CALL, denied, idempotency_key="one")
    task = pending["task"]["id"]
    address = f"https://{desk.api}{REQUESTS}/{task}"
    assert (status, pending) == (
        202,
        {"task": {"id": task, "status": "pending", "expires_at": approver.timestamp(START + 300), "status_endpoint": address}},
    )
    assert desk.status(task) == (200, pending)

    desk.clock.now += 10
    assert desk.decide(task) == (200, {"id": task, "status": "approved"})
    status, ended = desk.status(task)
    approval = ended["result"]["approval"]
    assert (status, ended) == (
        200,
        {"task": {**pending["task"], "status": "approved"}, "result": {"mode": "reevaluate", "approval": approval}},
    )
    assert approval.keys() == {"id", "approved_until", "state"}
    assert approval["approved_until"] == approver.timestamp(START + 310)

    permitted = desk.evaluate(CALL, approval)
    assert permitted["decision"] is True
    assert permitted["context"]["approval"] == {"id": approval["id"], "approved_until": approval["approved_until"]}


def test_a_declined_call_stays_denied_and_the_first_word_counts(desk: Rig) -> None:
    task = desk.asked(CALL)
    assert desk.decide(task, "decline") == (200, {"id": task, "status": "denied"})
    for decision in ("approve", "decline"):
        status, problem = desk.decide(task, decision)
        assert (status, problem["type"]) == (409, ERROR + "invalid_task_state")
    status, ended = desk.status(task)
    assert (status, ended["task"]["status"], "result" in ended) == (200, "denied", False)
    assert desk.asked(CALL) != task


class SlowTime(int):
    """A time at which every look takes long, so that all who look at once would see the same."""

    def __le__(self, other: int) -> bool:
        time.sleep(0.002)
        return int(self) <= other


def test_an_approval_is_used_once_however_many_ask(desk: Rig) -> None:
    for number in range(4):
        call = changed("context.arguments.id", number)
        approval = desk.approved(call)
        task = desk.approver.approvals._approved[approval["id"]]
        task.approved_until = SlowTime(task.approved_until)
        start = threading.Barrier(30)

        def evaluate(_: int, call: Json = call, approval: Json = approval, start: threading.Barrier = start) -> Json:
            start.wait()
            return desk.evaluate(call, approval)

        with ThreadPoolExecutor(30) as threads:
            answers = list(threads.map(evaluate, range(30)))
        refused = [answer["context"] for answer in answers if answer["decision"] is not True]
        assert len(refused) == 29
        for context in refused:
            assert context.keys() == {"evaluation_id", "reason", "next_action"}
            assert (context["reason"], context["next_action"]) == ("approval_consumed", "none")
    assert sum(line["decision"] == "used" for line in desk.lines) == 4


OTHER_CALLS = {
    "another caller": ("subject.id", "agent-8"),
    "another kind of caller": ("subject.type", "user"),
    "another claim": ("subject.properties.team", "dev"),
    "a claim less": ("subject.properties.team", ...),
    "a caller who is not verified": ("subject.properties.verified", False),
    "another method": ("action.name", "prompts/get"),
    "another tool": ("resource.id", "close_accounts"),
    "another kind": ("resource.type", "prompt"),
    "another server": ("resource.properties.server", "mcp.example.com/other"),
    "another argument": ("context.arguments.id", 8),
    "an argument more": ("context.arguments.force", True),
    "an argument less": ("context.arguments.note", ...),
    "an argument that is null": ("context.arguments.note", None),
    "no arguments": ("context.arguments", ...),
    "a text for a number": ("context.arguments.id", "7"),
    "true for a number": ("context.arguments.id", True),
    "another digest": ("context.arguments_digest", "sha-256:abd"),
    "another policy": ("context.policy_digest", "sha-256:deg"),
    "another rule": ("context.rule", "/tools/*/action"),
    "something more": ("context.more", {}),
}


@pytest.mark.parametrize("change", OTHER_CALLS.values(), ids=OTHER_CALLS)
def test_an_approval_is_for_one_call_only_and_survives_what_it_is_not_for(desk: Rig, change: tuple[str, Any]) -> None:
    approval = desk.approved(CALL)
    answer = desk.evaluate(changed(*change), approval)
    assert answer["decision"] is False
    assert answer["context"]["reason"] == "out_of_scope"
    assert "access_request" not in answer["context"]
    assert desk.evaluate(CALL, approval)["decision"] is True


@pytest.mark.parametrize(
    ("approved", "used", "same"),
    [
        ('{"a":1,"b":2}', '{"b":2,"a":1}', True),
        ('{"a":1}', '{ "\\u0061" : 1.0 }', True),
        ('{"a":120}', '{"a":12E+1}', True),
        ('{"a":0.5}', '{"a":0.50}', True),
        ('{"a":0}', '{"a":-0.0}', True),
        ('{"a":9007199254740993}', '{"a":9007199254740992}', False),
        ('{"a":0.1}', '{"a":0.1000000000000000055}', False),
        ('{"a":1e400}', '{"a":1e401}', False),
        ('{"a":1}', '{"a":-1}', False),
        ('{"a":"\\u00e9"}', '{"a":"e\\u0301"}', False),
        ('{"a":[1,2]}', '{"a":[2,1]}', False),
        ('{"a":[]}', '{"a":{}}', False),
        ('{"a":"true"}', '{"a":true}', False),
    ],
)
def test_calls_are_the_same_by_value(desk: Rig, approved: str, used: str, same: bool) -> None:
    def body(arguments: str, more: Json, approval: Json | None = None) -> bytes:
        context = {"arguments": "HERE", **({"approval": approval} if approval else {})}
        return json.dumps({**CALL, **more, "context": context}).replace('"HERE"', arguments).encode()

    _, denied = request(desk.api, "POST", EVALUATION, body(approved, {}))
    denial = submission(CALL, denied)["denial"]
    _, pending = request(desk.api, "POST", REQUESTS, body(approved, {"denial": denial}))
    desk.decide(pending["task"]["id"])
    approval = desk.status(pending["task"]["id"])[1]["result"]["approval"]
    _, answer = request(desk.api, "POST", EVALUATION, body(used, {}, approval))
    assert answer["decision"] is same


def test_an_approval_must_come_back_as_it_was_given(desk: Rig) -> None:
    approval = desk.approved(CALL)
    later = approver.timestamp(START + 10_000)
    other = desk.approved(changed("context.arguments.id", 8))
    for wrong in (
        {**approval, "state": approval["state"][:-1]},
        {**approval, "state": other["state"]},
        {**approval, "approved_until": later},
        {**approval, "id": other["id"]},
        {**approval, "id": "apr_0"},
        {**approval, "id": ["a"]},
        {**approval, "more": 1},
        {"id": approval["id"]},
        {},
        [],
        False,
        approval["id"],
    ):
        answer = desk.evaluate(CALL, wrong)
        assert (answer["decision"], answer["context"]["reason"]) == (False, "approval_unverifiable"), wrong
    assert desk.evaluate(CALL, approval)["decision"] is True


def test_the_same_call_joins_what_is_there(desk: Rig) -> None:
    denied = desk.evaluate(CALL)
    status, first = desk.submit(CALL, denied, idempotency_key="one")
    assert status == 202
    assert desk.submit(CALL, denied, idempotency_key="one") == (202, first), "the same submission"
    assert desk.submit(CALL, idempotency_key="two") == (202, first), "a new submission of the same call"
    assert desk.submit(CALL) == (202, first), "one without a key"
    status, problem = desk.submit(CALL, idempotency_key="one")
    assert (status, problem["type"]) == (409, ERROR + "duplicate_request"), "a used key, under another denial"

    desk.decide(first["task"]["id"])
    status, joined = desk.submit(CALL, idempotency_key="three")
    assert (status, joined["task"]["id"], joined["task"]["status"]) == (201, first["task"]["id"], "approved")
    assert desk.evaluate(CALL, joined["result"]["approval"])["decision"] is True
    assert desk.submit(CALL, denied, idempotency_key="one")[0] == 201, "a retry that comes late finds its task"
    assert desk.asked(CALL) != first["task"]["id"], "what was used up is asked for anew"


def test_a_request_must_belong_to_a_denial(desk: Rig) -> None:
    denied = desk.evaluate(CALL)
    right = submission(CALL, denied)["denial"]
    other = submission(CALL, desk.evaluate(changed("context.arguments.id", 8)))["denial"]
    token = right["binding_token"]
    for denial in (
        None,
        [],
        {},
        {**right, "binding_token": token[:-1] + ("A" if token[-1] != "A" else "B")},
        {**right, "binding_token": "A" + token[1:]},
        {**right, "binding_token": token.partition(".")[0]},
        {**right, "binding_token": "\u00e9.\u00e9"},
        {**right, "binding_token": ["x"]},
        {**right, "evaluation_id": "eval_0"},
        {**right, "expires_at": approver.timestamp(START + 301)},
        {"evaluation_id": right["evaluation_id"], "expires_at": right["expires_at"]},
        other,
    ):
        status, problem = request(desk.api, "POST", REQUESTS, {**CALL, "denial": denial})
        assert (status, problem["type"]) == (400, ERROR + "invalid_denial_binding"), denial
    desk.clock.now += 300
    status, problem = request(desk.api, "POST", REQUESTS, {**CALL, "denial": right})
    assert (status, problem["type"]) == (410, ERROR + "expired_denial")


def test_what_nobody_decides_expires(desk: Rig) -> None:
    task = desk.asked(CALL)
    desk.clock.now += 299
    assert desk.status(task)[1]["task"]["status"] == "pending"
    desk.clock.now += 1
    assert desk.status(task)[1]["task"]["status"] == "expired"
    assert desk.decide(task)[0] == 409
    assert desk.asked(CALL) != task
    desk.clock.now += 601
    status, problem = desk.status(task)
    assert (status, problem["type"]) == (404, ERROR + "unknown_task")


def test_an_approval_expires(desk: Rig) -> None:
    late, in_time = desk.approved(CALL), desk.approved(changed("context.arguments.id", 8))
    desk.clock.now += 299
    assert desk.evaluate(changed("context.arguments.id", 8), in_time)["decision"] is True
    desk.clock.now += 1
    answer = desk.evaluate(CALL, late)
    assert answer["decision"] is False
    assert (answer["context"]["reason"], answer["context"]["next_action"]) == ("approval_expired", "request")
    status, asked = desk.submit(CALL, answer)
    assert (status, asked["task"]["status"]) == (202, "pending"), "it can be asked for anew, by this very answer"
    desk.clock.now += 601
    assert desk.evaluate(CALL, late)["context"]["reason"] == "approval_unverifiable", "forgotten, and still refused"


def test_what_waits_and_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approver, "MAX_ENDED", 5)
    with serving(max_waiting=3) as desk:
        tasks = [desk.asked(changed("context.arguments.id", number)) for number in range(3)]
        status, problem = desk.submit(CALL)
        assert (status, problem["detail"]) == (503, "Too many calls are waiting already.")
        assert desk.submit(changed("context.arguments.id", 1))[0] == 202, "what waits already can be joined"
        desk.decide(tasks[0], "decline")
        assert desk.submit(CALL)[0] == 202
        desk.decide(tasks[1])
        for number in range(20):
            desk.decide(desk.asked(changed("context.arguments.id", 100 + number)), "decline")
        assert desk.status(tasks[0])[0] == 404, "old ones are forgotten"
        assert desk.status(tasks[1])[1]["task"]["status"] == "approved", "but no approval that can still be used"
        for number in range(100):
            assert desk.submit(CALL, idempotency_key=f"key-{number}")[0] == 202
        held = desk.approver.approvals
        assert len(held._tasks) <= 9 and len(held._keys) <= approver.MAX_KEYS


ODD_BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "an array": b"[]",
    "a text": b'"x"',
    "no UTF-8": b'{"subject":"\xff"}',
    "a BOM": b"\xef\xbb\xbf" + json.dumps(CALL).encode(),
    "two values": json.dumps(CALL).encode() * 2,
    "NaN": json.dumps({**CALL, "context": {"arguments": float("nan")}}).encode(),
    "a member twice": json.dumps(CALL).replace('"id": 7', '"id": 7, "id": 8').encode(),
    "half a character": json.dumps({**CALL, "context": {"arguments": "\ud800"}}).encode(),
    "half a name": json.dumps({**CALL, "context": {"\udc00": 1}}).encode(),
    "a huge exponent": json.dumps(CALL).replace(": 7", ": 1e9999999999").encode(),
    "deep": json.dumps(CALL).replace(": 7", ": " + "[" * 200 + "]" * 200).encode(),
    "very deep": json.dumps(CALL).replace(": 7", ": " + "[" * 200_000).encode(),
    "no subject": json.dumps({**CALL, "subject": None}).encode(),
    "a nameless subject": json.dumps({**CALL, "subject": {"type": "identity"}}).encode(),
    "an empty name": json.dumps({**CALL, "subject": {"type": "identity", "id": ""}}).encode(),
    "a name of another type": json.dumps({**CALL, "subject": {"type": "identity", "id": 7}}).encode(),
    "a long name": json.dumps({**CALL, "resource": {"type": "tool", "id": "x" * 5000}}).encode(),
    "no action": json.dumps({**CALL, "action": {}}).encode(),
    "properties that are none": json.dumps({**CALL, "subject": {**CALL["subject"], "properties": []}}).encode(),
    "a context that is none": json.dumps({**CALL, "context": []}).encode(),
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_malformed_question_is_refused_in_clear_words(desk: Rig, body: bytes) -> None:
    for path in (EVALUATION, REQUESTS):
        status, problem = request(desk.api, "POST", path, body)
        assert (status, problem["status"], problem["title"]) == (400, 400, "Bad Request")
        assert "s3cret" not in json.dumps(problem)
    assert request(desk.page, "GET", "/waiting", x_approver_key=KEY) == (200, {"waiting": []})


def test_a_long_question_is_taken_and_a_longer_one_refused(desk: Rig) -> None:
    long = changed("context.arguments.note", "x" * (1 << 20))
    assert desk.evaluate(long, desk.approved(long))["decision"] is True
    for size in (2 << 20, 6 << 20):
        status, problem = request(desk.api, "POST", EVALUATION, changed("context.arguments.note", "x" * size))
        assert (status, problem["status"]) == (413, 413)


def test_other_requests_are_refused(desk: Rig) -> None:
    body = json.dumps(CALL).encode()
    rows = [
        (404, "GET", "/", {}),
        (404, "GET", EVALUATION, {}),
        (404, "POST", EVALUATION + "/", {}),
        (404, "POST", EVALUATION + "?x", {}),
        (404, "GET", f"{REQUESTS}/", {}),
        (404, "GET", f"{REQUESTS}/../evaluation", {}),
        (405, "PUT", EVALUATION, {}),
        (405, "OPTIONS", EVALUATION, {}),
        (405, "DELETE", f"{REQUESTS}/x", {}),
        (415, "POST", EVALUATION, {"content_type": "text/plain"}),
        (415, "POST", EVALUATION, {"content_type": None}),
        (403, "POST", EVALUATION, {"origin": f"http://{desk.page}"}),
        (403, "GET", REQUESTS, {"sec_fetch_site": "none"}),
        (411, "POST", EVALUATION, {"transfer_encoding": "chunked"}),
        (400, "POST", EVALUATION, {"content_length": "-1"}),
        (400, "POST", EVALUATION, {"content_length": "x"}),
        (400, "POST", REQUESTS, {"idempotency_key": "k" * 257}),
        (400, "POST", REQUESTS, {"idempotency_key": "a b"}),
        (404, "POST", "/decide", {"x_approver_key": KEY}),
        (404, "GET", "/waiting", {"x_approver_key": KEY}),
    ]
    for wanted, method, path, headers in rows:
        status, _ = request(desk.api, method, path, body if method == "POST" else None, **headers)
        assert status == wanted, (method, path, headers)


def test_the_api_wants_its_credential() -> None:
    with serving(authorization="Bearer right") as desk:
        wrong: list[Json] = [{}, {"authorization": "Bearer wrong"}, {"authorization": "right"}, {"authorization": "Bearer righ\u00e9"}]
        for headers in wrong:
            for method, path in (("POST", EVALUATION), ("POST", REQUESTS), ("GET", f"{REQUESTS}/x"), ("GET", "/")):
                status, _ = request(desk.api, method, path, CALL if method == "POST" else None, **headers)
                assert status == 401, (method, path, headers)
        assert request(desk.api, "POST", EVALUATION, CALL, authorization="Bearer right")[0] == 200
        assert request(desk.page, "GET", "/waiting", authorization="Bearer right")[0] == 403, "nor does it open the page"


def test_only_the_page_itself_decides(desk: Rig) -> None:
    task = desk.asked(CALL)
    own, key = f"http://{desk.page}", {"x_approver_key": KEY}
    refused: list[tuple[int, Json]] = [
        (403, {"x_approver_key": None}),
        (403, {"x_approver_key": "wrong"}),
        (403, {"x_approver_key": ""}),
        (403, {"x_approver_key": KEY + "\u00e9"}),
        (403, {"origin": None}),
        (403, {"origin": "null"}),
        (403, {"origin": "http://evil.example"}),
        (403, {"origin": f"http://{desk.api}"}),
        (403, {"origin": f"https://{desk.page}"}),
        (403, {"origin": own.replace("127.0.0.1", "localhost")}),
        (415, {"content_type": "text/plain"}),
        (415, {"content_type": "application/x-www-form-urlencoded"}),
        (421, {"host": "evil.example", "origin": "http://evil.example"}),
        (421, {"host": f"evil.example:{desk.approver.page_port}", "origin": f"http://evil.example:{desk.approver.page_port}"}),
        (421, {"host": desk.api, "origin": f"http://{desk.api}"}),
        (421, {"host": ""}),
    ]
    for wanted, headers in refused:
        status, problem = desk.decide(task, **headers)
        assert status == wanted, (headers, problem)
    for path in ("/", "/waiting", f"/waiting/{task}", f"/t/{task}"):
        assert request(desk.page, "GET", path, host="evil.example", **key)[0] == 421, path
    for path in ("/waiting", f"/waiting/{task}"):
        assert request(desk.page, "GET", path)[0] == 403, path
    for body in (b"", b"{}", {"id": task}, {"id": task, "decision": "yes"}, {"id": [task], "decision": "approve"}, [task]):
        assert request(desk.page, "POST", "/decide", body, origin=own, **key)[0] == 400, body
    assert request(desk.page, "GET", f"/decide?id={task}&decision=approve", **key)[0] == 404
    assert desk.decide("arq_0")[0] == 404
    assert desk.status(task)[1]["task"]["status"] == "pending"


def test_the_page_allows_its_own_script_and_nothing_else(desk: Rig) -> None:
    seen = []
    for _ in range(2):
        connection = http.client.HTTPConnection(desk.page, timeout=20)
        connection.request("GET", "/")
        reply = connection.getresponse()
        text = reply.read().decode()
        nonce = re.search(r'<script nonce="([\w-]{20,})">', text)
        assert nonce and "NONCE" not in text and KEY not in text
        assert reply.headers["content-security-policy"] == (
            f"default-src 'none'; script-src 'nonce-{nonce[1]}'; style-src 'nonce-{nonce[1]}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        )
        for name, value in (("x-frame-options", "DENY"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")):
            assert reply.headers[name] == value
        seen.append(nonce[1])
    assert seen[0] != seen[1]


def test_a_ticket_is_linked_only_where_it_can_be_reached(desk: Rig) -> None:
    assert "links" not in desk.submit(CALL)[1]["task"]
    with serving(public_url="https://approvals.example.com/a") as public:
        task = public.submit(CALL)[1]["task"]
        assert task["links"] == {"ticket": f"https://approvals.example.com/a/t/{task['id']}"}
        connection = http.client.HTTPConnection(public.page, timeout=20)
        connection.request("GET", f"/t/{task['id']}", headers={"host": "approvals.example.com"})
        text = connection.getresponse().read().decode()
        assert "waits for approval" in text
        assert "close_account" not in text and KEY not in text
        for path in ("/", "/waiting"):
            assert request(public.page, "GET", path, host="approvals.example.com", x_approver_key=KEY)[0] == 421


def test_decisions_are_written_down_without_arguments(desk: Rig) -> None:
    desk.evaluate(CALL, desk.approved(CALL))
    desk.decide(desk.asked(CALL), "decline")
    desk.asked(changed("subject.id", "x" * 4096))
    desk.clock.now += 300
    request(desk.page, "GET", "/waiting", x_approver_key=KEY)
    assert [line["decision"] for line in desk.lines] == ["approved", "used", "denied", "expired"]
    for line in desk.lines:
        assert list(line) == ["time", "decision", "task", "caller", "method", "kind", "name", "policy", "rule", "arguments_digest"]
        assert "s3cret" not in json.dumps(line)
        assert len(json.dumps(line)) < 1000


# --- The command ------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    argv = [sys.executable, str(rig.ROOT / "envoy" / "approver.py"), "--port", "0", "--page-port", "0"]
    command = rig.Process(argv, tmp_path, name="approver")
    with command:
        command.wait_until(lambda: "the page is at" in command.log())
        port = re.search(r"the API is on 127\.0\.0\.1, port (\d+)", command.log())
        url = re.search(r"the page is at http://(127\.0\.0\.1:\d+)/#(\S{32,})", command.log())
        assert port and url, command.log()
        api, page, key = f"127.0.0.1:{port[1]}", url[1], url[2]
        _, denied = request(api, "POST", EVALUATION, CALL)
        _, pending = request(api, "POST", REQUESTS, submission(CALL, denied))
        wish = {"id": pending["task"]["id"], "decision": "decline"}
        assert request(page, "POST", "/decide", wish, x_approver_key=key, origin=f"http://{page}")[0] == 200
        os.kill(command.pid, signal.SIGTERM)
        assert os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT).si_status == 0
    lines = command.stdout_path.read_text().splitlines()
    assert [json.loads(line)["decision"] for line in lines] == ["denied"]
    assert len(command.log().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--host 0.0.0.0", "--authorization-env is needed"),
        ("--authorization-env NOBODY_HAS_SET_THIS", "NOBODY_HAS_SET_THIS is not set"),
        ("--public-url http://example.com", "https"),
        ("--public-url https://example.com/?x", "without query"),
        ("--expires 0", "--expires must be"),
        ("--max-waiting 100000", "--max-waiting must be"),
    ],
)
def test_the_command_refuses_what_would_be_unsafe(arguments: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        approver.settings_of(arguments.split())
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_credential_opens_the_api_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPROVER_CREDENTIAL", "Bearer x")
    settings = approver.settings_of(["--host", "0.0.0.0", "--authorization-env", "APPROVER_CREDENTIAL"])
    assert (settings.host, settings.authorization) == ("0.0.0.0", "Bearer x")


# --- What a person sees -----------------------------------------------------------------------


def unwrapped(shown: str) -> str:
    """Without the two characters in which the page puts what runs from right to left."""
    return shown.replace("\u2068", "").replace("\u2069", "")


def test_every_character_is_seen_or_numbered() -> None:
    for code in [*range(0xD800), *range(0xE000, 0x30000), *range(0xE0000, 0xE0200), 0x10FFFF]:
        char = chr(code)
        shown = unwrapped(approver.visible(f"a{char}b"))
        assert json.loads(f'"{shown}"') == f"a{char}b"
        for each in shown:
            assert each == " " or unicodedata.category(each)[0] not in "CZ", hex(code)


HARD_TEXTS = {
    "bidi": "abc\u202egpj.exe\u202c",
    "isolates": "\u2066a\u2069\u2068b",
    "zero width": "pay\u200bpal \u2060\ufeff\u00ad\u180e",
    "fillers": "a\u115f\u3164\uffa0\u2800b",
    "tags": "a\U000e0041\U000e007f",
    "variations": "a\ufe0f\U000e0100",
    "spaces": "a\u00a0\u2003\u3000\u2028\u2029b",
    "controls": "a\x00\x1b[31m\x7f\x85\tb",
    "lines": 'x"\n}\n"amount": 1,\r\n',
    "a pile of accents": "a" + "\u0335" * 40,
    "accents in front": "\u0335a",
    "unassigned": "\u0378\U000107ff",
    "private": "\ue000\U0010ffff",
    "backslashes": "\\u202e \\\\ \\n",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "a link": "](http://127.0.0.1:9/x) https://evil.example/ [y](javascript:alert(1))",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 100 200",
    "a fake row": 'x",\n  "Tool": "search',
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cafe\u0301", "cafe\u0301"),
        ("e\u0302\u0323", "e\u0302\u0323"),
        ("e" + "\u0302" * 5, "e\u0302\u0302" + "\\u0302" * 3),
        ("\u0335", "\\u0335"),
        ("\u200b\u0335", "\\u200b\\u0335"),
        ("caf\u00e9 \u4e2d\u6587 \U0001f600", "caf\u00e9 \u4e2d\u6587 \U0001f600"),
    ],
)
def test_accents_stand_on_letters(text: str, shown: str) -> None:
    assert approver.visible(text) == shown


def test_arguments_are_shown_as_they_are() -> None:
    arguments = {"texts": HARD_TEXTS, **{text: index for index, text in enumerate(HARD_TEXTS.values())}}
    shown = approver.pretty(arguments)
    assert json.loads(unwrapped(shown)) == arguments
    # One line for each member, and for each bracket: no text makes lines of its own.
    assert len(shown.split("\n")) == 2 * len(HARD_TEXTS) + 4
    for char in unwrapped(shown).replace("\n", ""):
        assert char == " " or unicodedata.category(char)[0] not in "CZ", hex(ord(char))


# --- The page, in a browser -------------------------------------------------------------------


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def opened(desk: Rig, window: webdriver.Chrome) -> Iterator[Rig]:
    """An approver with its page open. Whatever a test does there, it must ask for nothing elsewhere."""
    window.get("about:blank")
    browser.requested(window), browser.complaints(window)
    window.get(desk.approver.page_url)
    until(window, lambda: status_line(window) == "Nothing waits.")
    yield desk
    assert {url for url in browser.requested(window) if not url.startswith(f"http://{desk.page}/")} == set()
    assert browser.complaints(window) == []


def until(window: webdriver.Chrome, holds: Callable[[], Any]) -> Any:
    return WebDriverWait(window, 10, poll_frequency=0.05).until(lambda _: holds())


def status_line(window: webdriver.Chrome) -> str:
    return window.find_element(By.ID, "state").text


def card(window: webdriver.Chrome, task: str) -> WebElement:
    """A call on the page, with its buttons awake."""
    found = until(window, lambda: window.find_elements(By.ID, task))[0]
    until(window, lambda: all(button.is_enabled() for button in found.find_elements(By.TAG_NAME, "button")))
    return found


def rows(shown: WebElement) -> dict[str, str]:
    names, texts = (shown.find_elements(By.TAG_NAME, tag) for tag in ("dt", "dd"))
    return {name.text: text.text for name, text in zip(names, texts, strict=True)}


def button(shown: WebElement, name: str) -> WebElement:
    return next(each for each in shown.find_elements(By.TAG_NAME, "button") if each.accessible_name == name)


def block(shown: WebElement, name: str) -> WebElement:
    return next(each for each in shown.find_elements(By.TAG_NAME, "pre") if each.accessible_name == name)


def test_the_page_shows_what_waits(opened: Rig, window: webdriver.Chrome) -> None:
    task = opened.asked(CALL)
    shown = card(window, task)
    assert rows(shown) == {
        "Caller": "agent-7",
        "Verified": "yes",
        "Method": "tools/call",
        "Tool": "close_account",
        "Server": "mcp.example.com/stripe",
        "Policy": "default",
        "Policy digest": "sha-256:def",
        "Rule": "/tools/close_account/action",
        "Reason": "Closing an account cannot be undone.",
        "Digest": "sha-256:abc",
    }
    assert shown.find_element(By.TAG_NAME, "h2").text == "close_account"
    assert json.loads(block(shown, "Arguments").text) == CALL["context"]["arguments"]
    assert json.loads(block(shown, "Also sent").text) == {"subject": {"properties": {"team": "sre"}}}
    assert "5 min 0 s left" in shown.text
    opened.clock.now += 61
    until(window, lambda: "3 min 59 s left" in shown.text)
    assert (status_line(window), window.title) == ("1 call waits.", "(1) Approvals")
    assert "example" in window.find_element(By.TAG_NAME, "footer").text


def test_who_is_not_verified_and_what_was_not_sent_is_said(opened: Rig, window: webdriver.Chrome) -> None:
    unverified = changed("subject.properties.verified", False)
    unknown = changed("subject.properties", ...)
    digest_only = changed("context.arguments", ...)
    tasks = [opened.asked(call) for call in (unverified, unknown, digest_only)]
    cards = [card(window, task) for task in tasks]
    assert "nothing has verified" in rows(cards[0])["Verified"]
    assert "unknown" in rows(cards[1])["Verified"]
    assert "The arguments were not sent" in cards[2].text


def test_approve_works_once(opened: Rig, window: webdriver.Chrome) -> None:
    task, other = opened.asked(CALL), opened.asked(changed("context.arguments.id", 8))
    shown = card(window, task)
    place = card(window, other).location
    button(shown, "Approve").click()
    until(window, lambda: "Approved, for one call." in shown.text)
    assert shown.find_elements(By.TAG_NAME, "button") == []
    assert card(window, other).location == place, "no button moves"
    approval = opened.status(task)[1]["result"]["approval"]
    assert opened.evaluate(CALL, approval)["decision"] is True
    assert opened.evaluate(CALL, approval)["decision"] is False
    assert opened.status(other)[1]["task"]["status"] == "pending"


def test_decline_works(opened: Rig, window: webdriver.Chrome) -> None:
    task = opened.asked(CALL)
    shown = card(window, task)
    button(shown, "Decline").click()
    until(window, lambda: "Declined." in shown.text)
    assert opened.status(task)[1]["task"]["status"] == "denied"
    clear = window.find_element(By.ID, "clear")
    clear.click()
    assert window.find_elements(By.ID, task) == []


def test_what_ends_elsewhere_ends_on_the_page(opened: Rig, window: webdriver.Chrome) -> None:
    decided, expired = opened.asked(CALL), opened.asked(changed("context.arguments.id", 8))
    cards = [card(window, decided), card(window, expired)]
    opened.decide(decided)
    until(window, lambda: "Approved" in cards[0].text)
    opened.clock.now += 300
    until(window, lambda: "Nobody decided in time." in cards[1].text)
    until(window, lambda: status_line(window) == "Nothing waits.")


def test_hard_texts_are_text(opened: Rig, window: webdriver.Chrome) -> None:
    tasks = {}
    for name, text in HARD_TEXTS.items():
        call = deepcopy(CALL)
        call["subject"]["id"] = call["resource"]["id"] = call["context"]["reason"] = text
        call["context"]["arguments"] = {text: text, "z": 1}
        tasks[name] = opened.asked(call)
    for name, text in HARD_TEXTS.items():
        shown = card(window, tasks[name])
        arguments = window.execute_script("return arguments[0].textContent", block(shown, "Arguments"))
        assert json.loads(unwrapped(arguments)) == {text: text, "z": 1}, name
        assert len(arguments.split("\n")) == 4, name
        visible = window.execute_script("return arguments[0].textContent", shown)
        for char in unwrapped(visible).replace("\n", ""):
            assert char == " " or unicodedata.category(char)[0] not in "CZ", (name, hex(ord(char)))
        # Nothing but what the page makes itself: no link, no picture, no script.
        tags = window.execute_script("return [...arguments[0].querySelectorAll('*')].map((each) => each.tagName)", shown)
        assert set(tags) <= {"H2", "DL", "DT", "DD", "DIV", "PRE", "P", "BUTTON", "SPAN"}, name


def test_a_text_from_right_to_left_keeps_its_place(opened: Rig, window: webdriver.Chrome) -> None:
    shown = card(window, opened.asked(changed("context.arguments", {"\u05d0\u05d1\u05d2": 100, "x": ["\u05d3"]})))
    place = """
        const line = [...arguments[0].children].find((each) => each.textContent.includes("100"));
        const node = line.firstChild, range = document.createRange(), at = node.data.indexOf(arguments[1]);
        range.setStart(node, at); range.setEnd(node, at + 1);
        const box = range.getBoundingClientRect(); return [box.top, box.left];"""
    arguments = block(shown, "Arguments")
    quote, name, colon, number = (window.execute_script(place, arguments, each) for each in ('"', "\u05d0", ":", "100"))
    assert quote[0] == name[0] == colon[0] == number[0], "on one line"
    assert quote[1] < name[1] < colon[1] < number[1]


AT_END = "const it = arguments[0]; return it.scrollTop + it.clientHeight + 2 > it.scrollHeight"


def test_long_arguments_scroll_and_are_whole(opened: Rig, window: webdriver.Chrome) -> None:
    long = {"first": "x" * 300_000, "rows": list(range(3000)), "last": "the end"}
    shown = card(window, opened.asked(changed("context.arguments", long)))
    arguments = block(shown, "Arguments")
    assert json.loads(window.execute_script("return arguments[0].textContent", arguments)) == long
    width, inner, height, content = window.execute_script(
        "const it = arguments[0]; return [it.clientWidth, it.scrollWidth, it.clientHeight, it.scrollHeight]", arguments
    )
    assert inner <= width, "nothing is hidden to the right"
    assert height < 500 < content
    arguments.send_keys(Keys.END)
    until(window, lambda: window.execute_script(AT_END, arguments))
    assert button(shown, "Approve").is_displayed()


def test_the_keyboard_is_enough(opened: Rig, window: webdriver.Chrome) -> None:
    first, second = opened.asked(CALL), opened.asked(changed("context.arguments.id", 8))
    cards = {task: card(window, task) for task in (first, second)}

    def focus() -> tuple[str, str]:
        active = window.switch_to.active_element
        inside = window.execute_script("return arguments[0].closest('article')?.id || ''", active)
        return inside, active.accessible_name

    def press(*keys: str) -> None:
        for key in keys:
            window.switch_to.active_element.send_keys(key)

    seen = []
    for _ in range(8):
        press(Keys.TAB)
        seen.append(focus())
    stops = ["Arguments", "Also sent", "Approve", "Decline"]
    assert seen == [(task, name) for task in (first, second) for name in stops]

    window.execute_script("arguments[0].focus()", button(cards[second], "Approve"))
    third = opened.asked(changed("context.arguments.id", 9))
    opened.decide(first, "decline")
    card(window, third)
    until(window, lambda: "Declined." in cards[first].text)
    assert focus() == (second, "Approve"), "what comes and goes leaves the focus alone"

    press(Keys.ENTER)
    until(window, lambda: "Approved, for one call." in cards[second].text)
    assert focus()[0] == second and focus()[1] != "Approve", "the focus stays, on what came of it"
    press(Keys.ENTER, Keys.SPACE)
    assert opened.status(third)[1]["task"]["status"] == "pending", "another press decides nothing else"
    press(Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB)
    assert focus() == (third, "Decline")
    press(Keys.SPACE)
    until(window, lambda: opened.status(third)[1]["task"]["status"] == "denied")
    assert opened.status(second)[1]["task"]["status"] == "approved"


class Canary(ThreadingHTTPServer):
    """A foreign server, which writes down who comes."""

    def __init__(self) -> None:
        self.came: list[str] = []
        super().__init__(("127.0.0.1", 0), CanaryHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class CanaryHandler(BaseHTTPRequestHandler):
    server: Canary

    def do_GET(self) -> None:
        self.server.came.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>canary</title>")

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_even_a_script_in_the_page_reaches_nobody(desk: Rig, window: webdriver.Chrome, canary: Canary) -> None:
    """The second wall: what the page never lets in could still not get out."""
    window.get(desk.approver.page_url)
    until(window, lambda: status_line(window) == "Nothing waits.")
    window.execute_async_script(
        """
        const [at, done] = arguments, add = (made) => document.body.append(made);
        for (const [tag, name] of [["img", "src"], ["iframe", "src"], ["link", "href"], ["video", "src"]]) {
          add(Object.assign(document.createElement(tag), { rel: "stylesheet", [name]: at + "/" + tag }));
        }
        const form = Object.assign(document.createElement("form"), { action: at + "/form" });
        add(form);
        form.submit();
        try { new WebSocket(at.replace("http", "ws") + "/socket"); } catch {}
        try { add(Object.assign(document.createElement("script"), { src: at + "/script" })); } catch {}
        navigator.sendBeacon(at + "/beacon");
        fetch(at + "/fetch", { mode: "no-cors" }).catch(() => 0).then(() => setTimeout(done, 500));
        """,
        canary.url,
    )
    assert canary.came == []
    window.get(f"{canary.url}/seen")
    assert "/seen" in canary.came, "the canary does hear"


def test_markup_in_the_page_does_not_run(desk: Rig, window: webdriver.Chrome) -> None:
    window.get(desk.approver.page_url)
    until(window, lambda: status_line(window) == "Nothing waits.")
    refused = window.execute_script(
        "try { document.body.innerHTML = '<img src=x onerror=\"window.ran = 1\">'; return false } catch { return true }"
    )
    assert refused, "no text becomes markup"
    assert window.execute_script("return window.ran") is None


def test_a_foreign_page_neither_decides_nor_asks_nor_frames(desk: Rig, window: webdriver.Chrome, canary: Canary) -> None:
    """Even one that knows the key."""
    task = desk.asked(CALL)
    window.get(canary.url)
    outcomes = window.execute_async_script(
        """
        const [page, api, key, wish, call, done] = arguments, tries = [];
        for (const [at, body] of [[page + "/decide", wish], [api + "/access/v1/evaluation", call]]) {
          const json = { "content-type": "application/json", "x-approver-key": key };
          tries.push(fetch(at, { method: "POST", headers: json, body }));
          tries.push(fetch(at, { method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" }, body }));
        }
        const frame = Object.assign(document.createElement("iframe"), { src: page + "/#" + key });
        document.body.append(frame);
        frame.addEventListener("load", () => Promise.allSettled(tries).then((all) => done(all.map((each) => each.status))));
        """,
        f"http://{desk.page}",
        f"http://{desk.api}",
        KEY,
        json.dumps({"id": task, "decision": "approve"}),
        json.dumps(CALL),
    )
    assert outcomes == ["rejected", "fulfilled"] * 2, "the second of each was sent, and its answer is not shown to the page"
    window.switch_to.frame(window.find_element(By.TAG_NAME, "iframe"))
    assert window.find_elements(By.ID, "state") == []
    window.switch_to.default_content()
    assert desk.status(task)[1]["task"]["status"] == "pending"


def test_without_the_key_the_page_is_empty(desk: Rig, window: webdriver.Chrome) -> None:
    task = desk.asked(CALL)
    for address in (f"http://{desk.page}/", f"http://{desk.page}/#wrong"):
        window.get("about:blank")
        window.get(address)
        until(window, lambda: "The key is missing or wrong" in status_line(window))
        assert window.find_elements(By.ID, task) == []
    assert window.get_cookies() == []
