#!/usr/bin/env python3
"""An example of an approver: it keeps calls that need a person until one has approved or declined them on a page.

    envoy/approver.py                      # the API on 127.0.0.1:8090, the page on 127.0.0.1:8091
    curl -s 127.0.0.1:8090/access/v1/evaluation -H 'content-type: application/json' -d '{
      "subject": {"type": "identity", "id": "agent-7"}, "action": {"name": "tools/call"},
      "resource": {"type": "tool", "id": "close_account"}, "context": {"arguments": {"id": 7}}}'

It is an EXAMPLE: it shows the protocol, and serves the demo and the tests. It keeps everything in memory, and it does
not know who looks at its page: whoever has the page's address can approve. Where it matters who approves, put a
system there that knows its people.

It speaks OpenID AuthZEN 1.0 (access evaluation) and its Access Request and Approval Profile, draft 1. Every call that
it is asked about needs a person:

    POST /access/v1/evaluation      denied, with what is needed to request the access
    POST /access/v1/requests        a task that waits; the same call joins the task that is there already
    GET  /access/v1/requests/<id>   pending, approved, denied or expired
    POST /access/v1/evaluation      with `context.approval`: permitted, once, if it is the very call that was approved

Two ports, so that whoever may ask can not also approve. The page is on loopback only. Its address holds a key, made
anew at each start; the browser keeps it in the fragment, so it is in no request line and no log. There is no cookie.

It prints a line of JSON for each decision, without arguments; the address of the page goes to stderr.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import functools
import hashlib
import hmac
import json
import os
import re
import secrets
import signal
import socket
import socketserver
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVALUATION = "/access/v1/evaluation"
REQUESTS = "/access/v1/requests"

# The filter reads bodies up to 1 MiB by default; the rest is for what it says about a call.
MAX_BODY = (1 << 20) + (1 << 16)
# Of a body that is too long, so much is read before the answer: a client that still sends would not see it.
MAX_DRAINED = 8 << 20
MAX_DEPTH = 150
MAX_NAME = 4096
MAX_KEY = 256
MAX_KEYS = 16
MAX_CONNECTIONS = 128
# Tasks that have ended stay readable for a while, so that whoever polls learns how they ended.
KEPT_SECONDS = 600
MAX_ENDED = 1000


class Problem(Exception):
    """A request that is not answered as it wished, as RFC 9457 writes it."""

    def __init__(self, status: int, detail: str, kind: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.type = f"urn:openid:authzen:access-request:error:{kind}" if kind else "about:blank"
        self.headers = headers

    def reply(self) -> Reply:
        """What the client reads; never anything that it wrote."""
        title = HTTPStatus(self.status).phrase
        body = {"type": self.type, "title": title, "status": self.status, "detail": str(self)}
        return Reply.json(body, self.status, "application/problem+json", **self.headers)


# --- JSON, in one reading ---------------------------------------------------------------------


@dataclass(frozen=True)
class Number:
    """A number as it was written: nothing of it is rounded."""

    text: str

    def canonical(self) -> str:
        """The same text for all spellings of one value, and for no other value."""
        if self.text.isdigit() and self.text[0] != "0" != self.text[-1]:
            return f"{self.text}e0"
        match = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,9}))?", self.text)
        if match is None:
            raise Problem(400, "The body has a number that is too large.")
        sign, whole, fraction, exponent = match.groups(default="")
        digits = (whole + fraction).lstrip("0")
        significant = digits.rstrip("0")
        power = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
        return f"{sign}{significant}e{power}" if significant else "0"


def read_json(body: bytes) -> Any:
    """Reads a text that can be read in one way only; raises `Problem` for any other."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) != len(pairs):
            raise Problem(400, "The body has an object with two members of one name.")
        return read

    def constant(_name: str) -> Any:
        raise Problem(400, "The body is not JSON.")

    try:
        return json.loads(
            body.decode(), object_pairs_hook=members, parse_int=Number, parse_float=Number, parse_constant=constant
        )
    except RecursionError:
        raise Problem(400, "The body is nested too deeply.") from None
    except ValueError:
        raise Problem(400, "The body is not JSON.") from None


def canonical(value: Any, depth: int = 0) -> str:
    """One text for equal values: members sorted, numbers by value. Refuses what has no such text."""
    if depth > MAX_DEPTH:
        raise Problem(400, "The body is nested too deeply.")
    if isinstance(value, Number):
        return value.canonical()
    if isinstance(value, dict):
        members = [f"{canonical(name)}:{canonical(value[name], depth + 1)}" for name in sorted(value)]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join([canonical(item, depth + 1) for item in value]) + "]"
    if isinstance(value, str):
        if HALVES.search(value):
            raise Problem(400, "The body has a text that is not Unicode.")
        return json.encoder.encode_basestring_ascii(value)
    return json.dumps(value)


HALVES = re.compile("[\ud800-\udfff]")


def digest(value: Any) -> str:
    """The SHA-256 of a value's canonical text. A value that has one can be kept and shown."""
    return base64url(hashlib.sha256(canonical(value).encode()).digest())


