"""The rows of data/bypass.yaml as attempts: what is sent, byte for byte, and what must come of it.

The format is described at the top of that file. Nothing here knows the filter.
"""

from __future__ import annotations

import base64
import copy
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from client import H1, H2, Response
from upstream import Headers

CORPUS = Path(__file__).parent / "data" / "bypass.yaml"
# Long enough for a busy machine; a row that really hangs costs as much.
PATIENCE = 8.0
Parts = Any


# Written in C where PyYAML has it, and eight times as fast: each worker reads every corpus.
SAFE: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(SAFE):
    """Reads nothing but null and integers from plain scalars: a corpus of odd numbers needs them as text."""


Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:int", "tag:yaml.org,2002:merge")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Corpus:
    """All of the file."""

    policies: dict[str, dict[str, Any]]
    attempts: list[Attempt]


@dataclass(frozen=True)
class Attempt:
    """One row, with its variables filled in."""

    name: str
    kind: str
    policy: str
    listener: str
    over: str
    request: Request
    expect: dict[str, Any]
    control: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class Sent:
    """What one attempt got back."""

    response: Response
    # The answer to the allowed call that travelled on the same connection, if one did.
    companion: Response | None = None


@dataclass(frozen=True)
class Request:
    """What goes out."""

    method: str
    path: str
    headers: Headers
    given: dict[str, Any]
    body: bytes
    pieces: list[bytes] | None
    framing: str
    trailers: Headers | None
    raw: bytes | None
    half_close: bool
    pipelined: str | None
    companion: bytes

    def send(self, over: str, port: int) -> Sent:
        """Sends it on a connection of its own and reads the answer."""
        return self._send_h2(port) if over == "h2" else self._send_h1(port)

    def _send_h1(self, port: int) -> Sent:
        with H1(port, PATIENCE) as connection:
            segments = self.segments()
            if self.pipelined == "before":
                segments[0] = self.companion + segments[0]
            elif self.pipelined == "after":
                segments[-1] += self.companion
            connection.send(*segments, paced=True)
            if self.half_close:
                connection.finish()
            if self.pipelined is None:
                return Sent(connection.receive(self.method))
            first, second = connection.receive(self.method), connection.receive(self.method)
            return Sent(second, first) if self.pipelined == "before" else Sent(first, second)

    def segments(self) -> list[bytes]:
        """The bytes of the request over HTTP/1.1, cut as the row asks."""
        if self.raw is not None:
            return [self.raw]
        lines = [f"{self.method} {self.path} HTTP/1.1".encode("latin-1")]
        lines += [name + b": " + value for name, value in self._framing() + self.headers]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if self.framing == "chunked":
            chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in self.pieces or [self.body] if piece]
            last = b"0\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in self.trailers or []) + b"\r\n"
            return [head, *chunks, last] if self.pieces else [head + b"".join(chunks) + last]
        return [head, *self.pieces] if self.pieces else [head + self.body]

    def _framing(self) -> Headers:
        given = {name.lower() for name, _ in self.headers}
        if self.framing == "chunked" and b"transfer-encoding" not in given:
            return [(b"transfer-encoding", b"chunked")]
        if self.framing == "length" and not given & {b"content-length", b"transfer-encoding"}:
            return [(b"content-length", str(len(self.body)).encode())]
        return []

    def _send_h2(self, port: int) -> Sent:
        with H2(port, PATIENCE) as connection:
            fields = dict(self.headers)
            pseudo = [(b":method", self.method.encode()), (b":scheme", b"http"), (b":path", self.path.encode("latin-1"))]
            if self.method == "CONNECT":
                pseudo = pseudo[:1]
            pseudo.append((b":authority", fields.get(b"host", b"")))
            rest = [pair for pair in self.headers if pair[0] != b"host"]
            frames = self.pieces if self.pieces is not None else [self.body] if self.body else []
            stream = connection.request(pseudo + rest, frames, self.trailers)
            return Sent(connection.receive(stream))


