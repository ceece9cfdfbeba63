"""Approval by somebody else: the filter asks an approver, holds the call while a person thinks, and lets it run once.

The approver is envoy/approver.py, in this process; one that answers nonsense is the recording server.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import approver
import pytest
import rig

from agents import AGENTS, NEWEST, Session, Step, run
from client import H1, Response, post_bytes
from fleet import Change, Listener, Policy, to_server
from gateway import Gateway, serving, until
from judge import error_of
from servers import environment
from test_approvals import SECRET, VARIABLES, VERSION, asked, body_of, outcome, retry, send
from test_sessions import secrets
from upstream import RAN, Arrival, Reply, Upstream

EVALUATION, REQUESTS = "/access/v1/evaluation", "/access/v1/requests"


def policy(cluster: str = "approver", wait: int = 20, **more: Any) -> Policy:
    return {
        "version": "1",
        "default": "deny",
        "identity": {"grant": {"header": "x-agent-id"}},
        "requests": {"hold_headers": "always"},
        "tools": {
            "pay": {"action": "require_approval", "approval": "approver", "reason": "Paying needs somebody."},
            "free": {},
            "look": {},
        },
        "approvals": {"wait": wait, "approver": {"cluster": cluster, "timeout": 1, **more}},
    }


def listener(wanted: Policy, *more: Change) -> Listener:
    return Listener(wanted, secrets(SECRET, variables=VARIABLES), *more)


def clusters(**ports: int) -> Change:
    """More clusters on loopback."""

    def change(config: rig.Config) -> None:
        for name, port in ports.items():
            address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
            endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
            load = {"cluster_name": name, "endpoints": endpoints}
            cluster = {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": load}
            config["static_resources"]["clusters"].append(cluster)

    return change


class Desk:
    """An approver, its clock, and what it wrote down."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.lines: list[dict[str, Any]] = []
        settings = approver.Settings(port=0, page_port=0, page_key="key")
        self.running = approver.Approver(settings, clock=lambda: time.time() + self.ahead, log=self.lines.append)

    def waiting(self) -> list[str]:
        return [str(task["id"]) for task in self.running.approvals.waiting()]

    def next(self) -> str:
        """The only task that waits, as soon as there is one."""
        until(lambda: bool(self.waiting()), "a task at the approver")
        [task] = self.waiting()
        return task

    def decide(self, task: str, *, approve: bool = True) -> None:
        self.running.approvals.decide(task, approve=approve)

    def decided(self, since: int) -> list[str]:
        return [str(line["decision"]) for line in self.lines[since:]]


@contextmanager
def bank(directory: Path) -> Iterator[int]:
    """A real server, for real clients."""
    [port] = rig.free_ports(1)
    program = Path(__file__).with_name("products") / "asking.py"
    argv = [str(rig.TOOLS / "venv" / "bin" / "python"), str(program), str(directory), str(port)]
    with rig.Process(argv, directory, name="asking", env=environment(directory)) as server:
        server.wait_until(lambda: rig.listens(port))
        yield port


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    desk = Desk()
    with desk.running:
        yield desk


@pytest.fixture(scope="module")
def odd() -> Iterator[Upstream]:
    """An approver that answers as a test says."""
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, desk: Desk, odd: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("asking")
    [nobody] = rig.free_ports(1)
    bank_tools = {"tools": {**policy()["tools"], "close_account": policy()["tools"]["pay"]}}
    with bank(directory) as bank_port:
        listeners = {
            "held": listener(policy()),
            "short": listener(policy(wait=1)),
            "bank": listener({**policy(wait=1), **bank_tools, "identity": {"grant": {"credential": "authorization"}}}, to_server("bank", bank_port)),
            "odd": listener(policy("odd")),
            "down": listener(policy("down")),
            "unknown": listener(policy("nowhere")),
            "private": listener(policy(send="digest")),
        }
        change = clusters(approver=desk.running.port, odd=odd.port, down=nobody)
        with serving(upstream, listeners, concurrency=1, change=change) as gateway:
            yield gateway
            written = gateway.envoy.log() + gateway.envoy.stdout_path.read_text()
            assert SECRET not in written and "mp1." not in written and "s3cret" not in written


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def legacy(tool: str = "pay", arguments: str = '{"id":7}', id: str = "7") -> str:
    return body_of(tool, arguments, id, version=None)


