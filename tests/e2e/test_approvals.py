"""Approval by the user at the agent, on a real Envoy: the call is answered with a question, and the client's own retry runs once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import rig

from client import H1, Response, post
from fleet import Fleet, Listener, Policy, without_hold
from gateway import Gateway, serving, until
from judge import error_of
from storm import request, storm
from test_sessions import secrets
from upstream import RAN, Arrival, Reply, Upstream

SECRET = "the-secret-of-the-approvals-in-the-tests"
OLD = "an-older-secret-of-the-approvals-in-tests"
VARIABLES = ("MCP_POLICY_APPROVAL_SECRET", "MCP_POLICY_APPROVAL_SECRET_OLD")
VERSION = "2026-07-28"
KEY = "mcp-policy/approval"
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
ACCEPT = {"action": "accept", "content": {"approve": True}}

ASKED: Policy = {
    "version": "1",
    "default": "deny",
    "identity": {"grant": {"header": "x-agent-id"}},
    "requests": {"hold_headers": "auto"},
    "tools": {
        "pay": {"action": "require_approval", "approval": "user", "reason": "Paying cannot be undone."},
        "many": {"action": "require_approval", "approval": {"by": "user", "expires": "1m", "once": False}},
        "few": {
            "action": "require_approval",
            "approval": "user",
            "limits": [{"counter": "few", "window": "month", "max": 1, "scope": "global"}],
        },
        "refund": {
            "ask_if": [{"conditions": [{"path": "args.amount", "op": "gt", "value": 100}], "reason": "Large refunds need you."}],
            "approval": "user",
        },
        "short": {"action": "require_approval", "approval": {"by": ["user"], "expires": 1}},
        "told": {
            "action": "require_approval",
            "reason": "What the agent reads.",
            "approval": {"by": "user", "text": "Closes the account.", "show": ["args.owner.name", "args.ids[*]", "args.none"]},
        },
        "nobody": {"action": "require_approval"},
        "free": {},
    },
    # The tests ask about one call many times.
    "approvals": {"cooldown": 0},
}


def listener(policy: Policy = ASKED, *more: Any, values: tuple[str, ...] = (SECRET,)) -> Listener:
    return Listener(policy, secrets(*values, variables=VARIABLES), *more)


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    shadow = {**ASKED, "mode": "shadow"}
    reworded = {**ASKED, "tools": {**ASKED["tools"], "other": {}}}
    listeners = {
        "asked": listener(),
        "not held": listener(ASKED, without_hold),
        "rotated": listener(values=(OLD, SECRET)),
        "shadow": listener(shadow),
        "reworded": listener(reworded),
        "patient": listener({**ASKED, "approvals": {"asks": "3/hour", "cooldown": "1h"}}),
        "legacy": listener({**ASKED, "approvals": {"legacy": True, "cooldown": 0}}),
        "tool result": listener({**ASKED, "denials": {"as": "tool_result"}}),
    }
    with serving(upstream, listeners, concurrency=1) as gateway:
        yield gateway
        written = gateway.envoy.log() + gateway.envoy.stdout_path.read_text()
        assert SECRET not in written and "mp1." not in written


def body_of(tool: str, arguments: str = '{"id":7}', id: str = "7", capabilities: Any = FORM, more: str = "", version: str | None = VERSION) -> str:
    """A call as SDKs of the revision write it; `more` stands first in params."""
    meta = {"io.modelcontextprotocol/clientCapabilities": capabilities}
    if version:
        meta["io.modelcontextprotocol/protocolVersion"] = version
    params = f'{more}"name":{json.dumps(tool)},"arguments":{arguments},"_meta":{json.dumps(meta)}'
    return f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{{params}}}}}'


def send(gateway: Gateway, name: str, body: str, agent: str = "alice", tool: str | None = None, version: str | None = VERSION) -> Response:
    tool = tool or json.loads(body)["params"]["name"]
    headers = [("x-agent-id", agent)]
    if version:
        headers += [("mcp-protocol-version", version), ("mcp-method", "tools/call"), ("mcp-name", tool)]
    return post(gateway.port(name), body, headers)


def asked(response: Response) -> dict[str, Any]:
    """The result of a question."""
    assert response.status == 200, response
    result = json.loads(response.body)["result"]
    assert result["resultType"] == "input_required", result
    return result


def ask(gateway: Gateway, name: str, tool: str = "pay", arguments: str = '{"id":7}', **how: Any) -> str:
    """Asks, and returns the state."""
    return asked(send(gateway, name, body_of(tool, arguments), **how))["requestState"]


def retry(tool: str, state: str, answer: Any = ACCEPT, arguments: str = '{"id":7}', id: str = "8", **how: Any) -> str:
    responses = {} if answer is None else {KEY: answer}
    more = f'"inputResponses":{json.dumps(responses)},"requestState":{json.dumps(state)},'
    return body_of(tool, arguments, id, more=more, **how)


def outcome(gateway: Gateway, name: str, body: str, **how: Any) -> tuple[str, list[Arrival]]:
    """What the client reads: `ran`, `asked` or a reason; and what has arrived with a body at the server."""
    since = gateway.upstream.count()
    response = send(gateway, name, body, **how)
    ran = [each for each in gateway.arrivals(since) if each.body]
    if RAN in response.body:
        return "ran", ran
    if b'"input_required"' in response.body:
        asked(response)
        return "asked", ran
    return error_of(response)["reason"], ran


@pytest.mark.parametrize("name", ["asked", "not held", "rotated", "tool result"])
def test_what_the_user_approves_runs_once_and_the_server_sees_nothing_of_it(gateway: Gateway, name: str) -> None:
    question = asked(send(gateway, name, body_of("pay")))
    request = question["inputRequests"][KEY]
    assert request["method"] == "elicitation/create"
    form = request["params"]["requestedSchema"]
    assert form["properties"]["approve"] == {"type": "boolean", "title": "Approve this call", "default": False}
    assert request["params"]["message"].splitlines() == [
        "Paying cannot be undone.",
        "Policy `default` asks for your approval of this one call.",
        "Tool: pay",
        'Arguments: {"id":7}',
    ]
    body = retry("pay", question["requestState"])
    said, ran = outcome(gateway, name, body)
    assert (said, len(ran)) == ("ran", 1)
    seen = bytes(ran[0].body).decode()
    assert len(seen) == len(body), "the length stays"
    assert json.loads(seen) == json.loads(body_of("pay", id="8")), "all else is there"
    for word in ("inputResponses", "requestState", "mp1."):
        assert word not in seen
    for _ in range(3):
        if name == "tool result":
            assert RAN not in send(gateway, name, body).body
        else:
            assert outcome(gateway, name, body) == ("approval_used", [])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept"},
        {"action": "accept", "content": {}},
        {"action": "accept", "content": {"approve": False}},
        {"action": "accept", "content": {"approve": "true"}},
        {"action": "accept", "content": {"approve": 1}},
        {"action": "accept", "content": {"approve": [True]}},
        {"action": "Accept", "content": {"approve": True}},
        {"action": "accept", "content": [True]},
        {"content": {"approve": True}},
        [ACCEPT],
        True,
    ],
    ids=json.dumps,
)
def test_nothing_but_a_yes_is_one(gateway: Gateway, answer: Any) -> None:
    state = ask(gateway, "asked")
    assert outcome(gateway, "asked", retry("pay", state, answer)) == ("approval_declined", [])


def test_what_is_not_the_call_that_was_asked_about_is_asked_anew(gateway: Gateway) -> None:
    state = ask(gateway, "asked")
    for body in (
        retry("pay", state, arguments='{"id":8}'),
        retry("pay", state, arguments='{"id":7,"more":1}'),
        retry("pay", state, arguments='{"id":"7"}'),
        retry("pay", state, arguments="{}"),
        retry("many", state),
        retry("pay", state).replace('"_meta"', '"task":{},"_meta"'),
    ):
        assert outcome(gateway, "asked", body) == ("asked", []), body
    assert outcome(gateway, "reworded", retry("pay", state)) == ("approval_invalid", []), "another listener"
    # The approval is still good for what it is for, however that is written.
    same = retry("pay", state, arguments='{ "\\u0069d" : 7.0 }')
    assert outcome(gateway, "asked", same)[0] == "ran"


def test_a_state_is_good_for_nobody_else_and_in_no_other_form(gateway: Gateway) -> None:
    state = ask(gateway, "asked")
    assert outcome(gateway, "asked", retry("pay", state), agent="mallory") == ("approval_invalid", [])
    middle = len(state) // 2
    other = "A" if state[middle] != "A" else "B"
    for changed in (state[:-1], state + "A", state[:middle] + other + state[middle + 1 :], "mp1.", state * 2):
        assert outcome(gateway, "asked", retry("pay", changed)) == ("approval_invalid", []), changed
    # What does not even look like ours is the server's, which has asked nothing.
    for foreign in ("", "foreign", state[4:], "mp2." + state[4:]):
        assert outcome(gateway, "asked", retry("pay", foreign)) == ("asked", []), foreign
    assert outcome(gateway, "asked", retry("pay", state))[0] == "ran"


def test_an_answer_without_a_state_approves_nothing(gateway: Gateway) -> None:
    more = f'"inputResponses":{json.dumps({KEY: ACCEPT})},'
    assert outcome(gateway, "asked", body_of("pay", more=more)) == ("asked", [])


def test_a_call_that_may_run_anyway_is_forwarded_as_it_is(gateway: Gateway) -> None:
    body = body_of("free", more='"inputResponses":{"a":{"action":"accept"}},"requestState":"the server\'s",')
    said, ran = outcome(gateway, "asked", body)
    assert said == "ran" and bytes(ran[0].body).decode() == body


def test_a_call_that_needs_no_approval_any_more_goes_without_what_is_ours(gateway: Gateway) -> None:
    """As when the policy changes between question and answer."""
    state = ask(gateway, "asked")
    said, ran = outcome(gateway, "asked", retry("free", state))
    assert said == "ran"
    assert json.loads(bytes(ran[0].body)) == json.loads(body_of("free", id="8"))


@pytest.mark.parametrize(
    ("capabilities", "version", "missing"),
    [
        ({}, VERSION, "elicitation"),
        ({"elicitation": {"url": {}}}, VERSION, "elicitation"),
        ({"elicitation": None}, VERSION, "elicitation"),
        ({"elicitation": True}, VERSION, "elicitation"),
        (FORM, None, "protocolVersion"),
        (FORM, "2025-11-25", "protocolVersion"),
    ],
)
def test_who_cannot_ask_his_user_is_told_so(gateway: Gateway, capabilities: Any, version: str | None, missing: str) -> None:
    response = send(gateway, "asked", body_of("pay", capabilities=capabilities, version=version), version=version)
    error = error_of(response)
    assert error["reason"] == "approval_required" and error["code"] == 428
    approval = error["data"]["approval"]
    assert approval["by"] == ["user"] and approval["missing"] == missing
    assert approval["argumentsDigest"].startswith("sha-256:") and approval["policyDigest"].startswith("sha-256:")


def test_an_empty_capability_means_forms(gateway: Gateway) -> None:
    asked(send(gateway, "asked", body_of("pay", capabilities={"elicitation": {}})))


def test_where_nobody_is_named_it_stays_a_denial(gateway: Gateway) -> None:
    assert outcome(gateway, "asked", body_of("nobody")) == ("approval_required", [])


def test_conditions_say_when_somebody_is_asked(gateway: Gateway) -> None:
    assert outcome(gateway, "asked", body_of("refund", '{"amount":100}'))[0] == "ran"
    question = asked(send(gateway, "asked", body_of("refund", '{"amount":101}')))
    assert question["inputRequests"][KEY]["params"]["message"].startswith("Large refunds need you.\n")
    state = question["requestState"]
    assert outcome(gateway, "asked", retry("refund", state, arguments='{"amount":101}'))[0] == "ran"
    assert outcome(gateway, "asked", body_of("refund", '{"amount":"101"}')) == ("value_undecidable", [])


@pytest.mark.parametrize("number", ["9007199254740993", "1e400", "0.1000000000000000055", "1e300"])
def test_nobody_is_asked_about_a_number_that_stands_for_several(gateway: Gateway, number: str) -> None:
    assert outcome(gateway, "asked", body_of("pay", f'{{"id":{number}}}')) == ("value_undecidable", [])


def test_an_approval_may_be_for_any_number_of_the_same_call(gateway: Gateway) -> None:
    state = ask(gateway, "asked", "many")
    for _ in range(5):
        assert outcome(gateway, "asked", retry("many", state))[0] == "ran"
    assert outcome(gateway, "asked", retry("many", state, arguments='{"id":8}'))[0] == "asked"


def test_nobody_is_asked_for_what_a_limit_refuses(gateway: Gateway) -> None:
    first, second = ask(gateway, "asked", "few"), ask(gateway, "asked", "few")
    assert outcome(gateway, "asked", retry("few", first))[0] == "ran"
    assert outcome(gateway, "asked", retry("few", second)) == ("limit_reached", [])
    assert outcome(gateway, "asked", body_of("few")) == ("limit_reached", [])


def test_what_was_declined_is_not_asked_again_for_a_while(gateway: Gateway) -> None:
    state = ask(gateway, "patient", arguments='{"id":"declined"}')
    again = body_of("pay", '{"id":"declined"}')
    assert outcome(gateway, "patient", retry("pay", state, {"action": "decline"}, arguments='{"id":"declined"}')) == ("approval_declined", [])
    assert outcome(gateway, "patient", again) == ("approval_declined", [])
    assert outcome(gateway, "patient", again, agent="bob") == ("asked", []), "others are asked"
    assert outcome(gateway, "patient", body_of("pay", '{"id":"other"}')) == ("asked", []), "about other calls he is"


def test_a_caller_makes_people_look_so_often_and_no_more(gateway: Gateway) -> None:
    for number in range(3):
        assert outcome(gateway, "patient", body_of("pay", f'{{"id":{number}}}'), agent="eager")[0] == "asked"
    response = send(gateway, "patient", body_of("pay", '{"id":3}'), agent="eager")
    error = error_of(response)
    assert (error["reason"], error["code"], error["data"]["limit"]) == ("limit_reached", 429, 3)
    assert error["data"]["retryAfterMs"] > 0 and "counter" not in error["data"]
    assert outcome(gateway, "patient", body_of("pay", '{"id":3}'), agent="patient")[0] == "asked"


def elicited(response: Response) -> tuple[str, dict[str, Any]]:
    """The id of the question on a stream that ends, and the question."""
    assert response.status == 200 and response.header("content-type") == "text/event-stream", response
    lines = response.body.decode().split("\n")
    assert lines[0].startswith("id: mcp-policy.mp1.") and lines[1] == "retry: 2000" and lines[3:] == ["", ""]
    question = json.loads(lines[2].removeprefix("data: "))
    assert question["id"] == lines[0].removeprefix("id: ") and question["method"] == "elicitation/create"
    return question["id"], question


def legacy(gateway: Gateway, arguments: str, agent: str = "alice") -> Response:
    return send(gateway, "legacy", body_of("pay", arguments, version=None), agent=agent, version=None)


def resume(gateway: Gateway, id: str, agent: str = "alice") -> Response:
    head = f"GET /mcp HTTP/1.1\r\nhost: mcp.test\r\naccept: text/event-stream\r\nx-agent-id: {agent}\r\nlast-event-id: {id}\r\n\r\n"
    with H1(gateway.port("legacy")) as connection:
        connection.send(head.encode())
        return connection.receive("GET")


def says(gateway: Gateway, id: str, result: Any, agent: str = "alice") -> None:
    """The client answers the question; that reaches no server."""
    since = gateway.upstream.count()
    body = json.dumps({"result": result, "jsonrpc": "2.0", "id": id})
    assert post(gateway.port("legacy"), body, [("x-agent-id", agent)]).status == 202
    assert gateway.arrivals(since) == []


def test_older_clients_are_asked_on_a_stream_that_they_resume(gateway: Gateway) -> None:
    arguments = '{"id":"legacy"}'
    id, question = elicited(legacy(gateway, arguments))
    assert "Tool: pay" in question["params"]["message"]
    since = gateway.upstream.count()
    waiting = resume(gateway, id)
    assert waiting.body.decode() == f"id: {id}\nretry: 2000\ndata:\n\n"
    assert error_of(resume(gateway, id, "mallory"))["reason"] == "not_mcp"
    says(gateway, id, ACCEPT, agent="mallory")
    says(gateway, id[:-2] + "AA", ACCEPT)
    assert resume(gateway, id).body == waiting.body, "nobody else answers"
    says(gateway, id, ACCEPT)
    says(gateway, id, {"action": "decline"})
    error = error_of(resume(gateway, id))
    assert (error["id"], error["code"], error["reason"]) == ("7", 428, "approval_given"), "the first answer stands"
    assert gateway.arrivals(since) == []
    elicited(legacy(gateway, '{"id":"other"}'))
    elicited(legacy(gateway, arguments, agent="mallory"))
    assert RAN in legacy(gateway, arguments).body
    elicited(legacy(gateway, arguments))
    says(gateway, id, ACCEPT)
    elicited(legacy(gateway, arguments))


def test_who_cannot_resume_gets_question_and_answer_in_one(gateway: Gateway) -> None:
    """SDKs that speak at most 2025-06-18 wait for the end of the stream in vain."""
    body = body_of("pay", '{"id":"old"}', version=None)
    response = post(gateway.port("legacy"), body, [("x-agent-id", "alice"), ("mcp-protocol-version", "2025-06-18")])
    assert response.header("content-type") == "text/event-stream"
    question, error = [json.loads(line.removeprefix("data: ")) for line in response.body.decode().split("\n") if line]
    assert question["method"] == "elicitation/create"
    assert (error["id"], error["error"]["code"], error["error"]["data"]["reason"]) == (7, 428, "approval_pending")
    says(gateway, question["id"], ACCEPT)
    again = post(gateway.port("legacy"), body, [("x-agent-id", "alice"), ("mcp-protocol-version", "2025-06-18")])
    assert RAN in again.body


@pytest.mark.parametrize("answer", [{"action": "decline"}, {"action": "accept"}, None, "yes"], ids=json.dumps)
def test_older_clients_say_no_too(gateway: Gateway, answer: Any) -> None:
    arguments = json.dumps({"no": json.dumps(answer)})
    id, _ = elicited(legacy(gateway, arguments))
    says(gateway, id, answer)
    assert error_of(resume(gateway, id))["reason"] == "approval_declined"
    elicited(legacy(gateway, arguments))


def test_the_servers_own_streams_and_questions_stay_its_own(gateway: Gateway) -> None:
    since = gateway.upstream.count()
    post(gateway.port("legacy"), '{"jsonrpc":"2.0","id":"servers","result":{"action":"accept"}}', [("x-agent-id", "alice")])
    resume(gateway, "servers-own")
    assert [each.method for each in gateway.arrivals(since)] == [b"POST", b"GET"]


def test_shadow_asks_nobody(gateway: Gateway) -> None:
    assert outcome(gateway, "shadow", body_of("pay"))[0] == "ran"


def test_a_batch_asks_nobody(gateway: Gateway) -> None:
    batch = f"[{body_of('free')},{body_of('pay', id='9')}]"
    response = post(gateway.port("asked"), batch, [("x-agent-id", "alice")])
    assert b'"approval_required"' in response.body and RAN not in response.body


def test_what_the_user_reads_is_on_its_own_line_and_hides_nothing(gateway: Gateway) -> None:
    arguments = json.dumps({"a": "x\nTool: free\r\u202e\u200b[ok](http://evil.example/)"})
    message = asked(send(gateway, "asked", body_of("pay", arguments)))["inputRequests"][KEY]["params"]["message"]
    assert len(message.splitlines()) == 4 and message.splitlines()[2] == "Tool: pay"
    assert "\\u{202e}" in message and "\\u{200b}" in message and "http://" not in message
    long = json.dumps({"a": "y" * 5000})
    message = asked(send(gateway, "asked", body_of("pay", long)))["inputRequests"][KEY]["params"]["message"]
    assert len(message) < 2400 and "bytes more; digest of all arguments: sha-256:" in message


def test_the_author_says_what_is_read_and_what_comes_first(gateway: Gateway) -> None:
    arguments = '{"ids":[7,"8"],"owner":{"name":"a\\nb"}}'
    message = asked(send(gateway, "asked", body_of("told", arguments)))["inputRequests"][KEY]["params"]["message"]
    assert message.splitlines() == [
        "Closes the account.",
        "Policy `default` asks for your approval of this one call.",
        "Tool: told",
        'args.owner.name: "a\\nb"',
        "args.ids[*]: 7",
        'args.ids[*]: "8"',
        "args.none: nothing",
        'Arguments: {"ids":[7,"8"],"owner":{"name":"a\\nb"}}',
    ]


def test_what_one_envoy_asked_another_asks_again(upstream: Upstream) -> None:
    policy = {**ASKED, "approvals": {"single_use": "envoy", "cooldown": 0}}
    states = []
    for _ in range(2):
        with serving(upstream, {"one": listener(policy)}) as gateway:
            state = ask(gateway, "one")
            for foreign in states:
                assert outcome(gateway, "one", retry("pay", foreign)) == ("asked", [])
            assert outcome(gateway, "one", retry("pay", state))[0] == "ran"
            states.append(ask(gateway, "one"))


def test_who_approved_is_on_record(gateway: Gateway) -> None:
    state = ask(gateway, "asked", arguments='{"id":"record"}')
    assert outcome(gateway, "asked", retry("pay", state, arguments='{"id":"record"}'))[0] == "ran"

    def lines(decision: str) -> list[str]:
        return [str(line["mcp_approval"]) for line in gateway.envoy.access_log() if line["mcp_decision"] == decision]

    until(lambda: any(who.startswith("user:sha-256:") for who in lines("allow")), "the line of the call that ran")
    assert lines("ask") and not any(who.startswith("user:") for who in lines("ask"))


async def ran(arrival: Arrival, reply: Reply) -> None:
    """What the server does where nothing else is scripted."""
    message = arrival.message()
    await reply.json({"jsonrpc": "2.0", "id": message.get("id") if isinstance(message, dict) else None, "result": "ran"})


def own_question(gateway: Gateway, server_state: str | None, sse: str = "") -> None:
    """A server that asks for input itself, and then says what it got."""

    async def serve(arrival: Arrival, reply: Reply) -> None:
        message = arrival.message()
        assert isinstance(message, dict)
        params = message["params"]
        if "inputResponses" in params:
            result = {"resultType": "complete", "ran": "ran", "got": [params["inputResponses"], params.get("requestState")]}
            await reply.json({"jsonrpc": "2.0", "id": message["id"], "result": result})
            return
        result = {"resultType": "input_required", "inputRequests": {KEY: {"method": "elicitation/create", "params": {"mode": "form"}}}}
        if server_state is not None:
            result["requestState"] = server_state
        text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        if not sse:
            await reply.whole(200, text.encode())
            return
        reply.start(200, [(b"content-type", b"text/event-stream")])
        reply.write(b': hello\n\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n')
        reply.write(b"data: " + text.encode() + sse.encode() + sse.encode())
        reply.end()

    gateway.upstream.answer("/mcp", serve)


@pytest.mark.parametrize("name", ["asked", "not held"])
@pytest.mark.parametrize("server_state", [None, "", 'its "own" \\ state \u00e9\n', "s" * 20_000])
@pytest.mark.parametrize("sse", ["", "\n", "\r\n"])
def test_the_servers_own_conversation_goes_on_under_the_approval(gateway: Gateway, name: str, server_state: str | None, sse: str) -> None:
    own_question(gateway, server_state, sse)
    try:
        state = ask(gateway, name)
        response = send(gateway, name, retry("pay", state))
        text = response.body.decode()
        text = text.split("data: ")[-1] if sse else text
        chained = json.loads(text)["result"]["requestState"]
        assert chained.startswith("mp1.") and (not server_state or server_state not in text)
        # Other arguments, or another caller: never run.
        answer = {"action": "accept", "content": {"own": 1}}
        assert outcome(gateway, name, retry("pay", chained, answer, arguments='{"id":8}'))[0] == "asked"
        assert outcome(gateway, name, retry("pay", chained, answer), agent="mallory") == ("approval_invalid", [])
        response = send(gateway, name, retry("pay", chained, answer))
        assert json.loads(response.body)["result"]["got"] == [{KEY: answer}, server_state]
        assert outcome(gateway, name, retry("pay", chained, answer)) == ("approval_used", [])
        # The server's raw state is no approval.
        assert outcome(gateway, name, retry("pay", server_state or "raw", answer)) == ("asked", [])
    finally:
        gateway.upstream.answer("/mcp", ran)


def test_replays_at_once_run_once(upstream: Upstream) -> None:
    with serving(upstream, {"asked": listener()}, concurrency=4) as gateway:
        rounds, replays = 20, 10
        for number in range(rounds):
            arguments = json.dumps({"id": number})
            body = retry("pay", ask(gateway, "asked", arguments=arguments), arguments=arguments)
            since = upstream.count()
            said: list[bytes] = []
            threads = [threading.Thread(target=lambda: said.append(send(gateway, "asked", body).body)) for _ in range(replays)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(RAN in text for text in said) == 1
            assert sum(b"approval_used" in text for text in said) == replays - 1
            assert len([each for each in gateway.arrivals(since) if each.body]) == 1


def test_two_hundred_approvals_of_which_each_comes_thirty_times_run_two_hundred_times(upstream: Upstream) -> None:
    approvals, replays = 200, 30
    fields = [("x-agent-id", "alice"), ("mcp-protocol-version", VERSION), ("mcp-method", "tools/call"), ("mcp-name", "pay")]
    octets = [(name.encode(), value.encode()) for name, value in fields]
    with serving(upstream, {"asked": listener()}, concurrency=4) as gateway:
        bodies = []
        for number in range(approvals):
            arguments = json.dumps({"id": number})
            # An approval is for a path too, and a storm's is this one.
            question = asked(post(gateway.port("asked"), body_of("pay", arguments), fields, path="/"))
            bodies.append(retry("pay", question["requestState"], arguments=arguments))
        since = upstream.count()
        # Each connection replays all of them in the same order, so the same ones are under way at once.
        streams = [iter([request(body.encode(), *octets) for body in bodies]) for _ in range(replays)]
        assert storm(gateway.port("asked"), streams, [RAN, b'"approval_used"']) == [
            approvals * replays,
            approvals,
            approvals * (replays - 1),
        ]
        seen = sorted(json.loads(each.body)["params"]["arguments"]["id"] for each in gateway.arrivals(since) if each.body)
        assert seen == list(range(approvals))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), "has no `MCP_POLICY_APPROVAL_SECRET`"),
        (("short",), "`MCP_POLICY_APPROVAL_SECRET` has 5 bytes, at least 32 are needed"),
        ((SECRET, "short"), "`MCP_POLICY_APPROVAL_SECRET_OLD` has 5 bytes"),
    ],
)
def test_without_a_secret_the_configuration_is_refused(upstream: Upstream, values: tuple[str, ...], text: str) -> None:
    fleet = Fleet(upstream.port)
    fleet.add("asked", listener(values=values))
    with pytest.raises(rig.RigError, match="exited with 1") as refused, fleet.run():
        pass
    assert text in str(refused.value)


def test_an_approval_of_a_call_that_never_left_can_be_used_again(upstream: Upstream) -> None:
    """Nobody listens at the server's port: Envoy says that the call was not sent."""
    [port] = rig.free_ports(1)

    def nobody_there(config: rig.Config) -> None:
        [server] = [each for each in config["static_resources"]["clusters"] if each["name"] == "mcp_server"]
        [endpoint] = server["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port

    with serving(upstream, {"asked": listener()}, change=nobody_there) as gateway:
        body = retry("pay", ask(gateway, "asked"))
        for _ in range(3):
            assert send(gateway, "asked", body).status == 503


def test_a_full_table_lets_nothing_through_and_forgets_nothing(upstream: Upstream) -> None:
    """One shard of 64: whoever comes after them waits, and none of them comes twice."""
    policy = {**ASKED, "approvals": {"max_entries": 1, "cooldown": 0}}
    with serving(upstream, {"small": listener(policy)}) as gateway:
        bodies = []
        for number in range(66):
            arguments = json.dumps({"id": number})
            bodies.append(retry("pay", ask(gateway, "small", arguments=arguments), arguments=arguments))
        assert [outcome(gateway, "small", body)[0] for body in bodies[:64]] == ["ran"] * 64
        assert [outcome(gateway, "small", body) for body in bodies[64:]] == [("approvals_unavailable", [])] * 2
        assert outcome(gateway, "small", bodies[0]) == ("approval_used", [])