def base64url(octets: bytes) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


# --- What a person sees -----------------------------------------------------------------------

# Letters, marks and symbols that show as nothing at all, beside the categories that `shown` names.
BLANKS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


@functools.lru_cache(maxsize=4096)
def shown(char: str) -> str:
    """A character in a JSON text. Where it would be invisible, blank, or move others, its number."""
    if char in '"\\' or char < " ":
        return json.dumps(char)[1:-1]
    if char != " " and (unicodedata.category(char)[0] in "CZ" or BLANKS.match(char)):
        return numbered(char)
    return char


def numbered(char: str) -> str:
    """A character as JSON writes its number."""
    octets = char.encode("utf-16-be")
    return "".join(f"\\u{octets[at : at + 2].hex()}" for at in range(0, len(octets), 2))


def visible(text: str) -> str:
    """A text in JSON's own escapes, so that it stands on one line and nothing of it is hidden."""

    def run(match: re.Match[str]) -> str:
        # Accents may stand on a letter, two on one; piles of them would cover what is around.
        written, marks = [], 0 if match.start() else 2
        for char in match[0]:
            marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
            written.append(numbered(char) if marks > 2 else shown(char))
            if written[-1] != char:
                marks = 2
        return "".join(written)

    line = re.sub(r"[^ !#-\[\]-~]+", run, text)
    if line.isascii() or all(unicodedata.bidirectional(char) not in ("R", "AL", "AN") for char in line):
        return line
    # What is written from right to left would take its neighbours along. So it is set apart, by two
    # characters that no text can bring: in a text they are escaped.
    return f"\u2068{line}\u2069"


def plain(text: str) -> str:
    """A text of one field: without quotes, unless its ends could not be seen."""
    return visible(text).replace('\\"', '"') if text and text == text.strip(" ") else f'"{visible(text)}"'