def call(gateway: Gateway, name: str, body: str, **how: Any) -> Response:
    """A call of a client that waits for as long as somebody may think."""
    version = how.pop("version", VERSION)
    return send(gateway, name, body, version=version, **how)


def reason(response: Response) -> str:
    return str(error_of(response)["reason"])


def arrived(gateway: Gateway, since: int) -> int:
    """How many calls have reached the server."""
    return len([each for each in gateway.arrivals(since) if each.body])


def fine(gateway: Gateway, name: str) -> None:
    """Whatever was before, the next call is served."""
    assert RAN in send(gateway, name, body_of("free")).body


# --- Somebody thinks ----------------------------------------------------------------------------


def test_a_call_runs_once_somebody_has_approved_it(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor) -> None:
    since, lines = gateway.upstream.count(), len(desk.lines)
    body = body_of("pay", '{"id":1,"note":"s3cret"}', more='"inputResponses":{"a":{"action":"accept"}},"requestState":"raw",')
    held: Future[Response] = threads.submit(call, gateway, "held", body)
    task = desk.next()
    shown = desk.running.approvals.look(task)
    assert shown["title"] == "pay" and json.loads(shown["arguments"]) == {"id": 1, "note": "s3cret"}
    assert ["Caller", "alice"] in shown["rows"] and ["Reason", "Paying needs somebody."] in shown["rows"]
    assert not held.done() and arrived(gateway, since) == 0
    desk.decide(task)
    assert RAN in held.result().body
    [arrival] = [each for each in gateway.arrivals(since) if each.body]
    params = json.loads(arrival.body)["params"]
    assert params["arguments"] == {"id": 1, "note": "s3cret"} and not {"inputResponses", "requestState"} & params.keys()
    assert desk.decided(lines) == ["approved", "used"] and desk.waiting() == []


def test_the_arguments_stay_here_where_only_their_digest_is_sent(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor) -> None:
    held = threads.submit(call, gateway, "private", body_of("pay", '{"note":"s3cret"}'))
    task = desk.next()
    shown = desk.running.approvals.look(task)
    assert shown["arguments"] is None and "s3cret" not in json.dumps(shown)
    desk.decide(task)
    assert RAN in held.result().body


def test_what_somebody_declines_does_not_run(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor) -> None:
    since = gateway.upstream.count()
    held = threads.submit(call, gateway, "held", body_of("pay", '{"id":2}'))
    desk.decide(desk.next(), approve=False)
    response = held.result()
    assert reason(response) == "approval_declined" and error_of(response)["code"] == 403
    assert arrived(gateway, since) == 0


def test_a_request_that_expires_is_made_anew_once(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor) -> None:
    held = threads.submit(call, gateway, "held", body_of("pay", '{"id":"expires"}'))
    first = desk.next()
    try:
        desk.ahead += 301
        until(lambda: desk.waiting() not in ([], [first]), "another task")
        desk.decide(desk.next())
        assert RAN in held.result().body
    finally:
        desk.ahead = 0.0


def test_the_same_call_at_once_is_one_request_and_runs_once(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor) -> None:
    since = gateway.upstream.count()
    answers = [threads.submit(call, gateway, "held", body_of("pay", '{"id":"twice"}', id=str(number))) for number in (1, 2)]
    task = desk.next()
    until(lambda: active(gateway) == 2, "both to be held")
    assert desk.waiting() == [task]
    desk.decide(task)
    ended = [answer.result() for answer in answers]
    assert sorted(RAN in each.body for each in ended) == [False, True]
    [refused] = [each for each in ended if RAN not in each.body]
    assert reason(refused) == "approval_used", refused
    assert arrived(gateway, since) == 1


def test_an_approval_is_for_the_arguments_that_somebody_saw(gateway: Gateway, desk: Desk) -> None:
    first = call(gateway, "short", legacy(arguments='{"id":"a"}'), version=None)
    assert reason(first) == "approval_pending"
    task = desk.next()
    desk.decide(task)
    since = gateway.upstream.count()
    other = call(gateway, "short", legacy(arguments='{"id":"b"}'), version=None)
    assert reason(other) == "approval_pending" and error_of(other)["data"]["approval"]["id"] != task
    assert arrived(gateway, since) == 0
    desk.decide(desk.next(), approve=False)
    assert RAN in call(gateway, "short", legacy(arguments='{"id":"a"}'), version=None).body, "it is still good for what it is for"