def load(path: Path = CORPUS) -> Corpus:
    """Reads the corpus and fills in its variables."""
    text = path.read_text()
    policies = yaml.load(text, Loader=SAFE)["policies"]
    document = yaml.load(text, Loader=Loader)
    bodies: dict[str, Parts] = document["bodies"]
    attempts = [_attempt(row, bodies) for group in document["groups"] for row in rows(group, _FIELDS)]
    names = [str(attempt) for attempt in attempts]
    assert len(set(names)) == len(names), {name for name in names if names.count(name) > 1}
    assert {attempt.policy for attempt in attempts} <= set(policies)
    return Corpus(policies, attempts)


_FIELDS = {"policy", "listener", "over", "request", "expect", "control"}


def rows(group: dict[str, Any], known: set[str]) -> Iterator[dict[str, Any]]:
    defaults = {key: value for key, value in group.items() if key != "rows"}
    for row in group["rows"]:
        merged = _merge(defaults, {key: value for key, value in row.items() if key != "each"})
        for label, value in row.get("each", {None: {}}).items():
            fields = value if isinstance(value, dict) and not _is_part(value) else {"x": value}
            overrides = {key: part for key, part in fields.items() if key in known}
            own = {key: part for key, part in fields.items() if key not in known}
            variables = {"x": label, "fields": own, **own}
            filled = _fill(_merge(merged, overrides), variables)
            filled["name"] = _fill(merged["name"], {**variables, "x": str(label)})
            yield filled


def _is_part(value: dict[str, Any]) -> bool:
    return bool({"hex", "use", "repeat"} & set(value))


def _merge(base: Any, over: Any) -> Any:
    """Maps are merged, anything else is replaced."""
    if not (isinstance(base, dict) and isinstance(over, dict)) or _is_part(base) or _is_part(over):
        return copy.deepcopy(over)
    return {
        key: _merge(base[key], over[key]) if key in base and key in over else copy.deepcopy(over.get(key, base.get(key)))
        for key in {**base, **over}
    }


def _fill(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {_fill(key, variables): _fill(part, variables) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, variables) for part in value]
    if not isinstance(value, str):
        return value
    whole = re.fullmatch(r"<<(\w+)>>", value)
    if whole and whole[1] in variables:
        return variables[whole[1]]
    return re.sub(r"<<(\w+)>>", lambda found: str(variables[found[1]]) if found[1] in variables else found[0], value)


def _attempt(row: dict[str, Any], bodies: dict[str, Parts]) -> Attempt:
    over = row.get("over", "h1")
    return Attempt(
        name=row["name"],
        kind=row["class"],
        policy=row["policy"],
        listener=row.get("listener", "shipped"),
        over=over,
        request=_request(row["request"], over, bodies),
        expect=row["expect"],
        control=row.get("control", "reaches"),
    )


_REQUEST = {"method", "path", "headers", "body", "encode", "framing", "cut", "trailers", "raw", "half_close", "pipelined"}


def pieces_of(row: dict[str, Any], bodies: dict[str, Parts]) -> tuple[bytes, list[bytes]]:
    """A row's body, encoded, and the pieces in which it is sent: all of it, its parts, or cut where the row says."""
    parts = [bytes_of(part, bodies) for part in listed(row.get("body", []))]
    body = b"".join(parts)
    for codec in row.get("encode", []):
        body = CODECS[codec](body)
    cut = row.get("cut")
    if cut == "parts":
        return body, parts
    offsets = cut if isinstance(cut, list) else list(range(cut, len(body), cut)) if cut else []
    pieces = [body[start:end] for start, end in zip([0, *offsets], [*offsets, len(body)])]
    return body, [piece for piece in pieces if piece]


def _request(row: dict[str, Any], over: str, bodies: dict[str, Parts]) -> Request:
    assert set(row) <= _REQUEST, set(row) - _REQUEST
    body, pieces = pieces_of(row, bodies)
    companion = bytes_of({"use": "allowed"}, bodies)
    head = b"POST /companion HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
        companion
    )
    given = row.get("headers", {})
    return Request(
        method=row.get("method", "POST"),
        path=bytes_of(row.get("path", "/mcp"), bodies, "latin-1").decode("latin-1"),
        headers=_headers(given, over, bodies),
        given=given,
        body=body,
        pieces=pieces if row.get("cut") is not None else None,
        framing=row.get("framing", "length"),
        trailers=fields_of(row["trailers"], bodies) if "trailers" in row else None,
        raw=bytes_of(row["raw"], bodies, "latin-1") if "raw" in row else None,
        half_close=bool(row.get("half_close")),
        pipelined=row.get("pipelined"),
        companion=head + companion,
    )


