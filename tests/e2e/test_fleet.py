"""One count across a fleet: three Envoys of four workers before one rate limit service on a real Redis.

It begins with Envoy's own `ratelimit` filter on the service of tests/rls. What holds there is what the service can do: a
limit that is not exact with Envoy's own filter could not be exact with ours.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from client import Response, post, post_bytes
from fleet import Listener, Policy, held
from fleet_service import CLUSTER, CONNECTIONS, DOMAIN, PAGE, Envoys, Service, crowd, natively_limited, running
from gateway import call, until
from judge import error_of
from upstream import RAN

MAX = 1500
CALLS = 3000
RUNS = 3

OVER, FAILED = b"status 429", b"status 500"
REACHED, UNAVAILABLE = b'"reason":"limit_reached"', b'"reason":"counters_unavailable"'
# The number of DAY in the protocol.
DAY = 4

POLICY = {"generic_key": {"descriptor_key": "policy", "descriptor_value": "p"}}
CALLER = {"request_headers": {"header_name": "x-agent-id", "descriptor_key": "caller"}}


def counter(name: str) -> dict[str, Any]:
    """The action that names a counter."""
    return {"generic_key": {"descriptor_key": "counter", "descriptor_value": name}}


def calls(count: int = CALLS, callers: int = 1) -> Iterator[bytes]:
    """Calls by so many callers in turn, who are of three teams."""

    def named(at: int) -> list[tuple[str, str]]:
        return [("x-agent-id", f"agent-{at}"), ("authorization", f"Bearer secret-{at}"), ("x-team", f"team-{at % 3}")]

    each = [post_bytes(call("search", '{"n":4}'), named(at)) for at in range(callers)]
    return itertools.islice(itertools.cycle(each), count)


# --- Envoy's own filter -------------------------------------------------------------------------

NATIVE: dict[str, list[Any]] = {
    f"{name}, run {run}": [natively_limited(POLICY, counter(f"{name} {run}"), *actions, limit=(MAX, "DAY"), weight=weight)]
    for run in range(RUNS)
    for name, actions, weight in [("one caller", [CALLER], None), ("all callers", [], None), ("weighted", [CALLER], 4)]
}


@pytest.fixture(scope="module", params=["memory", "redis"])
def native(request: pytest.FixtureRequest) -> Iterator[tuple[Service, Envoys]]:
    """Envoy's own filter on every Envoy, before a service that counts in memory, then in Redis."""
    listeners = {name: Listener(None, *changes) for name, changes in NATIVE.items()}
    listeners["misbehaving"] = Listener(
        None, natively_limited(POLICY, counter("m"), limit=(10**6, "DAY"), timeout="0.5s")
    )
    with running(redis=request.param == "redis") as service, Envoys(service, listeners) as envoys:
        yield service, envoys