# --- Somebody thinks for long -------------------------------------------------------------------


def test_an_older_client_is_told_to_call_again_and_joins_what_waits(gateway: Gateway, desk: Desk) -> None:
    since = gateway.upstream.count()
    body = legacy(arguments='{"id":"old"}')
    error = error_of(call(gateway, "short", body, version=None))
    approval = error["data"]["approval"]
    assert (error["reason"], error["code"], error["data"]["retryAfterMs"]) == ("approval_pending", 428, 10_000)
    task = desk.next()
    assert (approval["id"], approval["by"]) == (task, ["approver"])
    again = error_of(call(gateway, "short", body, version=None))
    assert again["reason"] == "approval_pending" and again["data"]["approval"]["id"] == task == desk.next()
    assert arrived(gateway, since) == 0
    desk.decide(task)
    assert RAN in call(gateway, "short", body, version=None).body
    assert arrived(gateway, since) == 1
    # It is used: the same call once more is another one.
    assert reason(call(gateway, "short", body, version=None)) == "approval_pending"
    desk.decide(desk.next(), approve=False)


def test_a_client_comes_again_up_to_eight_times_and_then_is_told(gateway: Gateway, desk: Desk) -> None:
    arguments, legs, more = '{"id":"legs"}', 0, ""
    tasks = set()
    while True:
        response = call(gateway, "short", body_of("pay", arguments, more=more))
        legs += 1
        assert legs < 10, "SDKs give up"
        tasks |= set(desk.waiting())
        if b'"input_required"' not in response.body:
            break
        result = asked(response)
        assert result.keys() == {"resultType", "requestState"}
        more = f'"requestState":{json.dumps(result["requestState"])},'
    error = error_of(response)
    assert legs == 8 and len(tasks) == 1
    assert (error["reason"], error["code"]) == ("approval_pending", 428)
    assert error["data"]["approval"]["id"] in tasks and error["data"]["retryAfterMs"] == 10_000
    desk.decide(desk.next(), approve=False)


def test_a_state_of_waiting_is_good_for_its_call_alone(gateway: Gateway, desk: Desk) -> None:
    state = asked(call(gateway, "short", body_of("pay", '{"id":"mine"}')))["requestState"]
    task = desk.next()
    desk.decide(task)
    since = gateway.upstream.count()
    assert outcome(gateway, "short", retry("pay", state, None, '{"id":"mine"}'), agent="mallory") == ("approval_invalid", [])
    swapped = call(gateway, "short", retry("pay", state, None, '{"id":"other"}'))
    assert asked(swapped)["requestState"] != state and arrived(gateway, since) == 0
    desk.decide(desk.next(), approve=False)
    mine = retry("pay", state, None, '{"id":"mine"}')
    assert RAN in call(gateway, "short", mine).body and arrived(gateway, since) == 1
    assert RAN not in call(gateway, "short", mine).body, "the state is no second approval"
    for each in desk.waiting():
        desk.decide(each, approve=False)


@pytest.mark.parametrize("agent", ["python2", "typescript2"])
def test_sdk_clients_wait_without_code_of_their_own(gateway: Gateway, desk: Desk, threads: ThreadPoolExecutor, agent: str) -> None:
    session = Session(f"http://localhost:{gateway.port('bank')}/mcp", NEWEST, agent, [], [Step("tool", "close_account", {"id": 7})])
    shown = threads.submit(run, AGENTS[agent], [session])
    task = desk.next()
    asked_before = asks(gateway)
    until(lambda: asks(gateway) >= asked_before + 2, "two rounds of the client")
    desk.decide(task)
    [once] = shown.result()
    assert once.outcomes[0].result is not None and "closed 7" in json.dumps(once.outcomes[0].result)


def asks(gateway: Gateway) -> int:
    return sum(line.get("mcp_decision") == "ask" for line in gateway.envoy.access_log())