def pretty(value: Any, indent: str = "") -> str:
    """JSON for people: indented, members in the order in which they came, numbers as they were written."""
    deeper = indent + "  "
    if isinstance(value, Number):
        return value.text
    if isinstance(value, str):
        return f'"{visible(value)}"'
    if isinstance(value, dict) and value:
        lines = [f'{deeper}"{visible(name)}": {pretty(member, deeper)}' for name, member in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(deeper + pretty(item, deeper) for item in value) + f"\n{indent}]"
    return json.dumps(value)


KINDS = {"tool": "Tool", "prompt": "Prompt", "resource": "Resource"}
ROWS = (
    ("Server", "resource", "server"),
    ("Policy", "context", "policy"),
    ("Policy digest", "context", "policy_digest"),
    ("Rule", "context", "rule"),
    ("Reason", "context", "reason"),
    ("Digest", "context", "arguments_digest"),
)
VERIFIED = {
    True: "yes",
    False: "no: nothing has verified this name",
    None: "unknown: the request does not say whether this name is verified",
}


def view(call: Mapping[str, Any]) -> dict[str, Any]:
    """All of a call, as the page shows it: what has no row of its own stands under `also`."""
    subject, action, resource, context = (dict(call[part]) for part in ("subject", "action", "resource", "context"))
    about_caller, about_resource = (dict(part.pop("properties", {})) for part in (subject, resource))
    verified = about_caller.pop("verified") if isinstance(about_caller.get("verified"), bool) else None
    title = plain(resource.pop("id"))
    rows = [
        ["Caller", plain(subject.pop("id"))],
        ["Verified", VERIFIED[verified]],
        ["Method", plain(action.pop("name"))],
        [KINDS.get(resource["type"], "Resource"), title],
    ]
    for label, part, name in ROWS:
        members = about_resource if part == "resource" else context
        if isinstance(members.get(name), str):
            rows.append([label, plain(members.pop(name))])
    arguments = pretty(context.pop("arguments")) if "arguments" in context else None
    if about_caller:
        subject["properties"] = about_caller
    if about_resource:
        resource["properties"] = about_resource
    if subject["type"] == "identity":
        del subject["type"]
    if resource["type"] in KINDS:
        del resource["type"]
    parts = {"subject": subject, "action": action, "resource": resource, "context": context}
    more = {name: members for name, members in parts.items() if members}
    also = pretty(more) if more else None
    texts = [text for row in rows for text in row] + [arguments or "", also or ""]
    foreign = not "".join(texts).isascii()
    return {"title": title, "rows": rows, "arguments": arguments, "also": also, "foreign": foreign}


# --- What is asked ----------------------------------------------------------------------------


def has_text(value: Any, name: str) -> bool:
    """Whether an object has this member, and it is a text of some length."""
    return isinstance(value, dict) and isinstance(value.get(name), str) and 0 < len(value[name]) <= MAX_NAME


def call_of(body: Any) -> dict[str, dict[str, Any]]:
    """The four parts of a question of AuthZEN; raises `Problem` if it has them not."""
    names = {"subject": ("type", "id"), "action": ("name",), "resource": ("type", "id")}
    for part, texts in names.items():
        if not isinstance(body, dict) or not all(has_text(body.get(part), text) for text in texts):
            wanted = " and ".join(f"`{text}`" for text in texts)
            raise Problem(400, f"`{part}` must be an object with {wanted}, each a text of 1 to {MAX_NAME} characters.")
        if not isinstance(body[part].get("properties", {}), dict):
            raise Problem(400, f"The `properties` of `{part}` must be an object.")
    if not isinstance(body.get("context", {}), dict):
        raise Problem(400, "`context` must be an object.")
    return {part: dict(body.get(part, {})) for part in (*names, "context")}


def audit_of(call: Mapping[str, Any]) -> dict[str, str]:
    """What a decision's line says of a call: no arguments, and nothing of any length."""
    said = {
        "caller": call["subject"]["id"],
        "method": call["action"]["name"],
        "kind": call["resource"]["type"],
        "name": call["resource"]["id"],
        **{name: call["context"].get(name) for name in ("policy", "rule", "arguments_digest")},
    }
    return {name: text[:200] for name, text in said.items() if isinstance(text, str)}


def identifier(prefix: str) -> str:
    """A name that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(16)}"


def timestamp(seconds: int) -> str:
    """RFC 3339, in UTC. Such texts are in order as their times are."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


MISSING = object()


# --- The calls that wait ----------------------------------------------------------------------


@dataclass
class Task:
    """One call that waits for a person, or has been decided."""

    id: str
    digest: str
    expires_at: int
    audit: dict[str, str]
    # The arguments are kept only while somebody has to look at them.
    call: dict[str, Any] | None
    keys: list[str] = field(default_factory=list)
    status: str = "pending"
    ended_at: int = 0
    approval: dict[str, Any] | None = None
    approved_until: int = 0
    used: bool = False


class Approvals:
    """Every task, and the rules by which one becomes a permit. Nothing here speaks HTTP.

    Invariant: an approval permits one evaluation, of exactly the call that a person saw.
    """

    def __init__(
        self,
        *,
        expires: int = 300,
        max_waiting: int = 100,
        clock: Callable[[], float] = time.time,
        log: Callable[[dict[str, Any]], object] = lambda _line: None,
    ) -> None:
        self._expires = expires
        self._max_waiting = max_waiting
        self._clock = clock
        self._log = log
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        self._tasks: dict[str, Task] = {}
        # Tasks by the approvals that they ended with, and submissions by their idempotency keys.
        self._approved: dict[str, Task] = {}
        self._keys: dict[str, tuple[str, Task]] = {}
        # Tasks by their calls: what waits, or is approved and not used. The same call joins it.
        self._open: dict[str, Task] = {}

    # What the filter asks.

    def evaluate(self, body: Any) -> dict[str, Any]:
        """A decision of AuthZEN: denied, but for the one use of an approval."""
        call = call_of(body)
        approval = call["context"].pop("approval", MISSING)
        wanted = digest(call)
        if approval is MISSING:
            return self._denied(wanted, "approval_required", again="")
        presented = canonical(approval)
        with self._locked() as now:
            task = self._approved.get(approval["id"]) if has_text(approval, "id") else None
            if task is None or presented != canonical(task.approval):
                refused = ("approval_unverifiable", "none")
            elif task.digest != wanted:
                # The approval stays good for the call that it was given for.
                refused = ("out_of_scope", "none")
            elif task.used:
                refused = ("approval_consumed", "none")
            elif now >= task.approved_until:
                refused = ("approval_expired", "request")
            else:
                task.used = True
                del self._open[task.digest]
                self._note("used", task, now)
                granted = {name: approval[name] for name in ("id", "approved_until")}
                return {"decision": True, "context": {"evaluation_id": identifier("eval"), "approval": granted}}
        return self._denied(wanted, refused[0], again=refused[1])

    def submit(self, body: Any, key: str | None) -> dict[str, Any]:
        """A task for a call that was denied; the one that is there already, if there is one."""
        call = call_of(body)
        if "items" in body:
            raise Problem(400, "This approver takes one call at a time, without `items`.")
        wanted = digest(call)
        submission = digest({**body, **dict.fromkeys(call, wanted)})
        self._check_denial(body.get("denial"), wanted)
        with self._locked() as now:
            if key in self._keys:
                earlier, task = self._keys[key]
                if earlier != submission:
                    raise Problem(409, "This Idempotency-Key came with another request.", "duplicate_request")
                return _told(task)
            task = self._open.get(wanted) or self._new_task(call, wanted, now)
            if key is not None:
                if len(task.keys) == MAX_KEYS:
                    del self._keys[task.keys.pop(0)]
                task.keys.append(key)
                self._keys[key] = (submission, task)
            return _told(task)

    def status(self, task_id: str) -> dict[str, Any]:
        """How it stands with a task."""
        with self._locked():
            return _told(self._task(task_id))

    # What the page asks.

    def waiting(self) -> list[dict[str, Any]]:
        """What waits, oldest first, without the calls themselves."""
        with self._locked() as now:
            waiting = [task for task in self._tasks.values() if task.status == "pending"]
            return [{"id": task.id, "seconds_left": task.expires_at - now} for task in waiting]

    def look(self, task_id: str) -> dict[str, Any]:
        """All of a call that waits; only the status of one that has ended."""
        with self._locked():
            task = self._task(task_id)
            status, call = task.status, task.call
        return {"id": task_id, "status": status, **(view(call) if call is not None else {})}

    def decide(self, task_id: str, *, approve: bool) -> dict[str, Any]:
        """A person's word. The first one counts."""
        with self._locked() as now:
            task = self._task(task_id)
            if task.status != "pending":
                raise Problem(409, f"This call does not wait any more: it is {task.status}.", "invalid_task_state")
            if approve:
                task.approved_until = now + self._expires
                until, state = timestamp(task.approved_until), base64url(secrets.token_bytes(32))
                task.approval = {"id": identifier("apr"), "approved_until": until, "state": state}
                self._approved[task.approval["id"]] = task
            self._end(task, "approved" if approve else "denied", now)
            return {"id": task.id, "status": task.status}

    # What these are made of. `_denied` and `_check_denial` need no lock: they keep nothing.

    def _denied(self, wanted: str, reason: str, *, again: str) -> dict[str, Any]:
        evaluation = identifier("eval")
        context: dict[str, Any] = {"evaluation_id": evaluation, "reason": reason}
        if again:
            context["next_action"] = again
        if again != "none":
            expires = timestamp(int(self._clock()) + self._expires)
            bound = base64url(json.dumps([evaluation, expires, wanted]).encode())
            context["access_request"] = {"expires_at": expires, "binding_token": f"{bound}.{self._seal(bound)}"}
        return {"decision": False, "context": context}

    def _check_denial(self, denial: Any, wanted: str) -> None:
        """Holds a submission against its denial. The denial itself is kept nowhere: its token says all of it."""
        if not has_text(denial, "binding_token") or not has_text(denial, "expires_at"):
            raise Problem(400, "`denial` must have `binding_token` and `expires_at`.", "invalid_denial_binding")
        bound, _, seal = denial["binding_token"].partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(bound).encode()):
            raise Problem(400, "The `binding_token` is not one of this approver.", "invalid_denial_binding")
        evaluation, expires, denied = json.loads(base64.urlsafe_b64decode(bound + "=" * (-len(bound) % 4)))
        same = denial.get("evaluation_id", evaluation) == evaluation and denial["expires_at"] == expires
        if not same or denied != wanted:
            raise Problem(400, "This is not the call that was denied.", "invalid_denial_binding")
        if timestamp(int(self._clock())) >= expires:
            raise Problem(410, "The denial is too old to be requested.", "expired_denial")

    def _seal(self, bound: str) -> str:
        return base64url(hmac.digest(self._secret, bound.encode(), "sha256"))

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Holds the lock, with what is over put away; yields the time. Lines are written after it."""
        lines: list[dict[str, Any]] = []
        try:
            with self._lock:
                now = int(self._clock())
                self._sweep(now)
                try:
                    yield now
                finally:
                    lines, self._lines = self._lines, lines
        finally:
            for line in lines:
                self._log(line)

    def _sweep(self, now: int) -> None:
        over = []
        for task in self._tasks.values():
            if task.status == "pending" and now >= task.expires_at:
                self._end(task, "expired", now)
            if task.status == "approved" and now >= task.approved_until and self._open.get(task.digest) is task:
                del self._open[task.digest]
            if task.status != "pending" and self._open.get(task.digest) is not task:
                over.append(task)
        for place, task in enumerate(over):
            if place < len(over) - MAX_ENDED or now >= max(task.ended_at, task.approved_until) + KEPT_SECONDS:
                self._forget(task)

    def _new_task(self, call: dict[str, Any], wanted: str, now: int) -> Task:
        if sum(task.status == "pending" for task in self._tasks.values()) >= self._max_waiting:
            raise Problem(503, "Too many calls are waiting already.", retry_after="10")
        task = Task(identifier("arq"), wanted, now + self._expires, audit_of(call), call)
        self._tasks[task.id] = self._open[wanted] = task
        return task

    def _task(self, task_id: str) -> Task:
        if task_id not in self._tasks:
            raise Problem(404, "There is no such request.", "unknown_task")
        return self._tasks[task_id]

    def _end(self, task: Task, status: str, now: int) -> None:
        task.status, task.ended_at, task.call = status, now, None
        if status != "approved":
            del self._open[task.digest]
        self._note(status, task, now)

    def _forget(self, task: Task) -> None:
        del self._tasks[task.id]
        for key in task.keys:
            del self._keys[key]
        if task.approval is not None:
            del self._approved[task.approval["id"]]

    def _note(self, decision: str, task: Task, now: int) -> None:
        self._lines.append({"time": timestamp(now), "decision": decision, "task": task.id, **task.audit})


def _told(task: Task) -> dict[str, Any]:
    """A task as the profile shows it; its address is added where that is known."""
    told: dict[str, Any] = {"task": {"id": task.id, "status": task.status, "expires_at": timestamp(task.expires_at)}}
    if task.status == "approved":
        told["result"] = {"mode": "reevaluate", "approval": task.approval}
    return told


# --- HTTP -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    host: str = "127.0.0.1"
    port: int = 8090
    page_port: int = 8091
    authorization: str | None = None
    page_key: str = ""
    public_url: str | None = None
    expires: int = 300
    max_waiting: int = 100


@dataclass
class Reply:
    """An answer that is not yet sent."""

    status: int
    body: bytes
    headers: dict[str, str]

    @classmethod
    def json(cls, body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Reply:
        """An answer in JSON. ASCII only, so that no reader's guess at the encoding changes it."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(body).encode(), {"content-type": kind, **names})


