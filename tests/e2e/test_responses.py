"""The corpus of answers with a hidden tool in them, through the filter and, to prove that it is there, without it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product

import pytest
import rig

from fleet import Change, Listener, deserted, held, silent, with_trailers, without_hold
from gateway import Gateway, serving
from responses import Row, fault, load, tells
from upstream import Arrival, Reply, Upstream

CORPUS = load()
every_row = pytest.mark.parametrize("row", CORPUS.rows, ids=str)
# Holding headers or not decides where accept-encoding is narrowed, so each policy is run in one way.
POLICIES = {"hidden": [], "closed": [without_hold]}


def to_h2(port: int) -> Change:
    """The server of a listener speaks HTTP/2."""

    def change(config: rig.Config) -> None:
        cluster = copy.deepcopy(rig.cluster(config))
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = port
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = "over_h2"
        options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
        options["explicit_http_config"] = {"http2_protocol_options": {}}
        cluster["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
        clusters = config["static_resources"]["clusters"]
        if all(each["name"] != "over_h2" for each in clusters):
            clusters.append(cluster)
        rig.hcm(config)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] = "over_h2"

    return change


def trailing(config: rig.Config) -> None:
    """Trailers pass from HTTP/1 servers too."""
    options = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
    options["explicit_http_config"] = {"http_protocol_options": {"enable_trailers": True}}
    rig.cluster(config)["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


async def hangs_up(arrival: Arrival, reply: Reply) -> None:
    """A server that takes a request and goes away."""
    reply.reset()


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    """One Envoy: a listener per policy and protocol of the server, and each without the filter."""
    with Upstream("h2") as over_h2:
        for server in (upstream, over_h2):
            for number, row in enumerate(CORPUS.rows):
                server.answer(f"/{number}", _answers(row))
        servers = {"up h1": [], "up h2": [to_h2(over_h2.port)]}
        listeners = {}
        for name, change in servers.items():
            listeners[f"no filter/{name}"] = Listener(None, with_trailers, silent, *change)
            for policy, document in CORPUS.policies.items():
                how = "never" if without_hold in POLICIES.get(policy, []) else "always"
                changes = [with_trailers, silent, *POLICIES.get(policy, []), *change]
                listeners[f"{policy}/{name}"] = Listener(held(document, how), *changes)
        for policy in ["no filter", *POLICIES]:
            document = held(CORPUS.policies[policy]) if policy in CORPUS.policies else None
            listeners[f"{policy}/deserted"] = Listener(document, silent, deserted)
        upstream.answer("/hangs-up", hangs_up)
        with serving(upstream, listeners, change=trailing) as gateway:
            yield gateway


def _answers(row: Row):  # noqa: ANN202
    async def handler(arrival: Arrival, reply: Reply) -> None:
        await row.answer.send(arrival, reply)

    return handler


def _settings(row: Row) -> Iterator[tuple[str, str]]:
    for over, up in product(["h1", "h2"], ["up h1", "up h2"]):
        if {over, up} <= row.settings:
            yield over, up


@pytest.mark.parametrize("over", ["h1", "h2"])
@pytest.mark.parametrize("trouble", ["nobody listens", "the server hangs up"])
def test_what_envoy_itself_says_passes(gateway: Gateway, trouble: str, over: str) -> None:
    """A client that asks for a list learns of a server that is down as it would without us."""
    row = next(row for row in CORPUS.rows if row.name == "a list")
    listener = "deserted" if trouble == "nobody listens" else "up h1"
    answers = [row.send(over, gateway.port(f"{policy}/{listener}"), "/hangs-up") for policy in ["no filter", *POLICIES]]
    assert not any(each.fault for each in answers), answers
    assert answers[0].status == 503 and answers[0].header("content-type") == "text/plain"
    assert len({(each.status, each.header("content-type"), each.body) for each in answers}) == 1, answers


@every_row
def test_with_the_filter(gateway: Gateway, row: Row) -> None:
    wrong = []
    for (over, up), policy in product(_settings(row), [row.policy] if row.policy else POLICIES):
        response = row.send(over, gateway.port(f"{policy}/{up}"), f"/{CORPUS.rows.index(row)}")
        if found := fault(row, response):
            wrong.append(f"{policy}, {over} to {up}: {found}")
    if wrong:
        pytest.fail(f"{row}\n  " + "\n  ".join(wrong), pytrace=False)


@every_row
def test_without_the_filter(gateway: Gateway, row: Row) -> None:
    """What must not pass would pass; what may, holds no secret."""
    if row.control == "any":
        return
    wrong = []
    for over, up in _settings(row):
        response = row.send(over, gateway.port(f"no filter/{up}"), f"/{CORPUS.rows.index(row)}")
        if bool(tells(response)) != (row.control == "told"):
            wrong.append(f"{over} to {up}: expected: {row.control}; answer: {response}")
    if wrong:
        pytest.fail(f"{row}\n  " + "\n  ".join(wrong), pytrace=False)