@pytest.mark.parametrize("agent", ["python2", "typescript2"])
def test_sdk_clients_are_told_in_words_when_nobody_decides(gateway: Gateway, desk: Desk, agent: str) -> None:
    steps = [Step("tool", "close_account", {"id": 8}), Step("tool", "look", {"id": 8})]
    [shown] = run(AGENTS[agent], [Session(f"http://localhost:{gateway.port('bank')}/mcp", NEWEST, agent, [], steps)])
    waited, after = shown.outcomes
    assert waited.result is None and waited.code == 428 and "Call again" in waited.text, waited
    assert after.result is not None
    desk.decide(desk.next(), approve=False)


def test_nothing_is_sent_for_a_client_that_has_gone(gateway: Gateway, desk: Desk) -> None:
    since = gateway.upstream.count()
    with H1(gateway.port("held")) as client:
        client.send(post_bytes(body_of("pay", '{"id":"gone"}'), [("x-agent-id", "alice"), *modern("pay")]))
        task = desk.next()
    until(lambda: active(gateway) == 0, "the stream to end")
    desk.decide(task)
    assert arrived(gateway, since) == 0
    # The approval was not used up: it is there for the same call.
    assert RAN in call(gateway, "held", body_of("pay", '{"id":"gone"}')).body


def modern(tool: str) -> list[tuple[str, str]]:
    return [("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", tool)]


def active(gateway: Gateway) -> int:
    """Streams of clients; the sentinel has none under way."""
    return sum(gateway.envoy.stats(r"^http\.mcp\.downstream_rq_active$").values())


# --- Approvers that are not what the profile says -----------------------------------------------

DENIED = {"decision": False, "context": {"evaluation_id": "e1", "access_request": {"expires_at": "2030-01-01T00:00:00Z"}}}
PENDING = {"task": {"id": "t1", "status": "pending", "status_endpoint": f"https://approver{REQUESTS}/t1"}}
APPROVED = {"task": {"id": "t1", "status": "approved"}, "result": {"mode": "reevaluate", "approval": {"id": "a1"}}}
Said = tuple[int, bytes]


def said(value: Any, status: int = 200) -> Said:
    return status, json.dumps(value).encode()


def task(**changes: Any) -> Said:
    told = {**PENDING["task"], **changes}
    return said({"task": {name: value for name, value in told.items() if value is not ...}}, 202)


def result(**changes: Any) -> Said:
    told = {**APPROVED["result"], **changes}
    return said({"task": APPROVED["task"], "result": {name: value for name, value in told.items() if value is not ...}})


EVALUATIONS: dict[str, Said] = {
    "500": (500, b'{"decision":true}'),
    "403": (403, b'{"decision":true}'),
    "202": (202, b'{"decision":true}'),
    "204": (204, b""),
    "empty": (200, b""),
    "3 MB": (200, b'{"decision":true,"a":"' + b"x" * 3_000_000 + b'"}'),
    "40 MB": (200, b'{"decision":true,"a":"' + b"x" * 40_000_000 + b'"}'),
    "64 KiB and one": (200, b'{"decision":true' + b" " * 65_520 + b"}"),
    "a key twice": (200, b'{"decision":false,"decision":true}'),
    "a text": said({"decision": "true"}),
    "a number": said({"decision": 1}),
    "nothing": said({"decision": None}),
    "missing": said({"decided": True}),
    "a list": said([{"decision": True}]),
    "no JSON": (200, b"decision: true"),
    "half": (200, b'{"decision":true'),
    "two": (200, b'{"decision":true}{"decision":true}'),
    "not UTF-8": (200, b'{"decision":true,"a":"\xff"}'),
    "a byte order mark": (200, b'\xef\xbb\xbf{"decision":true}'),
    "deep": (200, b'{"decision":true,"a":' + b"[" * 9000 + b"]" * 9000 + b"}"),
    "requestable without an id": said({"decision": False, "context": {"access_request": {}}}),
    "requestable with an odd id": said({"decision": False, "context": {"evaluation_id": "a\nb", "access_request": {}}}),
    "context is a text": said({"decision": False, "context": "no"}),
}
SUBMISSIONS: dict[str, Said] = {
    "500": said(PENDING, 500),
    "303": said(PENDING, 303),
    "unknown status": task(status="thinking"),
    "status in capitals": task(status="PENDING"),
    "no id": task(id=...),
    "a number for an id": task(id=7),
    "a long id": task(id="t" * 300),
    "no status endpoint": task(status_endpoint=...),
    "an endpoint elsewhere": task(status_endpoint="https://approver/admin/t1"),
    "an endpoint above": task(status_endpoint=f"https://approver{REQUESTS}/../evaluation"),
    "an endpoint with a query": task(status_endpoint=f"https://approver{REQUESTS}/t1?x=1"),
    "an endpoint with a new line": task(status_endpoint=f"https://approver{REQUESTS}/t1\r\nx: y"),
    "the endpoint of all": task(status_endpoint=f"https://approver{REQUESTS}/"),
    "approved without a result": said({"task": {**PENDING["task"], "status": "approved"}}, 201),
    "a list": said([PENDING], 202),
}
POLLS: dict[str, Said] = {
    "404": said(PENDING, 404),
    "202": said(PENDING, 202),
    "unknown status": said({"task": {"id": "t1", "status": "perhaps"}}),
    "approved without a result": said({"task": APPROVED["task"]}),
    "another mode": result(mode="direct"),
    "no mode": result(mode=...),
    "no approval": result(approval=...),
    "an approval without an id": result(approval={}),
    "an approval until some day": result(approval={"id": "a1", "approved_until": "some day"}),
    "an approval until a number": result(approval={"id": "a1", "approved_until": 1_900_000_000}),
}