class Handler(BaseHTTPRequestHandler):
    """One request and its answer; then the connection ends, so that none is ever reused as it closes."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def answer(self, body: bytes) -> Reply:
        """Answers `self.command` of `self.path`."""
        raise NotImplementedError

    def do_GET(self) -> None:  # noqa: D102
        self._serve()

    def do_POST(self) -> None:  # noqa: D102
        self._serve()

    def _serve(self) -> None:
        try:
            reply = self.answer(self._body())
        except Problem as problem:
            reply = problem.reply()
        self._send(reply)

    def one(self, name: str) -> str | None:
        """The value of a header that may come once."""
        values = self.headers.get_all(name, [])
        if len(values) > 1:
            raise Problem(400, f"There are several headers `{name}`.")
        return values[0] if values else None

    def posted(self, body: bytes) -> Any:
        """The JSON that came. A browser can send this type to a foreign server only if that one agrees."""
        kind = (self.one("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Problem(415, "The body must be `application/json`.")
        return read_json(body)

    def _body(self) -> bytes:
        if self.headers.get_all("transfer-encoding"):
            raise Problem(411, "The length of the body must be told.")
        length = self.one("content-length") or "0"
        if not re.fullmatch(r"[0-9]{1,12}", length, re.ASCII):
            raise Problem(400, "The length of the body is no number.")
        left = int(length)
        if left > MAX_BODY:
            left = min(left, MAX_DRAINED)
            while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
                left -= len(part)
            raise Problem(413, f"The body is longer than {MAX_BODY} bytes.")
        body = self.rfile.read(left)
        if len(body) < left:
            raise Problem(400, "The body ended before its length.")
        return body

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        fixed = {"cache-control": "no-store", "x-content-type-options": "nosniff", "connection": "close"}
        for name, value in (reply.headers | fixed | {"content-length": str(len(reply.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses, without its words: they repeat the request's."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"
        problem = Problem(405, "Only GET and POST are answered.") if code == 501 else Problem(code, "It is no request.")
        self._send(problem.reply())

    def version_string(self) -> str:
        """Says no more than what it is."""
        return "example-approver"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are not decisions."""


