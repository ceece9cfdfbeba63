"""The rows of data/responses.yaml: what a server answers, byte for byte, and what the client may get of it.

The format is described at the top of that file. Nothing here knows the filter.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attempts import SAFE, Loader, bytes_of, fields_of, listed, pieces_of, rows
from client import H1, H2, Response
from judge import Wrong, error_of, need
from upstream import Arrival, Headers, Reply

CORPUS = Path(__file__).parent / "data" / "responses.yaml"
PATIENCE = 30.0
# The name that no client may ever read, in any spelling.
SECRET = "secret_tool"
_FIELDS = {"policy", "request", "answer", "expect", "settings", "control"}


@dataclass(frozen=True)
class Answer:
    """What the server sends."""

    status: int
    headers: Headers
    pieces: list[bytes]
    # length | chunked | close (HTTP/1 only) | short (says that it is longer than it is, then closes) | reset | none
    framing: str
    trailers: Headers

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)

    async def send(self, arrival: Arrival, reply: Reply) -> None:
        """A handler that answers just so, each piece on its own."""
        framed = self.framing in ("chunked", "reset")
        length = len(self.body) + (99 if self.framing == "short" else 0)
        measured = [(b"content-length", str(length).encode())] if self.framing in ("length", "short") else []
        ended = [(b"connection", b"close")] if self.framing == "close" and reply.protocol == "h1" else []
        reply.start(self.status, [*self.headers, *measured, *ended], framed=framed)
        for number, piece in enumerate(self.pieces):
            if number:
                await reply.taken()
            reply.write(piece, framed=framed)
        if self.framing in ("short", "reset"):
            await reply.taken()
            reply.reset()
        elif self.framing == "close" and reply.protocol == "h1":
            await reply.close()
        else:
            reply.end(self.trailers, framed=framed)


@dataclass(frozen=True)
class Row:
    """A request, the server's answer, and what must come of it."""

    name: str
    kind: str
    policy: str | None
    method: str
    headers: Headers
    body: bytes
    answer: Answer
    expect: dict[str, Any]
    expected: bytes | None
    settings: set[str]
    control: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"

    def send(self, over: str, port: int, path: str) -> Response:
        """Sends the request and reads the answer."""
        if over == "h2":
            with H2(port, PATIENCE) as connection:
                pseudo = [(b":method", self.method.encode()), (b":scheme", b"http"), (b":path", path.encode())]
                pseudo.append((b":authority", b"mcp.test"))
                stream = connection.request(pseudo + self.headers, [self.body] if self.body else [])
                return connection.receive(stream)
        measured = [(b"content-length", str(len(self.body)).encode())] if self.method == "POST" else []
        lines = [f"{self.method} {path} HTTP/1.1".encode(), b"host: mcp.test"]
        lines += [name + b": " + value for name, value in measured + self.headers]
        with H1(port, PATIENCE) as connection:
            connection.send(b"\r\n".join(lines) + b"\r\n\r\n" + self.body)
            return connection.receive(self.method)


@dataclass(frozen=True)
class Corpus:
    """All of the file."""

    policies: dict[str, dict[str, Any]]
    rows: list[Row]


def load(path: Path = CORPUS) -> Corpus:
    """Reads the corpus and fills in its variables."""
    text = path.read_text()
    document = yaml.load(text, Loader=Loader)
    policies = yaml.load(text, Loader=SAFE)["policies"]
    bodies = document["bodies"]
    found = [_row(each, bodies) for group in document["groups"] for each in rows(group, _FIELDS)]
    names = [str(row) for row in found]
    assert len(set(names)) == len(names), {name for name in names if names.count(name) > 1}
    return Corpus(policies, found)


_REQUEST = {"method", "headers", "body"}
_ANSWER = {"status", "headers", "body", "encode", "cut", "framing", "trailers"}
_EXPECT = {"answer", "body", "status", "id", "sse", "headers", "cause"}
_SETTINGS = {"h1", "h2", "up h1", "up h2"}


def _row(row: dict[str, Any], bodies: dict[str, Any]) -> Row:
    request, answer, expect = row.get("request", {}), row["answer"], row["expect"]
    assert set(request) <= _REQUEST and set(answer) <= _ANSWER and set(expect) <= _EXPECT, row["name"]
    method = request.get("method", "POST")
    post = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    usual = post if method == "POST" else {"accept": "text/event-stream"}
    settings = set(row.get("settings", _SETTINGS))
    assert settings <= _SETTINGS, settings
    return Row(
        name=row["name"],
        kind=row["class"],
        policy=row.get("policy"),
        method=method,
        headers=fields_of({**usual, **request.get("headers", {})}, bodies),
        body=bytes_of(request.get("body", {"use": "request"} if method == "POST" else ""), bodies),
        answer=_answer(answer, bodies),
        expect=expect,
        expected=b"".join(bytes_of(part, bodies) for part in listed(expect["body"])) if "body" in expect else None,
        settings=settings,
        control=row.get("control", "told"),
    )


