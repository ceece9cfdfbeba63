"""Approval given beforehand, in a token that Envoy's jwt_authn has verified: each thing that can be wrong with one has its reason, and one that is right runs as often as it says."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
import rig
import yaml

from client import Response, post
from credentials import Issuer, jwt_authn, unsigned
from fleet import Change, Listener, Policy
from gateway import Gateway, call, serving
from judge import error_of
from upstream import RAN, Upstream

LOGIN = Issuer("https://login.example.com", "ES256")
APPROVALS = Issuer("https://approvals.example.com", "EdDSA")
BY_RSA, BY_CURVE = Issuer("https://rsa.example.com", "RS256"), Issuer("https://curve.example.com", "ES256")
STRANGER = Issuer("https://approvals.example.com", "EdDSA")

POLICY: Policy = {
    "version": "1",
    "default": "deny",
    "identity": {"grant": {"jwt_claim": "sub"}},
    "requests": {"hold_headers": "always"},
    "tools": {
        "deploy": {"action": "require_approval", "approval": "token", "reason": "Deploying needs a token."},
        "other": {"action": "require_approval", "approval": "token"},
        "free": {},
        # An approval that nobody can give: its denial tells the digests.
        "digest": {"action": "require_approval", "approval": "token"},
    },
    "approvals": {"tokens": {"longest": "24h"}},
}
Claims = dict[str, Any]


def verified(*, approvals: bool = True) -> Change:
    """The two providers of envoy/README.md: who calls, and what was approved."""
    providers = {"login": LOGIN.provider()}
    requirements: list[rig.Config] = [{"requires_any": {"requirements": [{"provider_name": "login"}, {"allow_missing": {}}]}}]
    if approvals:
        own = {"from_headers": [{"name": "x-mcp-approval"}], "forward": False}
        issuers = {"approval": APPROVALS, "approval_rsa": BY_RSA, "approval_curve": BY_CURVE}
        providers |= {name: issuer.provider("mcp_approval", **own) for name, issuer in issuers.items()}
        either = [*({"provider_name": name} for name in issuers), {"allow_missing_or_failed": {}}]
        requirements.append({"requires_any": {"requirements": either}})
    return jwt_authn(providers, {"requires_all": {"requirements": requirements}} if approvals else requirements[0])


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    named = {"identity": {"grant": {"credential": "authorization"}}}
    pinned = {"approvals": {"tokens": {"longest": "24h", "pin_policy": True}}}
    listeners = {
        "tokens": Listener(POLICY, verified()),
        "pinned": Listener({**POLICY, **pinned}, verified()),
        "by credential": Listener({**POLICY, **named}, verified()),
        "no provider": Listener(POLICY, verified(approvals=False)),
        "no jwt_authn": Listener(POLICY),
    }
    with serving(upstream, listeners, concurrency=4) as gateway:
        yield gateway
        written = gateway.envoy.log() + gateway.envoy.stdout_path.read_text()
        assert "eyJ" not in written, "a token in a log"


def digest_of(arguments: Any) -> str:
    """As envoy/README.md has it."""
    return "sha-256:" + base64.urlsafe_b64encode(hashlib.sha256(rfc8785.dumps(arguments)).digest()).rstrip(b"=").decode()


def detail(arguments: Any, tool: str = "deploy", **changes: Any) -> Claims:
    """What a token says of one call."""
    whole = {
        "type": "mcp_tool_call",
        "actions": ["tools/call"],
        "identifier": tool,
        "policy": "default",
        "arguments_digest": digest_of(arguments),
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


_numbers = itertools.count(1)


def token(*details: Claims, issuer: Issuer = APPROVALS, **changes: Any) -> str:
    """A token of its own for these calls."""
    claims = {"sub": "ci-deploy", "jti": f"g-{next(_numbers)}", "authorization_details": list(details), **changes}
    return issuer.token(claims)


def send(
    gateway: Gateway, arguments: Any, *tokens: str, listener: str = "tokens", tool: str = "deploy", caller: str | None = "ci-deploy"
) -> Response:
    fields = [("x-mcp-approval", each) for each in tokens]
    if caller:
        fields.append(("authorization", f"Bearer {LOGIN.token({'sub': caller})}"))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return post(gateway.port(listener), call(tool, text), fields)


def outcome(gateway: Gateway, arguments: Any, *tokens: str, **how: Any) -> str:
    """`ran`, or a reason, with what does not match."""
    since = gateway.upstream.count()
    response = send(gateway, arguments, *tokens, **how)
    if RAN in response.body:
        return "ran"
    assert gateway.arrivals(since) == []
    error = error_of(response)
    assert error["code"] == (428 if error["reason"] == "approval_required" else 403)
    mismatch = error["data"].get("approval", {}).get("mismatch")
    return f"{error['reason']} {mismatch}" if mismatch else str(error["reason"])


@pytest.mark.parametrize("issuer", [APPROVALS, BY_RSA, BY_CURVE], ids=lambda issuer: issuer.algorithm)
def test_a_token_approves_its_call_once_and_is_not_forwarded(gateway: Gateway, issuer: Issuer) -> None:
    arguments = {"ref": "v1.2", "number": next(_numbers)}
    signed = token(detail(arguments), issuer=issuer)
    since = gateway.upstream.count()
    assert RAN in send(gateway, arguments, signed).body
    [arrival] = gateway.arrivals(since)
    assert arrival.header("x-mcp-approval") == [] and signed.encode() not in bytes(arrival.raw)
    assert json.loads(arrival.body)["params"]["arguments"] == arguments
    for _ in range(3):
        assert outcome(gateway, arguments, signed) == "approval_used"


def test_a_token_is_for_a_call_however_that_is_written(gateway: Gateway) -> None:
    signed = token(detail({"a": 1, "b": "x"}))
    assert outcome(gateway, '{ "b" : "\\u0078", "a" : 1.0 }', signed) == "ran"


ARGUMENTS = {"ref": "v1.2"}
# Claims, with times from now on; what the detail says; and what comes of it.
WRONG: dict[str, tuple[Claims, Claims, str]] = {
    # What Envoy does not verify is not there.
    "expired": ({"exp": -3600}, {}, "approval_required"),
    "not yet": ({"nbf": 3600}, {}, "approval_required"),
    "for another audience": ({"aud": "elsewhere"}, {}, "approval_required"),
    "of an unknown issuer": ({"iss": "https://evil.example.com"}, {}, "approval_required"),
    "with a number for an id": ({"jti": 7}, {}, "approval_required"),
    # Envoy lets a minute pass for clocks that differ; the filter does not.
    "expired a moment ago": ({"exp": -20}, {}, "approval_invalid expired"),
    "without an end": ({"exp": None}, {}, "approval_invalid expired"),
    "too long valid": ({"exp": 2 * 86_400}, {}, "approval_invalid too_long"),
    "for another caller": ({"sub": "somebody"}, {}, "approval_invalid caller"),
    "for nobody": ({"sub": None}, {}, "approval_invalid caller"),
    "without an id": ({"jti": None}, {}, "approval_invalid jti"),
    "with an empty id": ({"jti": ""}, {}, "approval_invalid jti"),
    "without details": ({"authorization_details": None}, {}, "approval_invalid type"),
    "with an empty list of details": ({"authorization_details": []}, {}, "approval_invalid type"),
    "with a text for details": ({"authorization_details": "mcp_tool_call"}, {}, "approval_invalid type"),
    "of another type": ({}, {"type": "payment"}, "approval_invalid type"),
    "for another tool": ({}, {"identifier": "other"}, "approval_invalid tool"),
    "for all tools": ({}, {"identifier": "*"}, "approval_invalid tool"),
    "for another method": ({}, {"actions": ["prompts/get"]}, "approval_invalid tool"),
    "without an action": ({}, {"actions": ...}, "approval_invalid tool"),
    "for other arguments": ({}, {"arguments_digest": digest_of({"ref": "v1.3"})}, "approval_invalid arguments"),
    "for any arguments": ({}, {"arguments_digest": ...}, "approval_invalid arguments"),
    "for another policy": ({}, {"policy": "payments"}, "approval_invalid policy"),
    "for no policy": ({}, {"policy": ...}, "approval_invalid policy"),
    "for a policy as it was": ({}, {"policy_digest": "sha-256:" + "A" * 43}, "approval_invalid policy"),
    "for no use": ({}, {"uses": 0}, "approval_invalid uses"),
    "for too many uses": ({}, {"uses": 101}, "approval_invalid uses"),
    "for half a use": ({}, {"uses": 1.5}, "approval_invalid uses"),
    "for uses in words": ({}, {"uses": "3"}, "approval_invalid uses"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_token_that_is_not_for_this_call_says_why(gateway: Gateway, case: str) -> None:
    claims, changes, expected = WRONG[case]
    now = int(time.time())
    claims = {name: now + value if name in ("exp", "nbf") and value else value for name, value in claims.items()}
    signed = token(detail(ARGUMENTS, **changes), **claims)
    for _ in range(2):
        assert outcome(gateway, ARGUMENTS, signed) == expected


def test_nobody_else_can_make_one(gateway: Gateway) -> None:
    claims = {"iss": APPROVALS.name, "aud": "mcp", "sub": "ci-deploy", "jti": "g-0", "exp": int(time.time()) + 60}
    claims["authorization_details"] = [detail(ARGUMENTS)]
    good = token(detail(ARGUMENTS))
    head, payload, signature = good.split(".")
    for forged in (
        STRANGER.token(claims),
        unsigned(claims),
        LOGIN.token({**claims, "iss": LOGIN.name}),
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"Bearer {good}",
        "",
        "a" * 5000,
    ):
        assert outcome(gateway, ARGUMENTS, forged) == "approval_required", forged
    assert outcome(gateway, ARGUMENTS) == "approval_required"
    assert outcome(gateway, ARGUMENTS, good) == "ran"


def test_a_mismatch_uses_nothing_up(gateway: Gateway) -> None:
    signed = token(detail(ARGUMENTS))
    assert outcome(gateway, {"ref": "v1.3"}, signed) == "approval_invalid arguments"
    assert outcome(gateway, ARGUMENTS, signed, tool="other") == "approval_invalid tool"
    assert outcome(gateway, ARGUMENTS, signed, caller="somebody") == "approval_invalid caller"
    assert outcome(gateway, ARGUMENTS, signed, caller=None) == "approval_invalid caller"
    assert outcome(gateway, ARGUMENTS, signed) == "ran"


def test_whom_nothing_has_verified_no_token_is_for(gateway: Gateway) -> None:
    assert outcome(gateway, ARGUMENTS, token(detail(ARGUMENTS)), listener="by credential") == "approval_invalid caller"


def test_a_token_can_be_for_several_calls_and_for_several_runs(gateway: Gateway) -> None:
    signed = token(detail({"id": 1}, uses=3), detail({"id": 2}), detail({"id": 1}, tool="other"))
    assert [outcome(gateway, {"id": 1}, signed) for _ in range(5)] == ["ran"] * 3 + ["approval_used"] * 2
    assert [outcome(gateway, {"id": 2}, signed) for _ in range(2)] == ["ran", "approval_used"]
    assert [outcome(gateway, {"id": 1}, signed, tool="other") for _ in range(2)] == ["ran", "approval_used"]
    assert outcome(gateway, {"id": 3}, signed) == "approval_invalid arguments"


def test_another_token_with_the_same_id_is_the_same(gateway: Gateway) -> None:
    assert outcome(gateway, {"id": "same"}, token(detail({"id": "same"}), jti="g-same")) == "ran"
    assert outcome(gateway, {"id": "same"}, token(detail({"id": "same"}), jti="g-same", exp=int(time.time()) + 900)) == "approval_used"
    assert outcome(gateway, {"id": "same"}, token(detail({"id": "same"}), jti="g-same", issuer=BY_RSA)) == "ran", "of another issuer"


def test_a_header_that_comes_twice_is_good_for_one_run_at_most(gateway: Gateway) -> None:
    good = token(detail({"id": "twice"}))
    found = [outcome(gateway, {"id": "twice"}, *pair) for pair in ((good, good), ("junk", good), (good, "junk"))]
    assert found.count("ran") <= 1 and set(found) <= {"ran", "approval_used", "approval_required"}, found
    if "ran" not in found:
        assert outcome(gateway, {"id": "twice"}, good) == "ran"


@pytest.mark.parametrize("listener", ["no provider", "no jwt_authn"])
def test_what_nothing_has_verified_is_not_there(gateway: Gateway, listener: str) -> None:
    assert outcome(gateway, ARGUMENTS, token(detail(ARGUMENTS)), listener=listener) == "approval_required"


def test_a_token_may_have_to_name_the_policy_as_it_is(gateway: Gateway) -> None:
    error = error_of(send(gateway, ARGUMENTS, listener="pinned"))
    digest = error["data"]["approval"]["policyDigest"]
    assert outcome(gateway, ARGUMENTS, token(detail(ARGUMENTS)), listener="pinned") == "approval_invalid policy"
    assert outcome(gateway, ARGUMENTS, token(detail(ARGUMENTS, policy_digest=digest)), listener="pinned") == "ran"
    assert outcome(gateway, ARGUMENTS, token(detail(ARGUMENTS, policy_digest=digest[:-1])), listener="pinned") == "approval_invalid policy"


def test_uses_are_exact_however_many_come_at_once(gateway: Gateway) -> None:
    for number in range(10):
        arguments = {"id": f"at once {number}"}
        signed = token(detail(arguments, uses=3))
        said: list[Response] = []
        threads = [threading.Thread(target=lambda: said.append(send(gateway, arguments, signed))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(RAN in each.body for each in said) == 3
        assert sum(b'"approval_used"' in each.body for each in said) == 17


# --- The recipe of envoy/README.md --------------------------------------------------------------


def block(language: str) -> str:
    """The code in that section."""
    text = (rig.ROOT / "envoy" / "README.md").read_text()
    section = text.split("\n## Approvals given beforehand\n")[1].split("\n## ")[0]
    return section.split(f"```{language}\n")[1].split("```")[0]


def as_documented(config: rig.Config) -> None:
    """The filter of the recipe, with keys of our own."""
    [authn, _] = yaml.safe_load(block("yaml"))["http_filters"]
    providers = authn["typed_config"]["providers"]
    for name, issuer in (("login", LOGIN), ("approval", APPROVALS)):
        providers[name].pop("remote_jwks", None)
        assert providers[name]["issuer"] == issuer.name
        providers[name]["local_jwks"] = {"inline_string": issuer.jwks}
    rig.hcm(config)["http_filters"].insert(0, authn)


def test_the_recipe_works_as_it_is_written(upstream: Upstream) -> None:
    said: Claims = {"private_key": APPROVALS.key}
    exec(block("python").replace('"kid": "approvals"', f'"kid": "{APPROVALS.name}"'), said)
    with serving(upstream, {"tokens": Listener(POLICY, as_documented)}) as gateway:
        assert outcome(gateway, said["arguments"]) == "approval_required"
        assert outcome(gateway, {**said["arguments"], "version": "1.2.4"}, said["token"]) == "approval_invalid arguments"
        since = upstream.count()
        assert RAN in send(gateway, said["arguments"], said["token"]).body
        [arrival] = gateway.arrivals(since)
        assert arrival.header("x-mcp-approval") == [] and arrival.header("authorization") == []
        assert outcome(gateway, said["arguments"], said["token"]) == "approval_used"


# --- The digest of the arguments ----------------------------------------------------------------

EDGES = [
    "0", "-0", "-0.0", "1.0", "1e0", "10e-1", "1E+2", "0.1", "1e-7", "1e-6", "0.000001", "123456789012345", "9007199254740991",
    "-9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993", "1e15", "1e16", "1e21", "1e300", "1e400",
    "1e-290", "1e-300", "5e-324", "1e-400", "0.1000000000000000055", "0.30000000000000004", "123456789.123456", "1.7976931348623157e308",
]  # fmt: skip


def written(random: random.Random, depth: int = 0) -> str:
    """A JSON text, with all that may stand between and in its parts."""
    space = random.choice(["", "", " ", "\n\t"])
    kind = random.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return space + number(random)
    if kind == 3:
        return random.choice(["null", "true", "false"])
    if kind < 6:
        return space + string(random)
    if kind < 8:
        names = {"".join(random.choices("ab€é\U0001f600\ufb33\x80\r\"\\/", k=random.randrange(4))) for _ in range(random.randrange(5))}
        members = [f"{string(random, name)}{space}:{written(random, depth + 1)}" for name in names]
        random.shuffle(members)
        return "{" + f"{space},".join(members) + "}"
    return "[" + ",".join(written(random, depth + 1) for _ in range(random.randrange(4))) + space + "]"


def string(random: random.Random, text: str | None = None) -> str:
    if text is None:
        alphabet = "aZ 0\"\\/\b\f\n\r\t\x00\x1f\x7f\x80\u00e9\u2028\ufeff\uffff\U0001f600\u202e<>&'"
        text = "".join(random.choices(alphabet, k=random.randrange(12)))
    return json.dumps(text, ensure_ascii=random.random() < 0.5)


def number(random: random.Random) -> str:
    kind = random.randrange(7)
    if kind == 0:
        return random.choice(EDGES)
    if kind == 1:
        return str(random.randrange(-1000, 1000))
    if kind == 2:
        return str(random.randrange(-(2**54), 2**54))
    if kind == 3:
        return repr(random.uniform(-1e6, 1e6))
    if kind == 4:
        return repr(random.randrange(10**6) / 10 ** random.randrange(1, 7))
    digits = str(random.randrange(1, 10 ** random.randrange(1, 18)))
    return f"{random.choice(['', '-'])}{digits}{random.choice(['', '.5', '.50'])}e{random.randrange(-25, 5)}"


def numbers_of(text: str) -> list[str]:
    found: list[str] = []

    def keep(written: str) -> int:
        found.append(written)
        return 0

    json.loads(text, parse_int=keep, parse_float=keep)
    return found


def is_plain(written: str) -> bool:
    """Whether every reader takes this number for the same: at most 15 digits, or an integer within ±(2^53 - 1), of usual size."""
    value = Decimal(written)
    digits = len(value.normalize().as_tuple().digits)
    within = abs(value) <= 2**53 - 1 and (value == 0 or abs(value.adjusted()) <= 290)
    return within and (digits <= 15 or value == value.to_integral_value())


def test_the_digest_is_that_of_rfc_8785(gateway: Gateway) -> None:
    """Against another implementation, with its own reader of JSON."""
    source = random.Random(8785)
    texts = [f'{{"v":{edge}}}' for edge in EDGES] + [f'{{"v":{written(source)}}}' for _ in range(600)]
    refused = 0
    for text in texts:
        error = error_of(send(gateway, text, tool="digest"))
        if not all(map(is_plain, numbers_of(text))):
            assert error["reason"] == "value_undecidable", text
            refused += 1
        else:
            assert error["reason"] == "approval_required", (text, error)
            assert error["data"]["approval"]["argumentsDigest"] == digest_of(json.loads(text)), text
    assert 50 < refused < 450


@pytest.mark.parametrize("text", ['{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}', '{"\\ud800":1}', '{"a":1,"a":1}', '{"a":1,"\\u0061":1}'])
def test_what_has_no_one_text_is_refused(gateway: Gateway, text: str) -> None:
    response = send(gateway, text, tool="digest")
    assert RAN not in response.body and error_of(response)["reason"] not in ("approval_required", None), response