class Server(ThreadingHTTPServer):
    """A thread for each connection, up to a bound."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: type[Handler]) -> None:
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of the host's name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_port: int = self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes a connection if there is room for one more."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def api(approvals: Approvals, settings: Settings) -> type[Handler]:
    """What the filter talks to."""

    class Api(Handler):
        def answer(self, body: bytes) -> Reply:
            self._authorize()
            request_id = self.one("x-request-id") or ""
            reply = self._answer(body)
            if re.fullmatch(r"[A-Za-z0-9._-]{1,128}", request_id):
                reply.headers["x-request-id"] = request_id
            return reply

        def _authorize(self) -> None:
            # No browser has business here, whatever name it has for this machine.
            if self.headers.get_all("origin") or self.headers.get_all("sec-fetch-site"):
                raise Problem(403, "This is not for browsers.")
            given = (self.one("authorization") or "").encode("latin-1", "replace")
            if settings.authorization is not None and not hmac.compare_digest(given, settings.authorization.encode()):
                raise Problem(401, "The credential is missing or wrong.", www_authenticate="Bearer")

        def _answer(self, body: bytes) -> Reply:
            if (self.command, self.path) == ("POST", EVALUATION):
                return Reply.json(approvals.evaluate(self.posted(body)))
            if (self.command, self.path) == ("POST", REQUESTS):
                key = self.one("idempotency-key")
                if key is not None and not re.fullmatch(r"[!-~]{1,256}", key):
                    raise Problem(400, f"The Idempotency-Key must have 1 to {MAX_KEY} visible ASCII characters.")
                told = self._with_addresses(approvals.submit(self.posted(body), key))
                status = 202 if told["task"]["status"] == "pending" else 201
                return Reply.json(told, status, location=told["task"]["status_endpoint"])
            if self.command == "GET" and self.path.startswith(f"{REQUESTS}/"):
                told = self._with_addresses(approvals.status(self.path.removeprefix(f"{REQUESTS}/")))
                pending = told["task"]["status"] == "pending"
                return Reply.json(told, retry_after="2") if pending else Reply.json(told)
            raise Problem(404, "There is nothing here.")

        def _with_addresses(self, told: dict[str, Any]) -> dict[str, Any]:
            task = told["task"]
            host = self.one("host") or ""
            if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,255}", host):
                raise Problem(400, "The Host header is missing or odd.")
            # The profile wants https, and TLS ends before this process, if there is any.
            task["status_endpoint"] = f"https://{host}{REQUESTS}/{task['id']}"
            if settings.public_url is not None:
                task["links"] = {"ticket": f"{settings.public_url}/t/{task['id']}"}
            return told

    return Api


def page(approvals: Approvals, settings: Settings) -> type[Handler]:
    """What a person looks at. Only `/` and a ticket need no key: there is nothing in them."""
    public_host = re.sub(r"^https://|/.*$", "", settings.public_url) if settings.public_url is not None else None

    class Page(Handler):
        server: Server

        def answer(self, body: bytes) -> Reply:
            host = self.one("host") or ""
            if (host == public_host or self._is_own(host)) and self.command == "GET" and self.path.startswith("/t/"):
                return self._ticket(self.path.removeprefix("/t/"))
            # A foreign name that was made to lead to this machine is still foreign.
            if not self._is_own(host):
                raise Problem(421, "The page has another address.")
            if (self.command, self.path) == ("GET", "/"):
                return shell(PAGE)
            given = (self.one("x-approver-key") or "").encode("latin-1", "replace")
            if not hmac.compare_digest(given, settings.page_key.encode()):
                raise Problem(403, "The key is missing or wrong. Open the address that the approver printed.")
            return self._answer(body)

        def _is_own(self, host: str) -> bool:
            return host in (f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}")

        def _answer(self, body: bytes) -> Reply:
            if (self.command, self.path) == ("GET", "/waiting"):
                return Reply.json({"waiting": approvals.waiting()})
            if self.command == "GET" and self.path.startswith("/waiting/"):
                return Reply.json(approvals.look(self.path.removeprefix("/waiting/")))
            if (self.command, self.path) == ("POST", "/decide"):
                if self.one("origin") != f"http://{self.one('host')}":
                    raise Problem(403, "Only the page itself can decide.")
                wish = self.posted(body)
                if not has_text(wish, "id") or wish.get("decision") not in ("approve", "decline"):
                    raise Problem(400, "A decision has an `id`, and is `approve` or `decline`.")
                return Reply.json(approvals.decide(wish["id"], approve=wish["decision"] == "approve"))
            raise Problem(404, "There is nothing here.")

        def _ticket(self, task_id: str) -> Reply:
            status = approvals.status(task_id)["task"]["status"]
            words = {"pending": "waits for approval", "approved": "was approved", "denied": "was declined"}
            return shell(TICKET.replace("STATUS", words.get(status, "was not answered in time")))

    return Page


def shell(template: str) -> Reply:
    """A page whose own script and style run, and nothing else, and which asks nobody else for anything."""
    nonce = secrets.token_urlsafe(16)
    allowed = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in allowed.items()),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
    }
    return Reply(200, template.replace("NONCE", nonce).encode(), headers)


class Approver:
    """The two servers, running between `start` and `stop`. A port of 0 is any that is free."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        log: Callable[[dict[str, Any]], object] = lambda _line: None,
    ) -> None:
        self.approvals = Approvals(expires=settings.expires, max_waiting=settings.max_waiting, clock=clock, log=log)
        self.page_key = settings.page_key or secrets.token_urlsafe(24)
        settings = dataclasses.replace(settings, page_key=self.page_key)
        self._api = Server(settings.host, settings.port, api(self.approvals, settings))
        try:
            self._page = Server("127.0.0.1", settings.page_port, page(self.approvals, settings))
        except OSError:
            self._api.server_close()
            raise

    @property
    def port(self) -> int:
        """The port of the API."""
        return self._api.server_port

    @property
    def page_port(self) -> int:
        """The port of the page."""
        return self._page.server_port

    @property
    def page_url(self) -> str:
        """The page's address, with the key."""
        return f"http://127.0.0.1:{self.page_port}/#{self.page_key}"

    def start(self) -> None:
        """Begins to answer."""
        for server in (self._api, self._page):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stops both."""
        for server in (self._api, self._page):
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Approver:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


# --- The page ---------------------------------------------------------------------------------

# It makes no HTML of what it is told: texts are set as texts. A call keeps its place on the page when it has ended,
# and new ones come below, so that no button moves under a hand. Its buttons wake up a moment after they appear.
PAGE = r"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Approvals</title>
<style nonce="NONCE">
  :root { color-scheme: light dark; --line: light-dark(#d4d4d8, #3f3f46); --soft: light-dark(#f4f4f5, #27272a);
    --dim: light-dark(#52525b, #a1a1aa); --yes: light-dark(#15803d, #16a34a); --warn: light-dark(#92400e, #fbbf24); }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.4rem; margin: 0; }
  h2 { font: 600 1.1rem/1.4 ui-monospace, monospace; margin: 0 0 .75rem; overflow-wrap: anywhere; }
  header, .bar { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
  header { justify-content: space-between; margin-bottom: 1.5rem; }
  article { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem; margin: 0 0 1.25rem; }
  article.ended { opacity: .6; }
  dl { display: grid; grid-template-columns: 7.5rem 1fr; gap: .25rem 1rem; margin: 0 0 1rem; }
  dt { color: var(--dim); }
  dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
  pre { font: .9rem/1.5 ui-monospace, monospace; background: var(--soft); border-radius: .375rem; padding: .75rem;
    margin: .25rem 0 1rem; max-height: 24rem; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
  pre span { display: block; padding-left: 2.5rem; text-indent: -2.5rem; }
  .bar { min-height: 2.75rem; align-items: center; }
  button { font: inherit; font-weight: 600; padding: .4rem 1.1rem; background: transparent; cursor: pointer;
    border: 1px solid var(--line); border-radius: .375rem; }
  button.approve { background: var(--yes); border-color: var(--yes); color: #fff; }
  button:disabled { opacity: .5; cursor: default; }
  :focus-visible { outline: 3px solid #2563eb; outline-offset: 2px; }
  .dim, footer { color: var(--dim); font-size: .9rem; }
  .warn { color: var(--warn); }
  footer { border-top: 1px solid var(--line); margin-top: 2rem; padding-top: 1rem; }
</style>
</head>
<body>
<header><h1>Approvals</h1><span id="state" class="dim" role="status">Loading …</span></header>
<main tabindex="-1"></main>
<button id="clear" type="button" hidden>Clear what has ended</button>
<footer>An example approver. It does not know who you are: whoever has this page's address can approve. Look at the
arguments: they are what will run. An approval is good for one call.</footer>
<script nonce="NONCE">
"use strict";
const key = location.hash.slice(1), main = document.querySelector("main");
const state = document.getElementById("state"), clear = document.getElementById("clear");
const cards = new Map();

async function ask(path, body) {
  const headers = { "x-approver-key": key, ...(body ? { "content-type": "application/json" } : {}) };
  const how = { headers, cache: "no-store", credentials: "omit", redirect: "error" };
  const reply = await fetch(path, body ? { ...how, method: "POST", body: JSON.stringify(body) } : how);
  const answer = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(answer.detail), { status: reply.status });
  return answer;
}

function add(parent, name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return parent.appendChild(made);
}

function say(text) {
  if (state.textContent !== text) state.textContent = text;
}

function block(card, label, text) {
  add(card, "div", label, { class: "dim" });
  const shown = add(card, "pre", undefined, { tabindex: "0", role: "region", "aria-label": label, dir: "ltr" });
  // A line that is too long goes on further in, so that it can not pass for several.
  const lines = text.match(/.+\n?/gu);
  if (lines.length <= 5000) for (const line of lines) add(shown, "span", line);
  else shown.textContent = text;
}

function show(call) {
  const card = add(main, "article", undefined, { "aria-labelledby": "name-" + call.id, id: call.id });
  add(card, "h2", call.title, { id: "name-" + call.id, tabindex: "-1", dir: "ltr" });
  const rows = add(card, "dl");
  for (const [label, text] of call.rows) {
    add(rows, "dt", label);
    add(rows, "dd", text, { dir: "ltr", ...(label === "Verified" && text !== "yes" ? { class: "warn" } : {}) });
  }
  if (call.arguments === null) add(card, "p", "The arguments were not sent to this approver.", { class: "warn" });
  else block(card, "Arguments", call.arguments);
  if (call.also) block(card, "Also sent", call.also);
  if (call.foreign) add(card, "p", "Some characters are not ASCII. They can look like others.", { class: "warn" });
  const bar = add(card, "div", undefined, { class: "bar" }), buttons = [];
  for (const [label, decision] of [["Approve", "approve"], ["Decline", "decline"]]) {
    const attributes = { type: "button", class: decision, "aria-describedby": "name-" + call.id };
    const button = add(bar, "button", label, attributes);
    button.disabled = true;
    button.addEventListener("click", () => decide(call.id, decision));
    buttons.push(button);
  }
  const left = add(bar, "span", "", { class: "dim left" });
  cards.set(call.id, { card, bar, buttons, left, ended: false });
  setTimeout(() => { for (const button of buttons) button.disabled = false; }, 500);
}

async function decide(id, decision) {
  const { buttons } = cards.get(id);
  for (const button of buttons) button.disabled = true;
  try {
    end(id, (await ask("/decide", { id, decision })).status, true);
  } catch (error) {
    if (error.status === 404 || error.status === 409) return end(id, "over", true);
    say("Not decided: " + error.message);
    for (const button of buttons) button.disabled = false;
    buttons.find((button) => button.className === decision).focus();
  }
}

function end(id, status, here = false) {
  const known = cards.get(id);
  if (known.ended) return;
  const focused = here || known.bar.contains(document.activeElement);
  const words = { approved: "Approved, for one call.", denied: "Declined.", expired: "Nobody decided in time." };
  known.ended = true;
  known.card.classList.add("ended");
  known.bar.replaceChildren();
  const outcome = add(known.bar, "strong", words[status] || "It does not wait any more.", { tabindex: "-1" });
  if (focused) outcome.focus({ preventScroll: true });
  clear.hidden = false;
}

clear.addEventListener("click", () => {
  for (const [id, known] of cards) if (known.ended) { known.card.remove(); cards.delete(id); }
  clear.hidden = true;
  main.focus();
});

async function refresh() {
  const { waiting } = await ask("/waiting");
  const here = new Set();
  for (const { id, seconds_left } of waiting) {
    here.add(id);
    if (!cards.has(id)) {
      const call = await ask("/waiting/" + id);
      if (call.status !== "pending") continue;
      show(call);
    }
    cards.get(id).left.textContent = Math.floor(seconds_left / 60) + " min " + seconds_left % 60 + " s left";
  }
  for (const [id, known] of cards) {
    if (known.ended || here.has(id)) continue;
    const status = await ask("/waiting/" + id).then((call) => call.status, () => "over");
    if (status !== "pending" && !known.ended) end(id, status);
  }
  const count = waiting.length;
  say(count === 0 ? "Nothing waits." : count === 1 ? "1 call waits." : count + " calls wait.");
  document.title = (count ? "(" + count + ") " : "") + "Approvals";
}

async function loop() {
  try {
    await refresh();
  } catch (error) {
    say(error.status ? error.message : "The approver does not answer.");
  }
  setTimeout(loop, 1000);
}

addEventListener("hashchange", () => location.reload());
loop();
</script>
</body>
</html>
"""

