"""Who is calling: every source of names on a real Envoy, with real tokens and certificates, and what does not fool it."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import rig

from client import H1, H2, Response, Tls, post_bytes
from credentials import Authority, Issuer, any_of, client_context, confused, jwt_authn, mutual_tls, unsigned
from fleet import Listener, Policy, bare
from gateway import Gateway, call, serving
from judge import error_of
from upstream import RAN, Upstream

ALLOW: Policy = {"version": "1", "default": "allow", "requests": {"hold_headers": "always"}}

HMAC, RSA, ELLIPTIC = Issuer("hs", "HS256"), Issuer("rs", "RS256"), Issuer("es", "ES256")
OTHER = Issuer("other", "RS256")
STRANGER = Issuer("rs", "RS256")

CLAIMS: Policy = {
    **ALLOW,
    "identity": {
        "grant": [{"jwt_claim": "client_id"}, {"jwt_claim": "act.sub"}, {"jwt_claim": "sub"}],
        "keys": {
            "team": {"jwt_claim": "team"},
            "level": {"jwt_claim": "level"},
            "tenant": {"jwt_claim": "https://acme.test/tenant"},
            "space": {"jwt_claim": ["kubernetes.io", "namespace"]},
        },
    },
}
ORDERED: Policy = {
    **ALLOW,
    "identity": {
        "grant": [
            {"jwt_claim": "sub"},
            {"header": "X-Agent-Id"},
            {"peer": "spiffe"},
            {"peer": "subject"},
            {"credential": "x-api-key"},
            {"credential": "Authorization"},
            {"source": "ip", "use_remote_address": True},
        ],
        "keys": {"team": [{"header": "x-team"}, {"jwt_claim": "team"}]},
    },
}
PEERS: Policy = {
    **ALLOW,
    "identity": {
        "grant": [{"peer": "spiffe"}, {"peer": "subject"}],
        "keys": {"digest": {"peer": "digest"}, "subject": {"peer": "subject"}},
    },
}
HEADERS: Policy = {
    **ALLOW,
    "identity": {"grant": {"header": "X-Agent-Id"}, "keys": {"team": {"header": "x-team"}, "key": {"credential": "x-api-key"}}},
}
REQUIRED: Policy = {**HEADERS, "identity": {**HEADERS["identity"], "required": True}, "tools_list": "listed", "default": "deny"}
ADDRESS: Policy = {**ALLOW, "identity": {"grant": {"source": "ip", "use_remote_address": True}}}

# One counter for each scope, of which one is met before the others, depending on who calls what.
LEVELS: Policy = {
    **ALLOW,
    "identity": {
        "grant": {"header": "x-agent-id"},
        "keys": {"team": {"header": "x-team"}, "tenant": {"header": "x-tenant"}},
    },
    "all_tools": {
        "limits": [
            {"counter": "sustained", "window": "month", "max": 3},
            {"counter": "team", "window": "month", "max": 5, "scope": "team"},
            {"counter": "tenant", "window": "month", "max": 6, "scope": "tenant"},
            {"counter": "everybody", "window": "month", "max": 8, "scope": "global", "on_deny": "The house is full."},
        ]
    },
    "tools": {"search": {"limits": [{"counter": "burst", "window": "week", "max": 2}]}},
}
CONDITIONS: Policy = {
    **ALLOW,
    "default": "deny",
    "identity": {
        "grant": {"jwt_claim": "sub"},
        "keys": {
            "team": {"jwt_claim": "team"},
            "level": {"jwt_claim": "level"},
            "groups": {"jwt_claim": "groups"},
            "admin": {"jwt_claim": "admin"},
        },
    },
    "tools": {
        "own": {"require": [{"conditions": [{"path": "identity.grant", "op": "eq", "value": "alice"}]}]},
        "team": {"require": [{"conditions": [{"path": "identity.team", "op": "in", "value": ["sre", "dev"]}]}]},
        "level": {"require": [{"conditions": [{"path": "identity.level", "op": "gte", "value": 3}]}]},
        "group": {"require": [{"conditions": [{"path": "identity.groups", "op": "contains", "value": "g1"}]}]},
        "admin": {"require": [{"conditions": [{"path": "identity.admin", "op": "eq", "value": True}]}]},
        "not_interns": {"deny_if": [{"conditions": [{"path": "identity.team", "op": "eq", "value": "interns"}]}]},
        "not_there": {"deny_if": [{"conditions": [{"path": "identity.team", "op": "exists", "value": False}]}]},
        "region": {"require": [{"conditions": [{"path": "header.X-Region", "op": "starts_with", "value": "eu-"}]}]},
        "not_beta": {"deny_if": [{"conditions": [{"path": "header.x-beta", "op": "exists", "value": True}]}]},
    },
}



def cleaned(config: rig.Config) -> None:
    """What envoy/README.md advises: before all filters, what clients send goes, and what Envoy knows takes its place."""
    san = {"key": "x-agent-id", "value": "%DOWNSTREAM_PEER_URI_SAN%"}
    mutations = [
        {"remove": "x-agent-id"},
        {"remove": "x-team"},
        {"append": {"header": san, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}},
    ]
    kind = "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    extension = {"name": "envoy.http.early_header_mutation.header_mutation"}
    extension["typed_config"] = {"@type": kind, "mutations": mutations}  # type: ignore[assignment]
    rig.hcm(config)["early_header_mutation_extensions"] = [extension]


def cleaned_by_the_route(config: rig.Config) -> None:
    rig.hcm(config)["route_config"]["request_headers_to_remove"] = ["x-agent-id"]


# What must never be seen in a log.
SECRETS = ["s3cret-bearer-1", "s3cret-bearer-2", "s3cret-api-key", "c3JldDpzM2NyZXQ"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("trusted"), "trusted")


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, authority: Authority) -> Iterator[Gateway]:
    providers = {issuer.name: issuer.provider() for issuer in (HMAC, RSA, ELLIPTIC)}
    three = jwt_authn(providers, any_of("hs", "rs", "es"))
    lenient = jwt_authn(providers, any_of("hs", "rs", "es", otherwise="allow_missing_or_failed"))
    elsewhere = jwt_authn({"rs": RSA.provider("claims")}, any_of("rs"))
    two_places = jwt_authn(
        {"rs": RSA.provider("first"), "other": OTHER.provider("second", from_params=["token"])},
        {"requires_all": {"requirements": [{"provider_name": "rs"}, any_of("other")]}},
    )
    either_place = {"requires_any": {"requirements": [{"provider_name": "rs"}, {"provider_name": "hs"}, {"allow_missing": {}}]}}
    either = jwt_authn({"rs": RSA.provider("first"), "hs": HMAC.provider("second")}, either_place)

    def from_payload(*payloads: str) -> Policy:
        return {**ALLOW, "identity": {"grant": [{"jwt_claim": "sub", "payload": payload} for payload in payloads]}}

    once = {"all_tools": {"limits": [{"counter": "once", "window": "month", "max": 1}]}}
    tls = mutual_tls(authority.issue("server"), authority.file)
    listeners = {
        "claims": Listener(CLAIMS, three),
        "claims, failed too": Listener(CLAIMS, lenient),
        "claims, unverified": Listener(CLAIMS),
        "claims, elsewhere": Listener(from_payload("claims"), elsewhere),
        "claims, wrong place": Listener(from_payload("jwt_payload"), elsewhere),
        "claims, second place": Listener(from_payload("second", "first"), two_places),
        "claims, two issuers": Listener({**from_payload("first", "second"), **once}, either),
        "once": Listener({**CLAIMS, **once}, three),
        "ordered": Listener(ORDERED, three, tls),
        "peers": Listener(PEERS, tls),
        "headers": Listener(HEADERS),
        "headers, cleaned": Listener(HEADERS, tls, cleaned),
        "headers, cleaned too late": Listener(HEADERS, cleaned_by_the_route),
        "headers, bare": Listener(HEADERS, bare),
        "required": Listener(REQUIRED),
        "default": Listener(ALLOW),
        "once, by default": Listener({**ALLOW, **once}),
        "by address": Listener(
            {**ALLOW, "all_tools": {"limits": [{"counter": "a", "window": "month", "max": 3, "scope": "address"}]}}
        ),
        "address": Listener(ADDRESS),
        "address, bare": Listener(ADDRESS, bare),
        "levels": Listener(LEVELS),
        "conditions": Listener(CONDITIONS, three),
    }
    with serving(upstream, listeners) as gateway:
        yield gateway
        # Whatever the tests did: no credential is anywhere in what Envoy wrote.
        written = gateway.envoy.log() + gateway.envoy.stdout_path.read_text()
        assert not [secret for secret in SECRETS if secret in written]


_numbers = itertools.count()


def ask(
    gateway: Gateway, listener: str, headers: Sequence[tuple[str, str | bytes]] = (), **how: Any
) -> tuple[Response, dict[str, Any]]:
    """One call, and what the access log has of it."""
    response, path = send(gateway, listener, headers, **how)
    return response, gateway.logged(path)


def send(
    gateway: Gateway,
    listener: str,
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    tool: str = "search",
    http2: bool = False,
    context: ssl.SSLContext | None = None,
    query: str = "",
) -> tuple[Response, str]:
    """One call on a path of its own."""
    path = f"/who/{next(_numbers)}"
    body = call(tool).encode()
    fields = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers]
    usual = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
    port = gateway.port(listener)
    if http2:
        head = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"mcp.test"), (b":path", path.encode())]
        lower = [(name.lower(), value) for name, value in fields]
        with H2(port) as connection:
            response = connection.receive(connection.request([*head, *usual, *lower], [body]))
    else:
        lines = [b"POST %b HTTP/1.1" % (path + query).encode(), b"host: mcp.test", b"content-length: %d" % len(body)]
        lines += [name + b": " + value for name, value in [*usual, *fields]]
        with Tls(port, context) if context else H1(port) as connection:
            connection.send(b"\r\n".join([*lines, b"", b""]) + body)
            response = connection.receive()
    return response, path + query


def bearer(token: str) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {token}")]


def named(logged: dict[str, Any]) -> str:
    return str(logged["mcp_grant"])


def keys(logged: dict[str, Any]) -> dict[str, str]:
    return dict(part.split("=", 1) for part in (logged["mcp_identity"] or "").split(",") if part)


# --- Tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", [HMAC, RSA, ELLIPTIC], ids=lambda issuer: issuer.algorithm)
def test_a_verified_token_names_its_bearer(gateway: Gateway, issuer: Issuer) -> None:
    response, logged = ask(gateway, "claims", bearer(issuer.token({"client_id": "agent-7", "team": "sre"})))
    assert RAN in response.body
    assert (named(logged), keys(logged)) == ("agent-7", {"team": "sre"})


EIGHT = "\x00\x00\x00\x00\x00\x00\x1c@"  # The eight bytes of the double 7.
VALUES: dict[str, tuple[dict[str, Any], str | None]] = {
    # Claims, and the name that they give; None where there is no telling.
    "a text": ({"client_id": "agent-7"}, "agent-7"),
    "letters beyond ASCII": ({"client_id": "agënt-😀"}, "agënt-😀"),
    "a text of eight bytes": ({"client_id": "abcdefgh"}, "abcdefgh"),
    "a text that is the bytes of a number": ({"client_id": EIGHT}, r"\u{0}" * 6 + r"\u{1c}@"),
    "a text that is a number": ({"client_id": "7"}, "7"),
    "a number": ({"client_id": 7}, "7"),
    "a number with a point": ({"client_id": 7.0}, "7"),
    "a fraction": ({"client_id": 0.5}, "0.5"),
    "a negative number": ({"client_id": -3}, "-3"),
    "the last number that is its own": ({"client_id": 2**53 - 1}, "9007199254740991"),
    "a number that its neighbour becomes": ({"client_id": 2**53}, None),
    "a number that becomes its neighbour": ({"client_id": 2**53 + 1}, None),
    "a huge number": ({"client_id": 10**300}, None),
    "a boolean": ({"client_id": True}, "true"),
    "a list": ({"client_id": ["b", "a"]}, '["a","b"]'),
    "the same list, turned": ({"client_id": ["a", "b"]}, '["a","b"]'),
    "a list with quotes": ({"client_id": ['a","b']}, '["a\\",\\"b"]'),
    "a list with a number": ({"client_id": ["a", 1], "sub": "s"}, "s"),
    # To write such a list out took as much again for each level: the worker stood still, and its memory ran out.
    "a list in lists": ({"client_id": ["b", *json.loads("[" * 28 + "1" + "]" * 28)], "sub": "s"}, "s"),
    "an empty list": ({"client_id": [], "sub": "s"}, "s"),
    "an object": ({"client_id": {"a": "b"}, "sub": "s"}, "s"),
    "null": ({"client_id": None, "sub": "s"}, "s"),
    "an empty text": ({"client_id": "", "sub": "s"}, "s"),
    "nested": ({"act": {"sub": "agent"}, "sub": "s"}, "agent"),
    "nested in a text": ({"act": "sub", "sub": "s"}, "s"),
    "nested, spelled flat": ({"act.sub": "agent", "sub": "s"}, "s"),
    "nothing": ({}, "anonymous"),
    "another case": ({"Client_Id": "agent", "CLIENT_ID": "agent"}, "anonymous"),
    "as long as names may be": ({"client_id": "n" * 4096}, "n" * 128 + "…"),
    "longer": ({"client_id": "n" * 4097}, None),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_claim_is_a_name_if_it_can_be_one(gateway: Gateway, case: str) -> None:
    claims, expected = VALUES[case]
    response, logged = ask(gateway, "claims", bearer(HMAC.token(claims)))
    if expected is None:
        assert (response.status, error_of(response)["reason"]) == (400, "identity_unreadable")
    else:
        assert RAN in response.body, response
        assert named(logged) == expected


def test_names_that_look_alike_are_different_callers(gateway: Gateway) -> None:
    """Each may call once; those that are one caller, once together."""
    tokens = ["7", 7, EIGHT, True, "true", ["a"], '["a"]', "agent", "Agent", "agent ", "agent\u00a0"]
    for client_id in tokens:
        response, _ = ask(gateway, "once", bearer(RSA.token({"client_id": client_id})))
        assert RAN in response.body, client_id
    for client_id in [7.0, "7", ["a"], True]:
        response, _ = ask(gateway, "once", bearer(ELLIPTIC.token({"client_id": client_id})))
        assert error_of(response)["reason"] == "limit_reached", client_id


def test_two_issuers_may_give_one_name_to_two_callers(gateway: Gateway) -> None:
    for issuer in (RSA, HMAC):
        response, logged = ask(gateway, "claims, two issuers", bearer(issuer.token({"sub": "alice"})))
        assert RAN in response.body and named(logged) == "alice"
        response, _ = ask(gateway, "claims, two issuers", bearer(issuer.token({"sub": "alice", "exp": int(time.time()) + 99})))
        assert error_of(response)["reason"] == "limit_reached", "a new token is not a new caller"


def test_claims_with_dots_of_their_own(gateway: Gateway) -> None:
    claims = {"sub": "s", "https://acme.test/tenant": "acme", "kubernetes.io": {"namespace": "prod"}, "level": 3}
    _, logged = ask(gateway, "claims", bearer(HMAC.token(claims)))
    assert keys(logged) == {"tenant": "acme", "space": "prod", "level": "3"}


def test_a_comma_in_a_name_does_not_make_two_of_it(gateway: Gateway) -> None:
    _, logged = ask(gateway, "claims", bearer(HMAC.token({"sub": "s", "team": "sre,level=9"})))
    assert logged["mcp_identity"] == "team=sre%2Clevel=9"


NOW = int(time.time())
FORGED = {
    "expired": RSA.token({"sub": "alice", "exp": NOW - 3600}),
    "not yet valid": RSA.token({"sub": "alice", "nbf": NOW + 3600}),
    "for another audience": RSA.token({"sub": "alice", "aud": "other"}),
    "from an unknown issuer": RSA.token({"sub": "alice", "iss": "nobody"}),
    "from another issuer's key": HMAC.token({"sub": "alice", "iss": "rs"}),
    "signed by a stranger": STRANGER.token({"sub": "alice"}),
    "with another payload": ".".join(
        [RSA.token({"sub": "bob"}).split(".")[0], RSA.token({"sub": "alice"}).split(".")[1], RSA.token({"sub": "bob"}).split(".")[2]]
    ),
    "of no algorithm": unsigned({"iss": "rs", "aud": "mcp", "sub": "alice"}),
    "of no algorithm, shouted": unsigned({"iss": "rs", "aud": "mcp", "sub": "alice"}, "NONE"),
    "without signature": unsigned({"iss": "rs", "aud": "mcp", "sub": "alice"}, "RS256"),
    "signed with the public key": confused({"iss": "rs", "aud": "mcp", "sub": "alice"}, RSA),
    "of no issuer": unsigned({"sub": "alice"}, "RS256", "AAAA"),
    "garbage": "a.b.c",
}


@pytest.mark.parametrize("case", FORGED)
def test_a_token_that_does_not_verify_names_nobody(gateway: Gateway, case: str) -> None:
    before = gateway.upstream.count()
    response, logged = ask(gateway, "claims", bearer(FORGED[case]))
    assert response.status in (401, 403) and RAN not in response.body, "Envoy refuses it"
    assert gateway.arrivals(before) == []
    # Where the operator lets failed ones pass, they pass without a name.
    response, logged = ask(gateway, "claims, failed too", bearer(FORGED[case]))
    assert RAN in response.body
    assert (named(logged), logged["mcp_identity"]) == ("anonymous", None)


def test_without_verification_there_are_no_claims(gateway: Gateway) -> None:
    for listener in ("claims, unverified", "claims"):
        token = RSA.token({"sub": "alice", "team": "sre"}) if listener != "claims" else ""
        _, logged = ask(gateway, listener, bearer(token) if token else [])
        assert (named(logged), logged["mcp_identity"]) == ("anonymous", None)


def test_claims_are_read_where_the_provider_puts_them(gateway: Gateway) -> None:
    token = bearer(RSA.token({"sub": "alice"}))
    assert named(ask(gateway, "claims, elsewhere", token)[1]) == "alice"
    assert named(ask(gateway, "claims, wrong place", token)[1]) == "anonymous"


def test_of_two_tokens_each_has_its_place(gateway: Gateway) -> None:
    first = bearer(RSA.token({"sub": "alice"}))
    listener = "claims, second place"
    _, logged = ask(gateway, listener, first, query="?token=" + OTHER.token({"sub": "carol"}))
    assert named(logged) == "carol"
    assert named(ask(gateway, listener, first)[1]) == "alice"
    response, _ = ask(gateway, listener, first, query="?token=" + STRANGER.token({"sub": "carol", "iss": "other"}))
    assert response.status == 401
    response, _ = ask(gateway, listener, [], query="?token=" + OTHER.token({"sub": "carol"}))
    assert response.status == 401
    # Two in one header are one that does not verify.
    both = f"Bearer {RSA.token({'sub': 'alice'})},{RSA.token({'sub': 'bob'})}"
    response, logged = ask(gateway, "claims", [("authorization", both)])
    assert response.status == 401 or named(logged) == "anonymous", response
    twice = [*bearer(RSA.token({"client_id": "alice"})), *bearer(RSA.token({"client_id": "bob"}))]
    response, _ = ask(gateway, "claims", twice)
    assert RAN not in response.body


PRETENDED = [
    ("jwt_payload", '{"client_id":"root"}'),
    ("x-jwt-payload", '{"client_id":"root"}'),
    ("envoy.filters.http.jwt_authn", '{"jwt_payload":{"client_id":"root"}}'),
    ("x-envoy-dynamic-metadata", "client_id=root"),
    ("metadata", "client_id=root"),
    ("wasm.mcp_grant", "root"),
    ("mcp_grant", "root"),
    ("mcp-grant", "root"),
    ("x-mcp-grant", "root"),
    ("client_id", "root"),
    ("x-forwarded-client-cert", 'By=spiffe://td/mcp;Hash=00;Subject="CN=root";URI=spiffe://td/root'),
    ("x-envoy-peer-metadata", "CN=root"),
    ("x-envoy-internal", "true"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1"),
    ("x-envoy-external-address", "10.0.0.1"),
    ("x_agent_id", "root"),
    ("x-agent-id-", "root"),
    ("-x-agent-id", "root"),
]


@pytest.mark.parametrize("listener", ["claims", "claims, unverified", "headers", "headers, bare", "default"])
def test_headers_that_look_like_metadata_name_nobody(gateway: Gateway, listener: str) -> None:
    for name, value in PRETENDED:
        response, path = send(gateway, listener, [(name, value)])
        if response.status == 400 and "_" in name and "bare" not in listener:
            continue  # Envoy itself, as the shipped configuration asks it to.
        assert RAN in response.body, name
        logged = gateway.logged(path)
        assert (named(logged), logged["mcp_identity"]) == ("anonymous", None), name


# --- Headers and credentials --------------------------------------------------------------------

HEADER_VALUES: dict[str, tuple[list[tuple[str, str | bytes]], str]] = {
    # Headers, and the name or the reason of the refusal.
    "plain": ([("x-agent-id", "agent-7")], "agent-7"),
    "another case of the name": ([("X-AGENT-ID", "agent-7")], "agent-7"),
    "outer space": ([("x-agent-id", "  agent-7\t ")], "agent-7"),
    "a space that is none": ([("x-agent-id", "\u00a0agent-7\u2003".encode())], "\u00a0agent-7\u2003"),
    "inner space": ([("x-agent-id", "agent  7")], "agent  7"),
    "empty": ([("x-agent-id", "")], "anonymous"),
    "only space": ([("x-agent-id", "   ")], "anonymous"),
    "absent": ([], "anonymous"),
    "UTF-8": ([("x-agent-id", "agënt".encode())], "agënt"),
    "not UTF-8": ([("x-agent-id", b"ag\xffnt")], "identity_unreadable"),
    "Latin-1": ([("x-agent-id", b"ag\xebnt")], "identity_unreadable"),
    "cut UTF-8": ([("x-agent-id", b"ag\xc3")], "identity_unreadable"),
    "overlong UTF-8": ([("x-agent-id", b"\xc0\xaf")], "identity_unreadable"),
    "as long as names may be": ([("x-agent-id", "n" * 4096)], "n" * 128 + "…"),
    "longer": ([("x-agent-id", "n" * 4097)], "identity_unreadable"),
    "very long": ([("x-agent-id", "n" * 50000)], "identity_unreadable"),
    "twice": ([("x-agent-id", "a"), ("x-agent-id", "b")], "repeated_header"),
    "twice the same": ([("x-agent-id", "a"), ("X-Agent-Id", "a")], "repeated_header"),
    "twice, first empty": ([("x-agent-id", ""), ("x-agent-id", "a")], "repeated_header"),
    "twice, second empty": ([("x-agent-id", "a"), ("x-agent-id", "")], "repeated_header"),
    "three times": ([("x-agent-id", "a"), ("x-agent-id", "b"), ("x-agent-id", "c")], "repeated_header"),
    "joined by a comma": ([("x-agent-id", "a, b")], "a, b"),
    "a key twice": ([("x-agent-id", "a"), ("x-team", "a"), ("x-team", "b")], "repeated_header"),
    "a key that is not UTF-8": ([("x-agent-id", "a"), ("x-team", b"\xff")], "identity_unreadable"),
    "a credential twice": ([("x-agent-id", "a"), ("x-api-key", "a"), ("x-api-key", "b")], "repeated_header"),
    "a credential that is not UTF-8": ([("x-agent-id", "a"), ("x-api-key", b"\xff")], "a"),
}


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("case", HEADER_VALUES)
def test_a_header_is_a_name_if_it_can_be_one(gateway: Gateway, case: str, http2: bool) -> None:
    headers, expected = HEADER_VALUES[case]
    if http2:
        headers = [(name, value.strip() if "space" in case and isinstance(value, str) else value) for name, value in headers]
    before = gateway.upstream.count()
    response, logged = ask(gateway, "headers", headers, http2=http2)
    if expected in ("identity_unreadable", "repeated_header"):
        assert (response.status, error_of(response)["reason"]) == (400, expected)
        assert gateway.arrivals(before) == []
    else:
        assert RAN in response.body, response
        assert named(logged) == expected


def test_headers_are_cleaned_before_the_filter_or_not_at_all(gateway: Gateway, authority: Authority) -> None:
    peer = client_context(authority.issue("cli", ["spiffe://td/cli"]))
    forged = [("x-agent-id", "root"), ("X-Agent-Id", "root"), ("x-team", "sre")]
    response, logged = ask(gateway, "headers, cleaned", forged, context=peer)
    assert RAN in response.body
    assert (named(logged), logged["mcp_identity"]) == ("spiffe://td/cli", None)
    # A route's own removal comes after the filter.
    before = gateway.upstream.count()
    _, logged = ask(gateway, "headers, cleaned too late", [("x-agent-id", "root")])
    [arrival] = gateway.arrivals(before)
    assert named(logged) == "root" and arrival.header("x-agent-id") == []


DIGEST = re.compile(r"[0-9a-f]{32}\Z")


def test_a_credential_is_known_by_its_digest_alone(gateway: Gateway) -> None:
    def grant(*values: str, listener: str = "default", name: str = "authorization") -> str:
        return named(ask(gateway, listener, [(name, value) for value in values])[1])

    first = grant("Bearer s3cret-bearer-1")
    assert DIGEST.match(first)
    # One token is one caller, however its scheme and white space are spelled.
    assert grant("bearer   s3cret-bearer-1") == grant("BEARER s3cret-bearer-1 ") == first
    others = {grant("Bearer s3cret-bearer-2"), grant("Bearer S3cret-bearer-1"), grant("Basic c3JldDpzM2NyZXQ=")}
    assert len(others) == 3 and first not in others and all(map(DIGEST.match, others))
    assert grant("") == grant() == "anonymous"
    assert grant("Token s3cret-bearer-1") == grant("s3cret-bearer-1==") == first, "nor is the scheme another caller"
    response, _ = ask(gateway, "default", [*bearer("s3cret-bearer-1"), *bearer("s3cret-bearer-2")])
    assert error_of(response)["reason"] == "repeated_header"
    _, logged = ask(gateway, "headers", [("x-api-key", "s3cret-api-key")])
    assert named(logged) == "anonymous" and DIGEST.match(keys(logged)["key"])


SIGNED = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX"
SPELLINGS: dict[str, tuple[str, list[str]]] = {
    # A credential, and other spellings of it, which get it no further call.
    "an opaque token": ("Bearer abc7", ["Bearer abc7 x1", "bearer  abc7", "Bearer abc7==", "Token abc7", "abc7", "x1 abc7", 'Bearer "abc7"']),
    "a signed token": (f"Bearer {SIGNED}k", [f"Bearer {SIGNED}{last}" for last in ("l", "m", "n", "k=", "k.x", "k x")]),
    "a user": ("Basic YWxpY2U6c2VjcmV0MQ==", ["Basic YWxpY2U6c2VjcmV0MQ", "Basic YWxpY2U6c2VjcmV0MR==", "Basic YWxpY2U6!c2VjcmV0MQ==", "basic QUxJQ0U6c2VjcmV0MQ=="]),
}  # fmt: skip


@pytest.mark.parametrize("case", SPELLINGS)
def test_one_credential_is_one_caller_however_it_is_spelled(gateway: Gateway, case: str) -> None:
    credential, others = SPELLINGS[case]
    response, _ = ask(gateway, "once, by default", [("authorization", credential)])
    assert RAN in response.body
    for other in [credential, *others]:
        response, _ = ask(gateway, "once, by default", [("authorization", other)])
        assert error_of(response)["reason"] in ("limit_reached", "credential_ambiguous"), other
        assert response.status == 200 and error_of(response)["id"] != "null", "an error under the id of the request"


def test_a_limit_by_address_holds_whoever_invents_credentials(gateway: Gateway) -> None:
    letters = ""
    for number in range(5):
        forwarded = ("x-forwarded-for", f"9.9.9.{number}")
        response, _ = ask(gateway, "by address", [*bearer(f"invented-{number}"), forwarded])
        letters += "a" if RAN in response.body else error_of(response)["reason"][0]
    assert letters == "aaall"


def test_an_address_is_a_name_where_envoy_sees_it_itself(gateway: Gateway) -> None:
    for headers in [[], [("x-forwarded-for", "9.9.9.9")], [("x-forwarded-for", "9.9.9.9, 8.8.8.8"), ("x-real-ip", "7.7.7.7")]]:
        assert named(ask(gateway, "address", headers)[1]) == "127.0.0.1"
    # This is why `use_remote_address` must be stated: without it, Envoy believes the caller.
    assert named(ask(gateway, "address, bare", [("x-forwarded-for", "9.9.9.9")])[1]) == "9.9.9.9"


# --- Certificates -------------------------------------------------------------------------------

PEER_NAMES: dict[str, tuple[str, list[str], str, str | None]] = {
    # Common name, URIs, the name of the caller and the subject among its keys.
    "a SPIFFE id": ("cli", ["spiffe://td/ns/a/sa/cli"], "spiffe://td/ns/a/sa/cli", "CN=cli,O=acme"),
    "several, the first is one": ("cli", ["spiffe://td/one", "spiffe://td/two"], "spiffe://td/one", "CN=cli,O=acme"),
    "the first is another URI": ("cli", ["https://td/one", "spiffe://td/two"], "CN=cli,O=acme", "CN=cli,O=acme"),
    "in capitals": ("cli", ["SPIFFE://td/one"], "CN=cli,O=acme", "CN=cli,O=acme"),
    "no URI": ("only-subject", [], "CN=only-subject,O=acme", "CN=only-subject,O=acme"),
    "no subject": ("", ["spiffe://td/nameless"], "spiffe://td/nameless", None),
    "neither": ("", [], "anonymous", None),
    "a comma in the subject": ("a,O=root", [], "CN=a\\,O=root,O=acme", "CN=a\\,O=root,O=acme"),
}


@pytest.mark.parametrize("case", PEER_NAMES)
def test_a_verified_certificate_names_its_owner(gateway: Gateway, authority: Authority, case: str) -> None:
    name, uris, expected, subject = PEER_NAMES[case]
    context = client_context(authority.issue(name or "nameless", uris) if name else authority.issue("", uris, ["x.test"]))
    response, logged = ask(gateway, "peers", [("x-forwarded-client-cert", "URI=spiffe://td/root")], context=context)
    assert RAN in response.body
    assert named(logged) == expected
    parts = logged["mcp_identity"]
    digest = re.match(r"digest=([0-9a-f]{64})", parts)
    assert digest, parts
    shown = parts[digest.end() :].removeprefix(",subject=") or None
    assert shown == (subject.replace(",", "%2C") if subject else None)


def test_without_a_certificate_nobody_is_named(gateway: Gateway) -> None:
    forged = [("x-forwarded-client-cert", "Hash=00;URI=spiffe://td/root")]
    _, logged = ask(gateway, "peers", forged, context=client_context(None))
    assert (named(logged), logged["mcp_identity"]) == ("anonymous", None)


def test_a_certificate_that_nobody_vouches_for_gets_nowhere(gateway: Gateway, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "trusted").issue("cli", ["spiffe://td/ns/a/sa/cli"])
    itself = authority.selfsigned("cli", ["spiffe://td/ns/a/sa/cli"])
    before = gateway.upstream.count()
    for certificate in (stranger, itself):
        with pytest.raises((ssl.SSLError, ConnectionError)), Tls(gateway.port("peers"), client_context(certificate)) as tls:
            tls.send(post_bytes(call("search")))
            assert tls.receive().fault
            raise ConnectionError
    assert gateway.arrivals(before) == []


# --- Order, absence, requirement ----------------------------------------------------------------


def test_the_first_source_that_yields_names_the_caller(gateway: Gateway, authority: Authority) -> None:
    spiffe = client_context(authority.issue("cli", ["spiffe://td/cli"]))
    subject = client_context(authority.issue("cli"))
    nobody = client_context(None)
    token = bearer(HMAC.token({"sub": "alice", "team": "claimed"}))
    nameless = bearer(HMAC.token({}))
    agent, api_key = [("x-agent-id", "agent")], [("x-api-key", "s3cret-api-key")]

    def name(headers: Sequence[tuple[str, str | bytes]], context: ssl.SSLContext) -> str:
        return named(ask(gateway, "ordered", headers, context=context)[1])

    assert name([*api_key, *agent, *token], spiffe) == "alice"
    assert name([*api_key, *agent], spiffe) == "agent"
    assert name([*api_key, *agent, *nameless], spiffe) == "agent"
    assert name([*api_key, ("x-agent-id", " ")], spiffe) == "spiffe://td/cli"
    assert name(api_key, subject) == "CN=cli,O=acme"
    by_key, by_token = name([*api_key, *nameless], nobody), name(nameless, nobody)
    assert DIGEST.match(by_key) and DIGEST.match(by_token) and by_key != by_token
    assert name([], nobody) == "127.0.0.1"
    _, logged = ask(gateway, "ordered", [*token, ("x-team", "stated")], context=nobody)
    assert keys(logged) == {"team": "stated"}
    _, logged = ask(gateway, "ordered", token, context=nobody)
    assert keys(logged) == {"team": "claimed"}
    # A source that cannot be read is not skipped.
    response, _ = ask(gateway, "ordered", [*token, ("x-agent-id", "a"), ("x-agent-id", "b")], context=nobody)
    assert response.status == 400 or named(_) == "alice"


def test_an_identity_can_be_required(gateway: Gateway) -> None:
    port = gateway.port("required")
    before = gateway.upstream.count()
    for method in ("tools/call", "tools/list", "initialize", "ping", "server/discover", "no/such"):
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": {"name": "search", "arguments": {}}})
        with H1(port) as connection:
            connection.send(post_bytes(body))
            response = connection.receive()
        error = error_of(response)
        assert (response.status, error["code"], error["reason"], error["id"]) == (200, 401, "identity_required", "7"), method
    for body in (
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        '[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"x"}}]',
    ):
        with H1(port) as connection:
            connection.send(post_bytes(body))
            response = connection.receive()
        assert (response.status, response.body) == (202, b"")
    assert gateway.arrivals(before) == []
    # No stream is opened and no session ended.
    for method, header in [("GET", "accept: text/event-stream"), ("DELETE", "mcp-session-id: 1")]:
        with H1(port) as connection:
            connection.send(f"{method} /mcp HTTP/1.1\r\nhost: mcp.test\r\n{header}\r\n\r\n".encode())
            response = connection.receive(method)
        error = error_of(response)
        assert (response.status, error["code"], error["reason"], error["id"]) == (401, 401, "identity_required", "null")
        assert response.header("www-authenticate") == "Bearer"
    assert gateway.arrivals(before) == []
    response, logged = ask(gateway, "required", [("x-agent-id", "a")])
    assert error_of(response)["reason"] == "tool_not_allowed" and named(logged) == "a"


def test_the_log_tells_who_it_was_also_where_nothing_was_decided(gateway: Gateway) -> None:
    with H1(gateway.port("headers")) as connection:
        body = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'
        connection.send(post_bytes(body, [("x-agent-id", "a"), ("x-team", "sre")], path="/initialized"))
        connection.receive()
    logged = gateway.logged("/initialized")
    assert (logged["mcp_decision"], logged["mcp_grant"], logged["mcp_identity"]) == ("pass", "a", "team=sre")


# --- Limits and conditions ----------------------------------------------------------------------


def test_each_level_of_limits_says_its_name(gateway: Gateway) -> None:
    def limit(agent: str, team: str, tenant: str, tool: str = "search") -> str:
        headers = [("x-agent-id", agent), ("x-team", team), ("x-tenant", tenant)]
        response, _ = ask(gateway, "levels", headers, tool=tool)
        if RAN in response.body:
            return ""
        error = error_of(response)
        assert (error["code"], error["reason"], error["data"]["remaining"]) == (429, "limit_reached", 0)
        assert error["message"] == "The house is full." if error["data"]["counter"] == "everybody" else "at most" in error["message"]
        return f"{error['data']['counter']} {error['data']['limit']} {error['data']['rule']}"

    assert [limit("a", "t", "acme"), limit("a", "t", "acme")] == ["", ""]
    burst = "burst 2 /tools/search/limits/0"
    assert limit("a", "t", "acme") == burst
    # Denied attempts took nothing from the other levels.
    assert limit("a", "t", "acme", "other") == ""
    assert limit("a", "t", "acme", "other") == "sustained 3 /all_tools/limits/0"
    assert [limit("b", "t", "acme"), limit("b", "t", "acme")] == ["", ""]
    assert limit("c", "t", "acme") == "team 5 /all_tools/limits/1"
    assert limit("c", "t2", "acme") == ""
    assert limit("d", "t2", "acme") == "tenant 6 /all_tools/limits/2"
    assert [limit("e", "t3", "other"), limit("e", "t3", "other")] == ["", ""]
    assert limit("f", "t4", "another") == "everybody 8 /all_tools/limits/3"


SUBJECTS: list[tuple[str, dict[str, Any], str]] = [
    # Tool, claims, and the reason of the denial if there is one.
    ("own", {"sub": "alice"}, ""),
    ("own", {"sub": "bob"}, "requirement_not_met"),
    ("own", {}, "requirement_not_met"),
    ("team", {"team": "dev"}, ""),
    ("team", {"team": "Dev"}, "requirement_not_met"),
    ("team", {"team": ["dev"]}, "value_undecidable"),
    ("team", {"team": 7}, "value_undecidable"),
    ("team", {}, "requirement_not_met"),
    ("level", {"level": 3}, ""),
    ("level", {"level": 2.5}, "requirement_not_met"),
    ("level", {"level": "3"}, "value_undecidable"),
    ("level", {"level": True}, "value_undecidable"),
    ("level", {"level": 2**60}, "identity_unreadable"),
    ("group", {"groups": ["g2", "g1"]}, ""),
    ("group", {"groups": ["g2"]}, "requirement_not_met"),
    ("group", {"groups": "g1"}, ""),
    ("admin", {"admin": True}, ""),
    ("admin", {"admin": False}, "requirement_not_met"),
    ("admin", {"admin": "true"}, "value_undecidable"),
    ("not_interns", {"team": "sre"}, ""),
    ("not_interns", {"team": "interns"}, "denied_by_condition"),
    ("not_interns", {"team": ["interns"]}, "value_undecidable"),
    ("not_interns", {}, ""),
    ("not_there", {}, "denied_by_condition"),
    ("not_there", {"team": "x"}, ""),
]


@pytest.mark.parametrize(("tool", "claims", "reason"), SUBJECTS, ids=str)
def test_conditions_read_claims(gateway: Gateway, tool: str, claims: dict[str, Any], reason: str) -> None:
    response, _ = ask(gateway, "conditions", bearer(ELLIPTIC.token(claims)), tool=tool)
    if reason:
        assert error_of(response)["reason"] == reason
        # Nothing of who the caller is goes into the answer.
        assert not any(f'"{value}"'.encode() in response.body for value in claims.values())
    else:
        assert RAN in response.body, response


HEADER_SUBJECTS: list[tuple[str, list[tuple[str, str | bytes]], str]] = [
    ("region", [("x-region", "eu-west")], ""),
    ("region", [("X-REGION", " eu-west ")], ""),
    ("region", [("x-region", "us-east")], "requirement_not_met"),
    ("region", [("x-region", "")], "requirement_not_met"),
    ("region", [], "requirement_not_met"),
    ("region", [("x-region", "us"), ("x-region", "eu-west")], "repeated_header"),
    ("region", [("x-region", "eu-west"), ("x-region", "eu-west")], "repeated_header"),
    ("region", [("x-region", "eu-west, us")], ""),
    ("region", [("x-region", b"eu-\xff")], "identity_unreadable"),
    ("not_beta", [], ""),
    ("not_beta", [("x-beta", "1")], "denied_by_condition"),
    ("not_beta", [("x-beta", "")], "denied_by_condition"),
]


@pytest.mark.parametrize(("tool", "headers", "reason"), HEADER_SUBJECTS, ids=str)
def test_conditions_read_headers(gateway: Gateway, tool: str, headers: list[tuple[str, str | bytes]], reason: str) -> None:
    response, _ = ask(gateway, "conditions", headers, tool=tool)
    if reason:
        assert error_of(response)["reason"] == reason
    else:
        assert RAN in response.body, response