def _answer(row: dict[str, Any], bodies: dict[str, Any]) -> Answer:
    _, pieces = pieces_of(row, bodies)
    return Answer(
        status=row.get("status", 200),
        headers=fields_of({"content-type": "application/json", **row.get("headers", {})}, bodies),
        pieces=[piece for piece in pieces if piece],
        framing=row.get("framing", "length" if row.get("cut") is None and "trailers" not in row else "chunked"),
        trailers=fields_of(row.get("trailers", {}), bodies),
    )


# --- What came of it --------------------------------------------------------------------------


def fault(row: Row, response: Response) -> str:
    """What is wrong with what the client got; empty if nothing is."""
    try:
        _judge(row, response)
    except Wrong as wrong:
        return str(wrong)
    return ""


def tells(response: Response) -> str:
    """How the client can read the secret in a response; empty if it cannot."""
    heads = b"\n".join(name + b": " + value for name, value in response.headers + response.trailers)
    for way, text in _readings(heads + b"\n" + response.body):
        if SECRET in text:
            return way
    for way, text in _readings(response.body):
        if SECRET in text:
            return way
    return ""


def _readings(body: bytes) -> Iterator[tuple[str, str]]:
    """Every text that some client could make of a body."""
    if len(body) > 65536:
        # Only padding makes a body long, and it stands in the middle.
        yield "as it is", body.decode(errors="ignore")
        body = body[:8192] + body[-8192:]
    plain = {"as it is": body}
    with contextlib.suppress(Exception):
        plain["gzip"] = gzip.decompress(body)
    for name, bits in (("deflate", 15), ("raw deflate", -15)):
        with contextlib.suppress(Exception):
            plain[name] = zlib.decompress(body, bits)
    for name, data in list(plain.items()):
        with contextlib.suppress(Exception):
            plain[f"{name}, gzip"] = gzip.decompress(data)
    for name, data in plain.items():
        for charset in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-7", "cp037"):
            yield f"{name}, {charset}", _undisguised(data.decode(charset, errors="ignore"))
    with contextlib.suppress(Exception):
        yield "base64", _undisguised(base64.b64decode(body).decode())


def _undisguised(text: str) -> str:
    """Without escapes, case, width and invisible characters."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    folded = unicodedata.normalize("NFKC", unescaped).casefold()
    return "".join(character for character in folded if unicodedata.category(character) not in ("Cf", "Cc"))


def _judge(row: Row, response: Response) -> None:
    expect, answer = row.expect, row.expect["answer"]
    need(not response.hung, f"hangs: {response.fault}")
    told = tells(response)
    need(not told or answer == "told", f"the client can read the secret ({told}): {response}")
    if answer == "cut":
        need(response.fault or response.status >= 500, f"looks complete: {response}")
        return
    need(not response.fault, f"not a complete response: {response.fault}")
    length = response.header("content-length")
    need(length is None or row.method == "HEAD" or int(length) == len(response.body), f"content-length {length}: {response}")
    need(response.status == expect.get("status", _status(row)), f"HTTP {response.status}: {response}")
    for name, value in expect.get("headers", {}).items():
        need(response.header(name) == value, f"{name}: {response.header(name)}, expected {value}")
    if answer == "withheld":
        _judge_withheld(row, response)
        return
    own = row.answer
    wanted = own.body if answer in ("unchanged", "told") else row.expected or b""
    if row.method == "HEAD":
        wanted = b""
    got = response.body
    if "cause" in expect:
        need(f'"cause":"{expect["cause"]}"'.encode() in got, f"not for {expect['cause']}: {response}")
    if b"list_unreadable" in wanted:
        # Why, in words and in a word, is the row's `cause`.
        got = re.sub(rb'withheld: [^"]*"', b'withheld"', re.sub(rb',"cause":"[a-z_]*"', b"", got))
    need(got == wanted, f"body {response.body[:2000]!r}, expected {wanted[:2000]!r}")
    for name, value in own.headers:
        got = [text for key, text in response.headers if key == name]
        # Envoy joins what is repeated.
        need(value in b", ".join(got) or value in b",".join(got), f"{name!r}: {got}, sent {value!r}")


def _judge_withheld(row: Row, response: Response) -> None:
    error = error_of(response, sse=row.expect.get("sse", False))
    need((error["reason"], error["code"]) == ("list_unreadable", -32603), f"{error}")
    need(error["id"] == row.expect.get("id", "7"), f"id {error['id']}")
    need(row.expect.get("cause", error["data"]["cause"]) == error["data"]["cause"], f"{error}")
    need(": " in error["message"], f"no cause: {error}")
    need(response.header("content-encoding") is None, f"an encoded error: {response}")
    json.dumps(error)


def _status(row: Row) -> int:
    success = 200 <= row.answer.status < 300
    if row.expect["answer"] == "withheld" and success:
        return 200 if row.method == "POST" else 502
    return row.answer.status