@pytest.mark.parametrize("name", NATIVE)
def test_the_service_counts_exactly_for_envoys_own_filter(native: tuple[Service, Envoys], name: str) -> None:
    service, envoys = native
    service.forget()
    tally = crowd(envoys.ports(name), calls(callers=1 if name.startswith("one") else 7), [RAN, OVER])
    weight = 4 if name.startswith("weighted") else 1
    # Of the weighted there are seven callers with a limit each.
    expected = 7 * (MAX // weight) if name.startswith("weighted") else MAX
    assert tally.lost == 0 and not tally.others, tally
    assert tally.marks == {RAN: expected, OVER: CALLS - expected}
    assert service.granted() == expected * weight
    question = service.questions()[-1]
    assert question["domain"] == DOMAIN
    assert [descriptor["limit"] for descriptor in question["descriptors"]] == [[MAX, DAY]]


# What Envoy's own filter makes of it where failures deny. An empty answer has the code UNKNOWN, which it lets pass.
MISBEHAVIOUR: dict[str, bytes] = {
    "ok": RAN,
    "slow 20": RAN,
    "slow 3000": FAILED,
    "silent": FAILED,
    "garbage": FAILED,
    "cut": FAILED,
    "empty": RAN,
    "code 2": OVER,
    "fewer": RAN,
    "contradiction": RAN,
    "huge": RAN,
    "http": FAILED,
    "status 14": FAILED,
    "reset": FAILED,
    "reset-early": FAILED,
}


@pytest.mark.parametrize("behaviour", MISBEHAVIOUR)
def test_the_service_misbehaves_as_it_is_told(native: tuple[Service, Envoys], behaviour: str) -> None:
    service, envoys = native
    service.be(behaviour)
    try:
        for port in envoys.ports("misbehaving"):
            answer = post(port, call("search"))
            assert MISBEHAVIOUR[behaviour] in answer.body, answer
    finally:
        service.be("ok")
    for port in envoys.ports("misbehaving"):
        assert RAN in post(port, call("search")).body


@pytest.mark.parametrize("way", ["shut", "mute"])
def test_one_envoy_is_cut_off(native: tuple[Service, Envoys], way: str) -> None:
    service, envoys = native
    ports = envoys.ports("misbehaving")
    getattr(service, way)(1)
    try:
        found = [post(port, call("search")).body for port in ports]
        assert [FAILED in body for body in found] == [False, True, False], found
    finally:
        service.reopen(1)
    until(lambda: RAN in post(ports[1], call("search")).body, "the service is reached again")


# --- Our filter ---------------------------------------------------------------------------------


def counted(*limits: dict[str, Any], on_error: str = "deny", timeout: int = 10_000, cluster: str = CLUSTER, **tools: Any) -> Policy:
    """A policy whose limits of `search`, and of other tools, count in the service."""
    entries = {"search": {"limits": list(limits)}, **tools}
    service = {"cluster": cluster, "domain": DOMAIN, "timeout": timeout, "on_error": on_error}
    identity = {"keys": {"team": [{"header": "x-team"}]}}
    beside = {"counters": {"service": service}, "identity": identity}
    return held({"version": "1", "default": "allow", "count_in": "service", "tools": entries, **beside})


def limit(counter: str, max: int = MAX, **more: Any) -> dict[str, Any]:
    """A limit of a day."""
    return {"counter": counter, "window": "day", "max": max, **more}


@dataclass(frozen=True)
class Storm:
    """Limits under load: by how many callers, and how many calls pass."""

    limits: tuple[dict[str, Any], ...]
    callers: int
    admitted: int
    weight: int = 1


STORMS: dict[str, Storm] = {
    "one grant": Storm((limit("grant"),), 1, MAX),
    "each caller": Storm((limit("caller", 100),), 7, 700),
    "each team": Storm((limit("team", 300, scope="team"),), 7, 900),
    "all callers": Storm((limit("all", scope="global"),), 7, MAX),
    "weighted": Storm((limit("weighted", increment=4),), 1, MAX // 4, 4),
    "weighted by an argument": Storm((limit("argument", increment_from="args.n"),), 1, MAX // 4, 4),
    "two limits": Storm((limit("wide", 2 * MAX, scope="global"), limit("narrow")), 1, MAX),
}
LEASES = {"": {}, ", lease": {"lease": 10}}
CASES = [f"{name}{lease}, run {run}" for name in STORMS for lease in LEASES for run in range(RUNS)]


def storm_policy(case: str) -> tuple[Storm, Policy]:
    """What a case is about. Each has counters of its own."""
    name, lease = case.split(", ")[0], {"lease": 10} if ", lease" in case else {}
    storm = STORMS[name]
    return storm, counted(*({**each, **lease, "counter": f"{each['counter']} {case}"} for each in storm.limits))


@pytest.fixture(scope="module")
def ours() -> Iterator[tuple[Service, Envoys]]:
    """Our filter on every Envoy, before a service that counts in Redis."""
    listeners = {case: Listener(storm_policy(case)[1]) for case in CASES}
    with running(redis=True) as service, Envoys(service, listeners) as envoys:
        yield service, envoys


@pytest.mark.parametrize("case", CASES)
def test_the_fleet_admits_exactly_the_max(ours: tuple[Service, Envoys], case: str) -> None:
    service, envoys = ours
    storm, _ = storm_policy(case)
    service.forget()
    ports, sent = envoys.ports(case), CALLS
    storms = [crowd(ports, calls(callers=storm.callers), [RAN, REACHED])]
    if "lease" in case:
        # Who is quick takes more of the calls than others, so that an Envoy may have something left of a caller's lease.
        rest = LEASES[", lease"]["lease"] * storm.callers
        storms += [crowd([port], calls(rest, storm.callers), [RAN, REACHED], connections=1) for port in ports]
        sent += rest * len(ports)
    assert not any(tally.lost or tally.others for tally in storms), storms
    ran, reached = (sum(tally.marks[mark] for tally in storms) for mark in (RAN, REACHED))
    assert ran + reached == sent
    # What a lease has left at the end may be less than the next call weighs, on each Envoy.
    left = 3 if "weighted" in case and "lease" in case else 0
    assert storm.admitted - left <= ran <= storm.admitted
    told = service.told()
    assert told["faults"] == 0
    if "lease" not in case:
        assert told["questions"] == CALLS, "one question for each call"
        assert set(told["granted"].values()) == {storm.admitted * storm.weight // len(set(told["granted"])) * len(storm.limits)}
    else:
        # A denial costs a question, and ten calls that pass do.
        assert told["questions"] <= sent - storm.admitted + storm.admitted * storm.weight / 10 + 3 * CONNECTIONS


# --- What is asked, and what is answered --------------------------------------------------------

BOTH = counted(limit("a", 5), limit("b", 7, scope="global", increment=2))
LOCAL = {"counter": "local", "window": "day", "max": 3, "count_in": "envoy"}
# How a service fails, where two limits are asked for. All else is an answer.
FAILURES = [
    *("slow 3000", "silent", "garbage", "cut", "empty", "code 2", "code 9", "fewer", "contradiction"),
    # Envoy buffers no more than a megabyte.
    *("huge", "http", "status 14", "status 0", "reset", "reset-early", "shut", "mute"),
]
ANSWERS = {"ok": RAN, "slow 20": RAN}
ON_ERROR = {"deny": UNAVAILABLE, "allow": RAN, "local": RAN}

SINGLE: dict[str, Policy] = {
    "both": BOTH,
    "give back": counted(LOCAL, limit("one", 1), free={"limits": [LOCAL]}),
    "leased beside": counted(limit("leased", 100, lease=10), limit("full", 1), leased={"limits": [limit("leased", 100, lease=10)]}),
    "unknown cluster": counted(limit("u"), cluster="nowhere"),
    "local 3": counted(limit("l3", 3), on_error="local", timeout=300),
    "shadow": {**counted(limit("s", 1)), "mode": "shadow"},
    **{word: counted(limit(f"x {word}", 10**6), limit(f"y {word}", 10**6), on_error=word, timeout=300) for word in ON_ERROR},
}


@pytest.fixture(scope="module")
def alone() -> Iterator[tuple[Service, Envoys]]:
    """One Envoy with our filter."""
    listeners = {name: Listener(policy) for name, policy in SINGLE.items()}
    with running() as service, Envoys(service, listeners, count=1) as envoys:
        yield service, envoys


def ask(envoys: Envoys, name: str, tool: str = "search") -> Response:
    """One call."""
    return post(envoys.ports(name)[0], call(tool), [("authorization", "Bearer secret-7")])


def test_a_question_names_what_is_counted_and_no_secret(alone: tuple[Service, Envoys]) -> None:
    service, envoys = alone
    service.forget()
    assert RAN in ask(envoys, "both").body
    [question] = service.questions()
    assert question["domain"] == DOMAIN
    first, second = question["descriptors"]
    (policy, counter, scope, window, caller) = first["entries"]
    assert [policy[0], *counter, *scope, *window, caller[0]] == ["policy", "counter", "a", "scope", "grant", "window", "day", "caller"]
    assert second["entries"] == [policy, ["counter", "b"], ["scope", "global"], window]
    assert (first["limit"], second["limit"]) == ([5, DAY], [7, DAY])
    assert (first["hits_addend"] or 1, second["hits_addend"]) == (1, 2)
    assert "secret" not in json.dumps(question)
    assert len(caller[1]) == 32 and set(caller[1]) <= set("0123456789abcdef")


def test_a_denial_says_what_the_service_says(alone: tuple[Service, Envoys]) -> None:
    _, envoys = alone
    until(lambda: REACHED in ask(envoys, "both").body, "the limit is reached")
    data = error_of(ask(envoys, "both"))["data"]
    assert (data["limit"], data["remaining"], data["windowSeconds"]) == (7, 1, 86_400)
    assert 0 < data["retryAfterMs"] <= 86_400_000
    assert data["rule"] == "/tools/search/limits/1"


def test_what_is_counted_here_is_given_back_if_the_service_refuses(alone: tuple[Service, Envoys]) -> None:
    _, envoys = alone
    found = [ask(envoys, "give back").body for _ in range(6)]
    assert [RAN in body for body in found] == [True] + [False] * 5
    found = [ask(envoys, "give back", "free").body for _ in range(3)]
    assert [RAN in body for body in found] == [True, True, False]


def test_no_lease_comes_of_a_refusal(alone: tuple[Service, Envoys]) -> None:
    """A service that counts all or none has not counted what it was asked beside what it refused."""
    _, envoys = alone
    found = [ask(envoys, "leased beside").body]
    # Each refusal finds the lease just spent.
    for spend in [9, *[10] * 15]:
        found += [ask(envoys, "leased beside", "leased").body for _ in range(spend)]
        found.append(ask(envoys, "leased beside").body)
    assert sum(RAN in body for body in found) == 100


def test_a_service_that_knows_no_limit_has_counted_nothing(alone: tuple[Service, Envoys]) -> None:
    """Envoy's `ratelimit` answers OK, and takes no notice of the limit in the question, without a file for the domain."""
    service, envoys = alone
    service.be("unlimited")
    try:
        assert UNAVAILABLE in ask(envoys, "deny").body
    finally:
        service.be("ok")


@pytest.mark.parametrize("behaviour", ANSWERS)
def test_an_answer_is_an_answer(alone: tuple[Service, Envoys], behaviour: str) -> None:
    service, envoys = alone
    service.be(behaviour)
    try:
        assert ANSWERS[behaviour] in ask(envoys, "deny").body
    finally:
        service.be("ok")


@pytest.mark.parametrize("on_error", ON_ERROR)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_service_that_fails(alone: tuple[Service, Envoys], failure: str, on_error: str) -> None:
    service, envoys = alone
    service.forget()
    if failure in ("shut", "mute"):
        getattr(service, failure)(0)
    else:
        service.be(failure)
    try:
        answer = ask(envoys, on_error)
        assert ON_ERROR[on_error] in answer.body, answer
        if failure not in ("shut", "mute"):
            assert service.told()["questions"] == 1, "asked once, and not again"
    finally:
        service.be("ok")
        service.reopen(0)
    until(lambda: RAN in ask(envoys, "deny").body, "the service is back")


def test_a_cluster_that_is_not_there(alone: tuple[Service, Envoys]) -> None:
    _, envoys = alone
    assert UNAVAILABLE in ask(envoys, "unknown cluster").body


def test_counted_here_by_the_same_max(alone: tuple[Service, Envoys]) -> None:
    service, envoys = alone
    service.be("silent")
    try:
        found = [ask(envoys, "local 3").body for _ in range(5)]
    finally:
        service.be("ok")
    assert [RAN in body for body in found] == [True] * 3 + [False] * 2
    assert all(REACHED in body for body in found[3:])
    told = {name: count for name, count in envoys[0].stats("service_questions").items() if "failed_local" in name}
    assert sum(told.values()) >= 3, told


def test_shadow_asks_and_denies_nothing(alone: tuple[Service, Envoys]) -> None:
    service, envoys = alone
    assert all(RAN in ask(envoys, "shadow").body for _ in range(3))
    service.be("garbage")
    try:
        assert RAN in ask(envoys, "shadow").body
    finally:
        service.be("ok")


def test_the_page_shows_a_policy_that_works(tmp_path: Path) -> None:
    policy = json.loads(PAGE.read_text().split("```json\n")[1].split("```")[0])
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(policy))
    cli.run("validate", file)
    with running(doors=1) as service, Envoys(service, {"page": Listener(held(policy))}, count=1) as envoys:
        found = [ask(envoys, "page", "refund").body for _ in range(4)]
        assert RAN in found[0]
        assert service.questions()[0]["domain"] == policy["counters"]["service"]["domain"]


# --- The switch ---------------------------------------------------------------------------------

SWITCHED = held(
    {
        "version": "1",
        "name": "switched",
        "default": "allow",
        "tools": {},
        "counters": {"service": {"cluster": CLUSTER, "domain": DOMAIN, "timeout": 2000, "switch": 1}},
    }
)
SWITCHES: dict[str, list[tuple[str, str]]] = {
    "a policy": [("switch", "policy"), ("policy", "switched")],
    "a tool": [("switch", "tool"), ("policy", "switched"), ("name", "search")],
}


def off(*entries: tuple[str, str]) -> dict[str, Any]:
    """What an operator writes for Envoy's `ratelimit`: a limit of zero for these entries, as envoy/FLEET.md prints it."""
    below: dict[str, Any] = {"rate_limit": {"unit": "day", "requests_per_unit": 0}} if entries else {"descriptors": []}
    for key, value in reversed(entries):
        below = {"descriptors": [{"key": key, "value": value, **below}]}
    return {"domain": DOMAIN, **below}


def test_the_service_switches_off_on_all_envoys() -> None:
    with running() as service, Envoys(service, {"s": Listener(SWITCHED)}, workers=1) as envoys:
        service.limit(off())
        on = {"search": True, "other": True}

        def found(caller: str = "a") -> list[dict[str, bool]]:
            named = [("authorization", f"Bearer {caller}")]
            return [{tool: RAN in post(port, call(tool), named).body for tool in on} for port in envoys.ports("s")]

        assert found() == [on] * 3
        asked = [each["entries"] for question in service.questions() for each in question["descriptors"]]
        [digest] = {value for entries in asked for key, value in entries if key == "caller"}
        cases = {**SWITCHES, "a caller": [("switch", "caller"), ("caller", digest)]}
        expected = {name: {"search": False, "other": name == "a tool"} for name in cases}
        for name, entries in cases.items():
            service.limit(off(*entries))
            until(lambda name=name: found() == [expected[name]] * 3, f"{name} is off")
            # Each caller is looked up by itself, at most once a second: another may learn of it a moment later.
            others = on if name == "a caller" else expected[name]
            until(lambda others=others: found("b") == [others] * 3, f"{name} is as it should be for another caller", 5)
            assert b'"reason":"switched_off"' in post(envoys.ports("s")[0], call("search"), [("authorization", "Bearer a")]).body
            service.limit(off())
            until(lambda: found() == [on] * 3, f"{name} is on again")
            until(lambda: found("b") == [on] * 3, f"{name} is on again")


# --- Services that take no limits of the question -----------------------------------------------

# What is rendered for them.
SHOP = {
    "version": "1",
    "name": "shop",
    "default": "allow",
    "count_in": "service",
    "all_tools": {"limits": [{"counter": "calls", "window": "day", "max": 9, "scope": "global"}]},
    "tools": {
        "refund": {"limits": [{"counter": "refunds", "window": "day", "max": 4}]},
        "sum": {"limits": [{"counter": "totals", "window": "day", "max": 0}]},
    },
    "requests": {"hold_headers": "always", "batch": "deny"},
    "counters": {"service": {"cluster": CLUSTER, "domain": DOMAIN, "timeout": 2000}},
}


@pytest.mark.parametrize("product", ["ratelimit", "limitador"])
@pytest.mark.parametrize("redis", [False, True])
def test_what_is_rendered_limits_as_the_policy_does(product: str, redis: bool, tmp_path: Path) -> None:
    file = tmp_path / "shop.json"
    file.write_text(json.dumps(SHOP))
    rendered = yaml.safe_load(cli.run("render", file, "--for", product).stdout)
    with (
        running(redis=redis, manner=product, limits=rendered, overrides=False) as service,
        Envoys(service, {"shop": Listener(SHOP)}, count=1) as envoys,
    ):
        [port] = envoys.ports("shop")

        def passes(tool: str, caller: str) -> bool:
            body = post(port, call(tool), [("authorization", f"Bearer {caller}")]).body
            assert (RAN in body) != (REACHED in body), body
            return RAN in body

        assert [passes("refund", "a") for _ in range(6)] == [True] * 4 + [False] * 2
        assert not passes("sum", "a"), "a max of 0 admits nothing"
        # Envoy's own has counted what it refused.
        left = 5 if product == "limitador" else 2
        assert [passes("refund", "b") for _ in range(6)] == [True] * min(left, 4) + [False] * (6 - min(left, 4))


# --- Redis and Envoys that fail -----------------------------------------------------------------

# What counts: Envoy's own filter, and ours.
KINDS: dict[str, dict[str, Any]] = {"native": {}, "ours": {}, "ours with a lease": {"lease": 10}}


def marks(kind: str) -> tuple[bytes, bytes]:
    """How an answer tells that the limit is reached, and that nobody could count."""
    return (OVER, FAILED) if kind == "native" else (REACHED, UNAVAILABLE)



@pytest.fixture(scope="module")
def on_redis() -> Iterator[tuple[Service, Envoys]]:
    """Both filters before a service that counts in Redis."""
    listeners = {
        f"{kind}, {what}": Listener(counted(limit(f"{kind} {what}", **KINDS[kind]), timeout=1000))
        if kind != "native"
        else Listener(None, natively_limited(POLICY, counter(what), limit=(MAX, "DAY"), timeout="1s"))
        for kind in KINDS
        for what in ("paused", "killed", "cut off")
    }
    with running(redis=True) as service, Envoys(service, listeners) as envoys:
        yield service, envoys


@pytest.mark.parametrize("kind", KINDS)
def test_redis_stops_and_goes_on(on_redis: tuple[Service, Envoys], kind: str) -> None:
    service, envoys = on_redis
    service.forget()
    redis = service.redis  # type: ignore[attr-defined]
    reached, failed = marks(kind)
    ports = envoys.ports(f"{kind}, paused")
    begun = crowd(ports, calls(CALLS // 3), [RAN, reached, failed])
    # Callers that come at once take a lease each, so some are denied with room left.
    assert begun.marks[RAN] == CALLS // 3 or "lease" in kind
    redis.pause()
    try:
        stopped = crowd(ports, calls(300), [RAN, reached, failed], connections=10)
    finally:
        redis.go_on()
    assert not stopped.others and stopped.lost == stopped.marks[reached] == 0
    # What leases have left passes all the same, and may be enough for all of them.
    assert stopped.marks[RAN] + stopped.marks[failed] == 300
    assert stopped.marks[RAN] == 0 or "lease" in kind
    rest = crowd(ports, calls(), [RAN, reached, failed])
    admitted = begun.marks[RAN] + stopped.marks[RAN] + rest.marks[RAN]
    # What was asked while Redis stood still may have been counted, and was answered with a failure: never one too many.
    assert admitted <= MAX
    assert admitted >= MAX - 300
    assert service.granted() <= MAX


@pytest.mark.parametrize("kind", KINDS)
def test_an_envoy_is_killed_and_comes_back(on_redis: tuple[Service, Envoys], kind: str) -> None:
    service, envoys = on_redis
    service.forget()
    reached, failed = marks(kind)

    def back() -> None:
        envoys.begin(2)
        envoys[2].wait_until_ready()

    events = {MAX // 3: lambda: envoys.kill(2), MAX // 3 * 2: back}
    tally = crowd(envoys.ports(f"{kind}, killed"), calls(2 * CALLS), [RAN, reached], events=events)
    assert not tally.others, tally.others[:3]
    assert service.granted() == MAX
    # Calls that were granted and whose answer was lost with their Envoy, and what it had left of its lease.
    lost = tally.lost + (MAX // 2 if "lease" in kind else 0)
    assert MAX - lost <= tally.marks[RAN] <= MAX
    assert 0 < tally.lost <= CONNECTIONS * 3


@pytest.mark.parametrize("way", ["shut", "mute"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_of_three_is_cut_off(on_redis: tuple[Service, Envoys], kind: str, way: str) -> None:
    service, envoys = on_redis
    reached, failed = marks(kind)
    ports = envoys.ports(f"{kind}, cut off")
    getattr(service, way)(1)
    try:
        found = [post(port, call("search"), [("authorization", f"Bearer {way}")]).body for port in ports]
        assert [failed in body for body in found] == [False, True, False], found
    finally:
        service.reopen(1)
    until(lambda: RAN in post(ports[1], call("search"), [("authorization", f"Bearer {way}")]).body, "the service is reached again")


def test_the_service_is_down_and_comes_back() -> None:
    listeners = {
        "native": Listener(None, natively_limited(POLICY, counter("c"), limit=(2, "DAY"))),
        "ours": Listener(counted(limit("c", 2))),
    }
    with running(redis=True) as service, Envoys(service, listeners, count=1) as envoys:
        for kind in listeners:
            reached, failed = marks(kind)
            [port] = envoys.ports(kind)
            assert RAN in post(port, call("search")).body
            service.stop()
            assert failed in post(port, call("search")).body
            service.start()
            found: list[bytes] = []

            def answers(port: int = port, failed: bytes = failed, found: list[bytes] = found) -> bool:
                found.append(post(port, call("search")).body)
                return failed not in found[-1]

            until(answers, "the service is back")
            # The count is in Redis, and outlives the service.
            assert RAN in found[-1]
            assert reached in post(port, call("search")).body
