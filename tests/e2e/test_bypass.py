"""The corpus of bypass attempts, through the filter and, to prove that they are attempts, without it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from attempts import Attempt, Sent, load
from client import post
from fleet import VARIANTS, Listener, held
from gateway import Gateway, call, serving
from judge import fault
from upstream import Arrival, Reply, Upstream

CORPUS = load()
every_attempt = pytest.mark.parametrize("attempt", CORPUS.attempts, ids=str)


async def unavailable(arrival: Arrival, reply: Reply) -> None:
    """A server that fails, in every way that makes Envoy try again if it is asked to."""
    error = {"code": -32603, "message": "unavailable"}
    await reply.json({"jsonrpc": "2.0", "id": 8, "error": error}, status=503, headers=[(b"grpc-status", b"14")])


async def late(arrival: Arrival, reply: Reply) -> None:
    """A server that takes its time."""
    await asyncio.sleep(0.2)
    await reply.json({"jsonrpc": "2.0", "id": 8, "result": "ran"})


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    """One Envoy for the whole corpus: a listener per policy and variant, and each variant without the filter."""
    upstream.answer("/unavailable", unavailable)
    upstream.answer("/late", late)
    wanted = sorted({(each.policy, each.listener) for each in CORPUS.attempts})
    listeners = {
        f"{policy}/{variant}": Listener(held(CORPUS.policies[policy]), *VARIANTS[variant]) for policy, variant in wanted
    }
    controls = {f"no filter/{variant}": Listener(None, *changes) for variant, changes in VARIANTS.items()}
    with serving(upstream, listeners | controls) as gateway:
        yield gateway


def _send(gateway: Gateway, attempt: Attempt, policy: str) -> tuple[Sent, list[Arrival]]:
    before = gateway.upstream.count()
    sent = attempt.request.send(attempt.over, gateway.port(f"{policy}/{attempt.listener}"))
    return sent, gateway.arrivals(before)


@every_attempt
def test_with_the_filter(gateway: Gateway, attempt: Attempt) -> None:
    sent, arrivals = _send(gateway, attempt, attempt.policy)
    wrong = fault(attempt, sent, arrivals)
    if wrong:
        shown = (
            b"".join(attempt.request.segments()) if attempt.over == "h1" else (attempt.request.headers, attempt.request.body)
        )
        pytest.fail(f"{attempt}\n  {wrong}\n  sent: {str(shown)[:1500]}", pytrace=False)


@every_attempt
def test_without_the_filter(gateway: Gateway, attempt: Attempt) -> None:
    if attempt.control == "any":
        return
    sent, arrivals = _send(gateway, attempt, "no filter")
    expected = {"reaches": 1 <= len(arrivals) <= 2, "multiplied": len(arrivals) > 1, "refused": not arrivals}
    if not expected[attempt.control]:
        pytest.fail(f"{attempt}\n  expected: {attempt.control}; arrivals: {arrivals}; answer: {sent.response}", pytrace=False)


CONTROLS = [
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-dst-host",
    "x-envoy-original-path",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
]


@pytest.mark.parametrize("name", CONTROLS)
def test_no_caller_talks_to_envoy(gateway: Gateway, name: str) -> None:
    """envoy/README.md: the filter removes x-envoy-* headers; what Envoy may add afterwards is its own."""
    before = gateway.upstream.count()
    response = post(gateway.port("guarded/mesh"), call("search"), [(name, "5381")])
    [arrival] = gateway.arrivals(before)
    assert response.status == 200
    assert b"5381" not in b"".join(arrival.header(name))


@pytest.mark.parametrize("name", ["x-original-url", "x-original-uri", "x-Rewrite-Url"])
def test_no_server_sees_another_path(gateway: Gateway, name: str) -> None:
    """envoy/README.md: some servers take these for the path."""
    before = gateway.upstream.count()
    response = post(gateway.port("guarded/mesh"), call("search"), [(name, "/admin/reset"), ("x-forwarded-host", "api.example.com")])
    [arrival] = gateway.arrivals(before)
    assert response.status == 200
    assert b"/admin/reset" not in b"".join(value for _, value in arrival.headers)
    # Servers make links of it, and no binding asks for the host.
    assert arrival.header("x-forwarded-host") == [b"api.example.com"]


def test_everything_that_reached_the_upstream_is_accounted_for(gateway: Gateway) -> None:
    """Nothing came late, after its row had been judged, and nothing came that the upstream did not record."""
    counted = gateway.envoy.stats(r"^cluster\.mcp_server\.upstream_rq_total$")["cluster.mcp_server.upstream_rq_total"]
    assert gateway.upstream.count() == counted