def _headers(given: dict[str, Any], over: str, bodies: dict[str, Parts]) -> Headers:
    defaults = {"host": "mcp.test", "content-type": "application/json", "accept": "application/json, text/event-stream"}
    return fields_of({**defaults, **given}, bodies)


def fields_of(fields: dict[str, Any], bodies: dict[str, Parts]) -> Headers:
    pairs: Headers = []
    for name, values in fields.items():
        # A list of texts is a header for each; a list that holds a part is one long value.
        several = isinstance(values, list) and all(isinstance(value, str) for value in values)
        for value in values if several else [values]:
            if value is not None:
                pairs.append((name.encode("latin-1"), bytes_of(value, bodies, "latin-1")))
    return pairs


def listed(parts: Parts) -> list[Parts]:
    return parts if isinstance(parts, list) else [parts]


def bytes_of(part: Parts, bodies: dict[str, Parts], encoding: str = "utf-8") -> bytes:
    if isinstance(part, list):
        return b"".join(bytes_of(each, bodies, encoding) for each in part)
    if not isinstance(part, dict):
        return str(part).encode(encoding)
    if "hex" in part:
        return bytes.fromhex(str(part["hex"]))
    if "use" in part:
        return bytes_of(bodies[part["use"]], bodies)
    text, times = part["repeat"], int(part["times"])
    if "<<n>>" in text:
        return "".join(text.replace("<<n>>", str(number)) for number in range(times)).encode(encoding)
    return text.encode(encoding) * times


def _text(encoding: str, mark: bytes = b"") -> Callable[[bytes], bytes]:
    return lambda body: mark + body.decode().encode(encoding)


def _utf7(body: bytes) -> bytes:
    # Every character in its base64 form: what an ASCII filter looks for is nowhere to be seen.
    return b"+" + base64.b64encode(body.decode().encode("utf-16-be")).rstrip(b"=") + b"-"


def _raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _brotli(body: bytes) -> bytes:
    """One uncompressed meta-block of RFC 7932: window of 16 bits, length in 16 bits, the bytes, an empty last block."""
    assert 0 < len(body) <= 65536
    # Bits from the lowest: 0 (window), 0 (not last), 00 (four nibbles), length - 1, 1 (uncompressed).
    bits = (len(body) - 1) << 4 | 1 << 20
    return bits.to_bytes(3, "little") + body + b"\x03"


def _zstd(body: bytes) -> bytes:
    """One frame of RFC 8878 with a single raw block and no checksum."""
    assert len(body) < 65536
    size = b"\x20" + bytes([len(body)]) if len(body) < 256 else b"\x60" + (len(body) - 256).to_bytes(2, "little")
    block = len(body) << 3 | 1
    return b"\x28\xb5\x2f\xfd" + size + block.to_bytes(3, "little") + body


CODECS: dict[str, Callable[[bytes], bytes]] = {
    "utf-8-sig": lambda body: b"\xef\xbb\xbf" + body,
    "utf-16-le": _text("utf-16-le"),
    "utf-16-be": _text("utf-16-be"),
    "utf-16-le-sig": _text("utf-16-le", b"\xff\xfe"),
    "utf-16-be-sig": _text("utf-16-be", b"\xfe\xff"),
    "utf-32-le": _text("utf-32-le"),
    "utf-32-be": _text("utf-32-be"),
    "utf-32-le-sig": _text("utf-32-le", b"\xff\xfe\0\0"),
    "utf-32-be-sig": _text("utf-32-be", b"\0\0\xfe\xff"),
    "utf-7": _utf7,
    "cp037": _text("cp037"),
    "base64": base64.b64encode,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw-deflate": _raw_deflate,
    "br": _brotli,
    "zstd": _zstd,
}