def scripted(odd: Upstream, *, evaluation: Said | None = None, submission: Said | None = None, poll: Said | None = None) -> None:
    def saying(answer: Said) -> Callable[[Arrival, Reply], Any]:
        async def handler(_arrival: Arrival, reply: Reply) -> None:
            await reply.whole(*answer)

        return handler

    odd.answer(EVALUATION, saying(evaluation or said(DENIED)))
    odd.answer(REQUESTS, saying(submission or said(PENDING, 202)))
    odd.answer(f"{REQUESTS}/t1", saying(poll or said(APPROVED)))


_numbers = itertools.count()


def another() -> str:
    """Arguments of a call that nobody has been asked about."""
    return f'{{"number":{next(_numbers)}}}'


def unavailable(gateway: Gateway, name: str) -> None:
    since = gateway.upstream.count()
    error = error_of(call(gateway, name, body_of("pay", another())))
    assert (error["reason"], error["code"], error["data"]["retryAfterMs"]) == ("approver_unavailable", 428, 10_000)
    assert arrived(gateway, since) == 0
    fine(gateway, name)


@pytest.mark.parametrize("case", EVALUATIONS)
def test_no_odd_evaluation_is_a_yes(gateway: Gateway, odd: Upstream, case: str) -> None:
    scripted(odd, evaluation=EVALUATIONS[case])
    unavailable(gateway, "odd")


@pytest.mark.parametrize("case", SUBMISSIONS)
def test_no_odd_task_is_waited_for(gateway: Gateway, odd: Upstream, case: str) -> None:
    scripted(odd, submission=SUBMISSIONS[case])
    unavailable(gateway, "odd")


@pytest.mark.parametrize("case", POLLS)
def test_no_odd_approval_is_one(gateway: Gateway, odd: Upstream, case: str) -> None:
    scripted(odd, poll=POLLS[case])
    unavailable(gateway, "odd")


def test_an_approval_is_nothing_until_the_approver_has_evaluated_it(gateway: Gateway, odd: Upstream) -> None:
    scripted(odd)
    since = gateway.upstream.count()
    # It approves, and then does not permit.
    assert reason(call(gateway, "odd", body_of("pay", another()))) == "approval_declined"
    assert arrived(gateway, since) == 0


def test_the_state_of_a_task_is_asked_of_the_approver_whatever_host_it_names(gateway: Gateway, odd: Upstream) -> None:
    scripted(odd, submission=task(status_endpoint=f"https://evil.example:1{REQUESTS}/t1"))
    since = odd.count()
    call(gateway, "odd", body_of("pay", another()))
    [polled] = [each for each in odd.arrivals(since) if each.method == b"GET"]
    assert polled.path == f"{REQUESTS}/t1" and polled.header("host") == [b"odd"]