TICKET = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Approval</title>
<p>This call STATUS.</p>
<p>An example approver.</p>
</html>
"""


# --- The command ------------------------------------------------------------------------------


def settings_of(arguments: list[str] | None = None) -> Settings:
    """Reads the command line; exits with 2 where it is wrong."""
    parser = argparse.ArgumentParser(description="An example of an approver for mcp-policy; see the head of this file.")
    option = parser.add_argument
    option("--host", default="127.0.0.1", help="where the API listens (%(default)s); the page is on 127.0.0.1")
    option("--port", type=int, default=8090, help="the API's port (%(default)s; 0: any that is free)")
    option("--page-port", type=int, default=8091, help="the page's port (%(default)s; 0: any that is free)")
    option(
        "--authorization-env",
        metavar="NAME",
        help="the variable with the Authorization header that the API wants, as a whole: `Bearer …`",
    )
    option("--page-key-env", metavar="NAME", help="the variable with the page's key; without, it is made anew")
    option(
        "--public-url",
        metavar="URL",
        help="the https address under which others reach `/t/…` of the page's port, which tells how a call stands",
    )
    option(
        "--expires",
        type=int,
        default=300,
        metavar="SECONDS",
        help="how long a call waits, and how long its approval can be used (%(default)s)",
    )
    option("--max-waiting", type=int, default=100, metavar="N", help="how many calls may wait (%(default)s)")
    given = parser.parse_args(arguments)

    def variable(name: str | None) -> str | None:
        value = os.environ.get(name, "") if name else None
        if value == "":
            parser.error(f"the variable {name} is not set")
        if value is not None and not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", value):
            parser.error(f"the variable {name} must be visible ASCII")
        return value

    if not 1 <= given.expires <= 86_400:
        parser.error("--expires must be 1 to 86400")
    if not 1 <= given.max_waiting <= 1000:
        parser.error("--max-waiting must be 1 to 1000")
    address = r"https://[A-Za-z0-9._:-]+(?:/[A-Za-z0-9._~/-]*)?"
    if given.public_url is not None and not re.fullmatch(address, given.public_url):
        parser.error("--public-url must be an https address, without query")
    authorization = variable(given.authorization_env)
    if authorization is None and not (given.host.startswith("127.") or given.host in ("::1", "localhost")):
        parser.error("--host is not loopback: --authorization-env is needed")
    return Settings(
        host=given.host,
        port=given.port,
        page_port=given.page_port,
        authorization=authorization,
        page_key=variable(given.page_key_env) or "",
        public_url=given.public_url.rstrip("/") if given.public_url else None,
        expires=given.expires,
        max_waiting=given.max_waiting,
    )


def print_line(line: dict[str, Any]) -> None:
    """Writes a decision down, in one write. If that fails, so does the answer, and nothing is permitted."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def main() -> int:
    """Runs until it is told to stop."""
    settings = settings_of()
    # Before any thread is there: each begins with what is blocked here.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        running = Approver(settings, log=print_line)
    except (OSError, OverflowError) as error:
        print(f"approver.py: cannot listen: {error}", file=sys.stderr)
        return 1
    with running:
        print(f"approver.py: the API is on {settings.host}, port {running.port}", file=sys.stderr)
        print(f"approver.py: the page is at {running.page_url}", file=sys.stderr, flush=True)
        signal.sigwait(STOPPING)
    return 0


if __name__ == "__main__":
    sys.exit(main())
