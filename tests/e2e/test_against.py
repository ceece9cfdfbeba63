"""The measurement of tests/against can tell a gateway that stops a row from one that does not."""

from __future__ import annotations

import sys

import pytest
import rig

sys.path.append(str(rig.ROOT / "tests" / "against"))

from against import MeasuredGateway, NotDenied, mcp_server, measure  # noqa: E402
from gateways import mcp_policy, no_filter  # noqa: E402

from upstream import Upstream  # noqa: E402

CLASSES = ["plain denials", "duplicate keys"]


def test_ours_stops_what_envoy_alone_lets_run() -> None:
    with Upstream() as upstream:
        upstream.answer("/mcp", mcp_server)
        with mcp_policy(upstream) as ours:
            measured = measure(ours, upstream, CLASSES)
        assert set(measured.total) == {"stopped"} and measured.total.total() > 20 and measured.through == []
        with no_filter(upstream) as nobody:
            measured = measure(nobody, upstream, CLASSES, denies=False)
            assert measured.total["ran"] > 20 and measured.total["stopped"] == measured.total["shut"] == 0
            with pytest.raises(NotDenied, match="has to deny it"):
                measure(nobody, upstream, CLASSES)


def test_a_gateway_that_lets_nobody_through_is_not_measured() -> None:
    with Upstream() as upstream, Upstream() as elsewhere:
        for each in (upstream, elsewhere):
            each.answer("/mcp", mcp_server)
        with pytest.raises(NotDenied, match="does not reach the server"):
            measure(MeasuredGateway(f"http://127.0.0.1:{elsewhere.port}/mcp"), upstream, CLASSES)