def agreeing(odd: Upstream, submission: Said) -> None:
    """Permits whatever comes with an approval, however often."""
    scripted(odd, submission=submission)

    async def evaluate(arrival: Arrival, reply: Reply) -> None:
        message = arrival.message()
        assert isinstance(message, dict)
        await reply.json({"decision": True} if "approval" in message["context"] else DENIED)

    odd.answer(EVALUATION, evaluate)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_request_may_be_approved_as_soon_as_it_is_made(gateway: Gateway, odd: Upstream, status: int) -> None:
    approval = {"id": f"a-{status}", "approved_until": "2030-01-01T00:00:00Z", "state": {"of": ["the", "approver's"], "n": 1.50}}
    agreeing(odd, said({"task": PENDING["task"] | {"status": "approved"}, "result": {"mode": "reevaluate", "approval": approval}}, status))
    since, asked_since = gateway.upstream.count(), odd.count()
    first = another()
    assert RAN in call(gateway, "odd", body_of("pay", first)).body and arrived(gateway, since) == 1
    questions = [each.message() for each in odd.arrivals(asked_since)]
    assert [each.path for each in odd.arrivals(asked_since)] == [EVALUATION, REQUESTS, EVALUATION]
    assert isinstance(questions[2], dict) and questions[2]["context"]["approval"] == approval, "as it was"
    until(lambda: any(line["mcp_approval"] == f"approver:a-{status}" for line in gateway.envoy.access_log()), "the record")
    # This approver takes nothing back, and names the same approval again: then the filter does not.
    assert reason(call(gateway, "odd", body_of("pay", first))) == "approval_used"
    assert reason(call(gateway, "odd", body_of("pay", another()))) == "approval_used"
    assert arrived(gateway, since) == 1


def test_an_approver_may_permit_or_deny_without_asking_anybody(gateway: Gateway, odd: Upstream) -> None:
    scripted(odd, evaluation=said({"decision": True}))
    assert RAN in call(gateway, "odd", body_of("pay", another())).body
    since = gateway.upstream.count()
    for denied in ({"decision": False}, {"decision": False, "context": {"reason": "no"}}):
        scripted(odd, evaluation=said(denied))
        assert reason(call(gateway, "odd", body_of("pay", another()))) == "approval_declined"
    assert arrived(gateway, since) == 0


@pytest.mark.parametrize("name", ["down", "unknown"])
def test_an_approver_that_is_not_there_is_no_yes(gateway: Gateway, name: str) -> None:
    for _ in range(3):
        unavailable(gateway, name)


@pytest.mark.parametrize("how", ["never", "reset", "half", "late"])
def test_an_approver_that_does_not_answer_to_the_end_is_no_yes(gateway: Gateway, odd: Upstream, how: str) -> None:
    scripted(odd)

    async def handler(_arrival: Arrival, reply: Reply) -> None:
        if how == "reset":
            reply.reset()
            return
        if how in ("half", "late"):
            reply.start(200, [(b"content-type", b"application/json"), (b"content-length", b"17")], framed=False)
            reply.write(b'{"decision":true}'[: 16 if how == "late" else 8], framed=False)
        if how == "half":
            await reply.close()
            return
        await reply.gone.wait()

    odd.answer(EVALUATION, handler)
    unavailable(gateway, "odd")


def test_many_wait_and_leave_at_once(gateway: Gateway, desk: Desk) -> None:
    """Held calls of several callers, each of which gets its own answer."""
    names = [f"agent-{number}" for number in range(20)]
    got: dict[str, bytes] = {}

    def ask(name: str) -> None:
        got[name] = call(gateway, "held", body_of("pay", '{"id":"many"}'), agent=name).body

    callers = [threading.Thread(target=ask, args=(name,)) for name in names]
    for caller in callers:
        caller.start()
    until(lambda: len(desk.waiting()) == len(names), "twenty tasks")
    for number, each in enumerate(desk.waiting()):
        desk.decide(each, approve=number % 2 == 0)
    for caller in callers:
        caller.join()
    assert sum(RAN in body for body in got.values()) == len(names) // 2
    assert sum(b'"approval_declined"' in body for body in got.values()) == len(names) // 2
    assert active(gateway) == 0
