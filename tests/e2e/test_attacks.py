"""What attackers met: ten ways past the policy, each on the real server that showed it.

Each row runs without the filter too, where the attack must succeed, so that no row is a shot at nothing. Whether
a tool ran is known from the server itself. Other spellings of the same kinds are in the corpora of bypass.yaml and
responses.yaml and in the property tests of tests/suite.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unicodedata import normalize

import jwt
import pytest

import cli
from attacks import Agent, Place, Scene, World, before, params, serving
from client import H1, Response, post_bytes
from fleet import Policy
from gateway import until
from judge import error_of
from products.server import HIDDEN, KEY
from real import Server
from workloads import WORKLOADS

CONTROL, GOVERNED = False, True
both = pytest.mark.parametrize("governed", [CONTROL, GOVERNED], ids=["control", "governed"])

# Listeners with settings that have always been there, and with those that came with the cures.
PLACES: list[Place] = []
NEW_PLACES: list[Place] = []


def place(server: str, policy: Policy, about: str) -> Place:
    PLACES.append(Place(server, policy, about))
    return PLACES[-1]


def new_place(server: str, policy: Policy, about: str) -> Place:
    NEW_PLACES.append(Place(server, policy, about))
    return NEW_PLACES[-1]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    with serving(tmp_path_factory.mktemp("real"), {each.server for each in PLACES + NEW_PLACES}) as running:
        yield running


@pytest.fixture(scope="module")
def world(servers: dict[str, Server]) -> Iterator[World]:
    with before(servers, PLACES) as running:
        yield running


@pytest.fixture(scope="module")
def new_world(servers: dict[str, Server]) -> Iterator[World]:
    with before(servers, NEW_PLACES) as running:
        yield running


def allowing(**tools: object) -> Policy:
    return {"version": "1", "default": "allow", "tools": tools}


def reason(answer: Response) -> str:
    """Why a call was refused, by the policy or at the front door."""
    return str(error_of(answer)["data"]["reason"])


# --- 1. Names that servers take for one -------------------------------------------------------

# An existing tool's name, and how it is called.
SPELLINGS = {
    "NFD of a denied name": ("löschen", normalize("NFD", "löschen")),
    "NFD of a denied name in Hangul": ("삭제_계정", normalize("NFD", "삭제_계정")),
    "NFD of a hidden name": ("비밀_도구", normalize("NFD", "비밀_도구")),
    "NFD of a name that a glob denies": ("löschen_alles", normalize("NFD", "löschen_alles")),
    "an ignorable character of musical notation": ("delete", "delete\U0001d173"),
    "the last of these": ("delete", "del\U0001d17aete"),
    "an ignorable character of shorthand": ("delete", "\U0001bca0delete"),
    "the last of those": ("delete", "delete\U0001bca3"),
    "both": ("löschen", normalize("NFD", "lö\U0001bca1schen")),
}
NAMES = {
    **allowing(**{name: {"action": "deny"} for name in ["löschen", "삭제_계정", "löschen_*", "delete"]}),
    "hide": ["비밀_도구"],
}
# The same policy, written on a system that decomposes.
NAMES_NFD = json.loads(normalize("NFD", json.dumps(NAMES, ensure_ascii=False)))
# The servers of the SDKs for Python find a tool as Swift would; in JavaScript the language's own comparison does.
NAMED = [place(server, policy, about) for server in ["sdk1", "sdk2", "typescript"] for policy, about in [(NAMES, "names"), (NAMES_NFD, "names in NFD")]]


@both
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("at", NAMED, ids=str)
def test_a_name_is_one_however_it_is_spelled(world: World, at: Place, spelling: str, governed: bool) -> None:
    tool, spelled = SPELLINGS[spelling]
    scene = world.scene(at, governed)
    with Agent(scene) as agent:
        for name in (spelled, tool):
            agent.call(name)
        assert [each["tool"] for each in scene.ran()] == ([] if governed else [tool, tool])
        agent.call("search")
        assert scene.ran("search")


@both
@pytest.mark.parametrize("at", NAMED, ids=str)
def test_a_hidden_name_is_hidden_however_it_is_spelled(world: World, at: Place, governed: bool) -> None:
    with Agent(world.scene(at, governed)) as agent:
        listed = normalize("NFC", agent.ask("tools/list").body.decode())
    assert ("비밀_도구" in listed) != governed and '"search"' in listed


# --- 2. Lists on other streams ----------------------------------------------------------------

LISTS: Policy = {"version": "1", "default": "deny", "hide": [HIDDEN], "tools": {"search": {}, "slow": {}, "shout": {}, "shot": {}, "app_*": {}}}
CROSSED = [place(server, LISTS, "lists") for server in ["sdk1", "sdk1 json", "sdk2", "fastmcp 3", "fastmcp 4", "mcp-proxy", "supergateway"]]
TOO_SHORT = new_place("sdk1 long list", {**LISTS, "responses": {"max_list_bytes": 1_000_000}}, "short lists")
LONG = place("sdk1 long list", LISTS, "lists")
REPLAYED = place("typescript", LISTS, "lists")
TOO_LONG = 1_200_000


@both
@pytest.mark.parametrize("at", CROSSED, ids=str)
def test_a_list_comes_on_the_stream_of_a_call_with_its_id(world: World, at: Place, governed: bool) -> None:
    scene = world.scene(at, governed)
    with Agent(scene) as agent, held_list(scene) as release:
        listing = agent.send("tools/list", id="7")
        until(lambda: bool(scene.ran("tools/list")), "the list to be asked for")
        calling = agent.start("slow", '{"until":"go"}', id="7")
        release("")
        # What the session says goes out in order, so the list is on its way when this is answered.
        agent.ask("ping", id="8")
        scene.server.open("go")
        seen = b"".join(rest(each) for each in (calling, listing))
    assert (HIDDEN.encode() in seen) != governed, seen


@pytest.mark.parametrize("at", CROSSED, ids=str)
def test_a_list_and_a_call_with_ids_of_their_own_work(world: World, at: Place) -> None:
    scene = world.scene(at, GOVERNED)
    with Agent(scene) as agent, held_list(scene) as release:
        listing = agent.send("tools/list", id="7")
        until(lambda: bool(scene.ran("tools/list")), "the list to be asked for")
        calling = agent.start("slow", '{"until":"go"}', id='"8"')
        scene.server.open("go")
        assert b"slow ran" in calling.receive().body
        release("")
        listed = listing.receive().body
    assert b'"search"' in listed and b'"slow"' in listed and HIDDEN.encode() not in listed


@contextmanager
def held_list(scene: Scene) -> Iterator[Callable[[str], None]]:
    """Holds the next list until it is released; with the text `fail` it fails then."""
    for gate in ("go", "release-list"):
        scene.server.close(gate)
    scene.server.open("hold-list")

    def release(how: str) -> None:
        scene.server.open("release-list", how)
        until(lambda: bool(scene.ran("tools/list released")), "the list to go on")

    yield release
    for gate in ("go", "release-list"):
        scene.server.open(gate)


def rest(connection: H1) -> bytes:
    """All that comes on a connection whose request may never be answered."""
    connection.timeout = 0.3
    answer = connection.receive()
    return answer.body + bytes(connection.buffer)


@both
def test_a_list_of_1030_tools_comes_whole(world: World, governed: bool) -> None:
    with Agent(world.scene(LONG, governed)) as agent:
        answer = agent.ask("tools/list")
    assert len(answer.body) > 2_000_000 and answer.body.count(b'"app_') == 1030
    assert (HIDDEN.encode() in answer.body) != governed


def test_a_list_that_is_withheld_is_on_record(new_world: World) -> None:
    with Agent(new_world.scene(TOO_SHORT, GOVERNED)) as agent:
        answer = agent.ask("tools/list", id="77")
    assert HIDDEN.encode() not in answer.body and reason(answer) == "list_unreadable"

    def withheld() -> bool:
        return any(line["mcp_decision"] == "withheld" and line["mcp_reason"] == "list_unreadable" for line in new_world.envoy.access_log())

    until(withheld, "the log of the list")


@both
def test_a_list_that_is_sent_again_is_filtered_again(world: World, governed: bool) -> None:
    with Agent(world.scene(REPLAYED, governed)) as agent:
        first = agent.ask("tools/list")
        again = agent.listen(f"last-event-id: {first_id(first)}")
        seen = read_until(again, b'"search"')
    assert (HIDDEN.encode() in seen) != governed and b'"slow"' in seen


@both
def test_a_long_result_that_is_sent_again_is_not_lost(world: World, governed: bool) -> None:
    with Agent(world.scene(REPLAYED, governed)) as agent:
        first = agent.call("shot", f'{{"size":{TOO_LONG}}}')
        again = agent.listen(f"last-event-id: {first_id(first)}")
        seen = read_until(again, b"image/png")
    assert first.body.count(b"A" * TOO_LONG) == 1 and seen.count(b"A" * TOO_LONG) == 1


@both
def test_a_long_notification_on_the_stream_of_a_get_is_not_lost(world: World, governed: bool) -> None:
    with Agent(world.scene(CROSSED[0], governed)) as agent:
        stream = agent.listen()
        agent.call("shout", f'{{"size":{TOO_LONG}}}')
        agent.call("shout", '{"size":1}')
        seen = read_until(stream, b'"data":"A"')
    assert seen.count(b"A" * TOO_LONG) == 1


def first_id(answer: Response) -> str:
    """The id of the first event of a stream: all after it can be asked for again."""
    return next(line for line in answer.body.decode().splitlines() if line.startswith("id:")).removeprefix("id:").strip()


def read_until(stream: H1, wanted: bytes) -> bytes:
    """What comes on a stream, until this has come."""
    seen = b""
    while wanted not in seen:
        chunk = stream.chunk()
        assert chunk is not None, f"the stream ended after {seen[-300:]!r}"
        seen += chunk
    return seen


# --- 3. Answers that the client chooses -------------------------------------------------------

MAX = 2
TRIES = 4
NEVER = '{"until":"never"}'


def counted(**limit: object) -> Policy:
    return allowing(slow={"limits": [{"counter": "c", "window": "day", "max": MAX, **limit}]})


RULES = allowing(slow={"rules": [{"name": "few", "rate_limit": f"{MAX}/day"}]})
STATE: Policy = allowing(
    slow={
        "rules": [
            {
                "name": "few",
                "conditions": [{"path": "state.slow.calls", "op": "lte", "value": MAX}],
                "state": {"counter": "calls", "window": "day"},
            }
        ]
    }
)


def cancelled(scene: Scene) -> None:
    """The server says that the call was cancelled, long after the tool ran."""
    with Agent(scene) as agent:
        calling = agent.start("slow", NEVER, id="7")
        agent.ask("notifications/cancelled", '{"requestId":7}', id=None)
        calling.receive()


def ended(scene: Scene) -> None:
    """The session ends, and with it the answers that are due."""
    with Agent(scene) as agent:
        calling = agent.start("slow", NEVER, id="7")
        agent.line("DELETE")
        calling.receive()


def crossed(scene: Scene) -> None:
    """A request that fails has the call's id; its answer comes on the stream of the call."""
    with Agent(scene) as agent, held_list(scene) as release:
        listing = agent.send("tools/list", id="7")
        until(lambda: bool(scene.ran("tools/list")), "the list to be asked for")
        calling = agent.start("slow", '{"until":"go"}', id="7")
        release("fail")
        agent.ask("ping", id="8")
        scene.server.open("go")
        for each in (calling, listing):
            rest(each)


def batched(failing: str, calling: str) -> Callable[[Scene], None]:
    """One batch holds the call and a request that fails, whose id is the same for the server."""

    def send(scene: Scene) -> None:
        call = f'{{"jsonrpc":"2.0","id":{calling},"method":"tools/call","params":{params("slow", NEVER)}}}'
        with Agent(scene) as agent:
            rest(agent.post(f'[{call},{{"jsonrpc":"2.0","id":{failing},"method":"no/such/method"}}]'))
            # What a session says is read in order: the slow call runs when this one has.
            agent.call("search")

    return send


WAYS: dict[str, tuple[str, Callable[[Scene], None]]] = {
    "cancelled": ("sdk1", cancelled),
    "cancelled, newer SDK": ("sdk2", cancelled),
    "cancelled, JSON": ("sdk1 json", cancelled),
    "the session ended, JSON": ("sdk1 json", ended),
    "an error with its id": ("sdk1", crossed),
    "an error with its id, fastmcp": ("fastmcp 3", crossed),
    "an error with its id, mcp-proxy": ("mcp-proxy", crossed),
    "a batch with an id twice, spelled otherwise": ("typescript", batched(r'"\u0061"', '"a"')),
    "a batch with 0 and -0": ("typescript", batched("-0", "0")),
    "a batch behind supergateway": ("supergateway", batched(r'"\u0061"', '"a"')),
}
COUNTING = {"attempts": counted(), "rules dialect": RULES, "rules dialect with state": STATE}
COUNTED = [
    (place(server, policy, f"{about}, {way}"), way)
    for way, (server, _) in WAYS.items()
    for about, policy in COUNTING.items()
    if about != "rules dialect with state" or way == "cancelled"
]
# The control has a filter: one whose author trusts the answers. Batches with an id twice get past no filter.
TRUSTING = [
    (place(server, counted(count="successes"), f"successes, {way}"), way) for way, (server, _) in WAYS.items() if "batch" not in way
]


@pytest.mark.parametrize(("at", "way"), COUNTED, ids=str)
def test_no_answer_gives_a_call_back(world: World, at: Place, way: str) -> None:
    assert runs(world.scene(at, GOVERNED), way) <= MAX


@pytest.mark.parametrize(("at", "way"), TRUSTING, ids=str)
def test_control_these_answers_look_like_failures(world: World, at: Place, way: str) -> None:
    assert runs(world.scene(at, GOVERNED), way) > MAX


@pytest.mark.parametrize(("at", "way"), [(at, way) for at, way in COUNTED if "batch" in way], ids=str)
def test_control_the_server_runs_what_it_answers_with_an_error(world: World, at: Place, way: str) -> None:
    assert runs(world.scene(at, CONTROL), way) > MAX


def runs(scene: Scene, way: str) -> int:
    for _ in range(TRIES):
        WAYS[way][1](scene)
    return len(scene.ran("slow"))


# --- 4. Texts that the server reads as something else -----------------------------------------


def denied_if(path: str, op: str, value: object) -> Policy:
    return {"deny_if": [{"conditions": [{"path": path, "op": op, "value": value}]}]}


READINGS: Policy = allowing(
    grant=denied_if("args.roles", "contains", "admin"),
    wipe={"require": [{"conditions": [{"path": "args.namespace", "op": "exists", "value": True}]}]},
    update=denied_if("args.change.isAdmin", "eq", True),
)
OPTIONS: Policy = allowing(grant=denied_if("args.options.admin", "eq", True))
READERS = {
    "typescript": place("typescript", OPTIONS, "options"),
    **{server: place(server, READINGS, "readings") for server in ["sdk1", "sdk2", "fastmcp 3", "fastmcp 4"]},
}
UNDECIDABLE, AMBIGUOUS = "value_undecidable", "ambiguous_key"
# The server, its tool, the arguments as they are sent, what the tool gets, and why it must not.
READ: dict[str, tuple[str, str, str, dict[str, object], str]] = {
    f"{what}, {server}": (server, tool, arguments, got, why)
    for what, tool, arguments, got, why, readers in [
        ("a list in a text", "grant", r'{"roles":"[\"\\u0061dmin\"]"}', {"roles": ["admin"]}, UNDECIDABLE, ["sdk1", "sdk2"]),
        ("a list in a text, with white space", "grant", r'{"roles":" [\"adm\\u0069n\"]"}', {"roles": ["admin"]}, UNDECIDABLE, ["sdk1", "sdk2"]),
        ("null in a text", "wipe", '{"namespace":"null"}', {"namespace": None}, UNDECIDABLE, ["sdk1", "sdk2"]),
        ("null in a text, with white space", "wipe", r'{"namespace":"\tnull "}', {"namespace": None}, UNDECIDABLE, ["sdk1", "sdk2"]),
        ("an object in a text", "update", r'{"change":"{\"isAdmin\":true}"}', {"admin": True}, UNDECIDABLE, ["sdk1", "sdk2"]),
        ("another name of a field", "update", '{"change":{"is_admin":true}}', {"admin": True}, AMBIGUOUS, ["sdk1", "sdk2", "fastmcp 3", "fastmcp 4"]),
        ("a prototype", "grant", '{"options":{"__proto__":{"admin":true}}}', {"admin": True}, AMBIGUOUS, ["typescript"]),
    ]
    for server in readers
}


@both
@pytest.mark.parametrize("row", READ)
def test_conditions_see_what_the_server_sees(world: World, row: str, governed: bool) -> None:
    server, tool, arguments, got, why = READ[row]
    scene = world.scene(READERS[server], governed)
    with Agent(scene) as agent:
        answer = agent.call(tool, arguments)
    assert scene.ran() == ([] if governed else [{"tool": tool, **got}])
    assert not governed or reason(answer) == why


HONEST_READINGS = {
    "grant": ['{"roles":["dev"]}', '{"roles":[]}'],
    "wipe": ['{"namespace":"prod"}', '{"namespace":"null and void"}', '{"namespace":"[draft]"}', '{"namespace":"7"}'],
    "update": ['{"change":{"isAdmin":false}}', '{"change":{}}'],
}


@pytest.mark.parametrize("server", ["sdk1", "sdk2", "fastmcp 3", "fastmcp 4"])
def test_honest_arguments_pass(world: World, server: str) -> None:
    scene = world.scene(READERS[server], GOVERNED)
    with Agent(scene) as agent:
        for tool, calls in HONEST_READINGS.items():
            for arguments in calls:
                agent.call(tool, arguments)
            assert len(scene.ran(tool)) == len(calls), tool


# --- 5. One credential, one caller ------------------------------------------------------------

TOKEN = jwt.encode({"sub": "alice"}, KEY, "HS256")
PASSWORD = base64.b64encode(b"alice:wonderland").decode()
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def spare_bits(token: str) -> list[str]:
    """A signature of 32 bytes leaves two bits of its last character unused."""
    last = _ALPHABET.index(token[-1])
    return [token[:-1] + _ALPHABET[last & ~3 | bits] for bits in range(4)]


ONCE = allowing(
    search={"limits": [{"counter": "c", "window": "day", "max": MAX}]},
    pay={"limits": [{"counter": "c", "window": "day", "max": MAX}]},
)
# The server, its path, and more spellings of one credential than it has calls.
CREDENTIALS: dict[str, tuple[str, str, list[str]]] = {
    "further words": ("sdk1 guarded", "/mcp", [f"Bearer honest-1 x{number}" for number in range(4)]),
    "words after white space": ("sdk1 guarded", "/mcp", [f"Bearer honest-1{space}x" for space in (" ", "  ", "\t", " \t ")]),
    "further words after a token": ("sdk1 guarded", "/mcp", [f"Bearer {TOKEN} {word}" for word in "abcd"]),
    "padding of a token": ("sdk1 guarded", "/mcp", [f"Bearer {TOKEN}", f"Bearer {TOKEN}="] * MAX),
    "further words after Basic": ("sdk1 guarded", "/mcp", [f"Basic {PASSWORD} {word}" for word in "abcd"]),
    "junk in base64": ("sdk1 guarded", "/mcp", [f"Basic {PASSWORD[:at]}!{PASSWORD[at:]}" for at in range(4)]),
    "padding of base64": ("sdk1 guarded", "/mcp", [f"Basic {PASSWORD}{more}" for more in ("", "=", "==", "====")]),
    "junk after base64": ("sdk1 guarded", "/mcp", [f"Basic {PASSWORD}{more}" for more in ("", "-", "_", "~.")]),
    "spare bits of a token": ("typescript", "/guarded", [f"Bearer {each}" for each in spare_bits(TOKEN)]),
    "words after a token, in JavaScript": ("typescript", "/guarded", [f"Bearer {TOKEN} {word}" for word in "abcd"]),
}
CALLERS = {name: place(server, ONCE, name) for name, (server, _, _) in CREDENTIALS.items()}
HONEST_CREDENTIALS = ["Bearer honest-2", "bearer  honest-3", f"Bearer {TOKEN}", f"Basic {PASSWORD}"]


@both
@pytest.mark.parametrize("spelling", CREDENTIALS)
def test_a_credential_is_one_caller_however_it_is_spelled(world: World, spelling: str, governed: bool) -> None:
    _, path, values = CREDENTIALS[spelling]
    scene = world.scene(CALLERS[spelling], governed)
    for value in values:
        call_as(scene, value, path)
    ran = len(scene.ran("search"))
    assert ran <= MAX if governed else ran == len(values)


@pytest.mark.parametrize("value", HONEST_CREDENTIALS)
def test_honest_credentials_pass(world: World, value: str) -> None:
    scene = world.scene(HONEST_CALLERS, GOVERNED)
    for _ in range(MAX + 1):
        call_as(scene, value)
    assert len(scene.ran("search")) == MAX


HONEST_CALLERS = place("sdk1 guarded", ONCE, "honest callers")


def call_as(scene: Scene, authorization: str, path: str = "/mcp", source: str = "127.0.0.1") -> None:
    """One call with this credential. Where the filter refuses it, the handshake is refused too."""
    stateless = scene.server.product.stateless
    governing = Agent(scene, ("authorization", authorization), path=path, handshake=False, source=source)
    with governing as agent:
        if stateless or agent.shake_hands():
            agent.call("search")


# --- 6. What can carry a call -----------------------------------------------------------------

NOTES: Policy = {
    "version": "1",
    "default": "deny",
    "hide": ["reset"],
    "tools": {"read_note": {}, "delete_note": {"action": "deny"}, "refund": {"action": "deny"}},
}
BOUND: Policy = {"policies": {"notes": NOTES}, "bindings": [{"match": {"path": "/mcp"}, "policy": "notes"}], "unmatched": "deny"}
PATHS: Policy = {**NOTES, "requests": {"paths": ["/mcp"]}}
FRAMEWORKS = ["fastapi-mcp", "litestar-mcp"]
DOORS = [place(server, policy, about) for server in FRAMEWORKS for policy, about in [(BOUND, "bound"), (NOTES, "bare")]]
NEW_DOORS = [new_place(server, PATHS, "paths") for server in FRAMEWORKS]
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
JSON = "\ncontent-type: application/json"
SESSION = "\nmcp-session-id: 0123456789abcdef"
EVENTS = "\naccept: text/event-stream"
CORS = "\norigin: http://evil.test\naccess-control-request-method: POST"
# A request, the tool that it runs, and whether the lines make it look like one of MCP.
ROUTES: dict[str, tuple[str, bytes, str, bool]] = {
    "DELETE": ("DELETE /notes/7", b"", "delete_note", False),
    "DELETE as of a session": ("DELETE /notes/7" + SESSION, b"", "delete_note", True),
    "GET": ("GET /admin/reset", b"", "reset", False),
    "GET as for events": ("GET /admin/reset" + EVENTS, b"", "reset", True),
    "GET as for events in a session": ("GET /admin/reset" + EVENTS + SESSION, b"", "reset", True),
    "HEAD": ("HEAD /admin/reset", b"", "reset", False),
    "OPTIONS": ("OPTIONS /admin/reset", b"", "reset", False),
    "OPTIONS as before a request": ("OPTIONS /admin/reset" + CORS, b"", "reset", True),
    "POST of a ping": ("POST /refunds/99" + JSON, PING, "refund", True),
    "POST of a response": ("POST /refunds/99" + JSON, b'{"jsonrpc":"2.0","id":1,"result":{}}', "refund", True),
    "POST of an allowed call": ("POST /refunds/99" + JSON, f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params("read_note")}}}'.encode(), "refund", True),
}


def through(scene: Scene, request: str) -> list[str]:
    head, body, _, _ = ROUTES[request]
    answer = scene.send(head, body)
    assert not answer.fault, answer
    return [each["tool"] for each in scene.ran()]


# A policy that names no paths lets pass what looks like MCP.
WAYS_AROUND = [(at, request) for at in DOORS for request in ROUTES if at.about == "bound" or not ROUTES[request][3]]


@both
@pytest.mark.parametrize(("at", "way"), WAYS_AROUND, ids=str)
def test_no_route_is_a_way_around(world: World, at: Place, way: str, governed: bool) -> None:
    assert through(world.scene(at, governed), way) == ([] if governed else [ROUTES[way][2]])


@both
@pytest.mark.parametrize("way", ROUTES)
@pytest.mark.parametrize("at", NEW_DOORS, ids=str)
def test_no_route_is_a_way_around_a_policy_that_names_its_paths(new_world: World, at: Place, way: str, governed: bool) -> None:
    assert through(new_world.scene(at, governed), way) == ([] if governed else [ROUTES[way][2]])


@pytest.mark.parametrize("at", DOORS, ids=str)
def test_the_tools_of_routes_work(world: World, at: Place) -> None:
    only_reads(world.scene(at, GOVERNED))


@pytest.mark.parametrize("at", NEW_DOORS, ids=str)
def test_the_tools_of_routes_work_where_a_policy_names_its_paths(new_world: World, at: Place) -> None:
    only_reads(new_world.scene(at, GOVERNED))


def only_reads(scene: Scene) -> None:
    with Agent(scene) as agent:
        agent.call("read_note", '{"number":7}')
        agent.call("delete_note", '{"number":7}')
        listed = agent.ask("tools/list").body
    assert scene.ran() == [{"tool": "read_note", "number": 7}]
    assert b'"read_note"' in listed and b'"reset"' not in listed


REQUIRED = place("sdk1", {**allowing(), "identity": {"required": True}}, "required")


def test_who_is_turned_away_opens_no_stream_and_gets_an_answer(world: World) -> None:
    with Agent(world.scene(REQUIRED, GOVERNED), ("authorization", "Bearer a")) as agent:
        session = agent.session
        scene = world.scene(REQUIRED, GOVERNED)
        for method in ("GET", "DELETE"):
            answer = scene.send(f"{method} /mcp{EVENTS}\nmcp-session-id: {session}")
            assert answer.status == 401 and not answer.fault, answer
        agent.call("search")
    assert scene.ran("search"), "the session was ended by somebody else"


def test_control_streams_and_sessions_are_open_without_the_filter(world: World) -> None:
    scene = world.scene(REQUIRED, CONTROL)
    with Agent(scene) as agent:
        agent.listen()
        assert scene.send(f"DELETE /mcp{EVENTS}\nmcp-session-id: {agent.session}").status == 200


LOGIN = new_place("fastmcp login", {**allowing(delete_account={"action": "deny"}), "requests": {"pass": ["discovery", "oauth"]}}, "login")
CLOSED_LOGIN = new_place("fastmcp login", allowing(), "login is not named")
REDIRECT = "http://127.0.0.1:9/callback"
CHALLENGE = {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
METADATA = "/.well-known/oauth-authorization-server"


@both
def test_a_login_at_a_server_that_is_its_own_authorization_server(new_world: World, governed: bool) -> None:
    scene = new_world.scene(LOGIN, governed)
    with Agent(scene, ("authorization", f"Bearer {log_in(scene)}")) as agent:
        agent.call("search")
        agent.call("delete_account")
    assert [each["tool"] for each in scene.ran()] == ["search"] + ["delete_account"] * (not governed)


def test_a_login_needs_its_word(new_world: World) -> None:
    scene = new_world.scene(CLOSED_LOGIN, GOVERNED)
    assert scene.send(f"GET {METADATA}").status == 200
    assert register(scene).status >= 400


def register(scene: Scene) -> Response:
    client = {"redirect_uris": [REDIRECT], "client_name": "agent", "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"]}
    return scene.send(f"POST /register{JSON}", json.dumps(client).encode())


def log_in(scene: Scene) -> str:
    """An access token, by the steps of the protocol."""
    answer = scene.send(f"GET {METADATA}")
    assert answer.status == 200 and b"registration_endpoint" in answer.body, answer
    registered = register(scene)
    assert registered.status == 201, registered
    client = json.loads(registered.body)["client_id"]
    query = {"response_type": "code", "client_id": client, "redirect_uri": REDIRECT, "state": "s", **CHALLENGE}
    allowed = scene.send(f"GET /authorize?{urllib.parse.urlencode(query)}")
    assert allowed.status == 302, allowed
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(str(allowed.header("location"))).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": client, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
    token = scene.send("POST /token\ncontent-type: application/x-www-form-urlencoded", urllib.parse.urlencode(form).encode())
    assert token.status == 200, token
    return str(json.loads(token.body)["access_token"])


# --- 7. One place, one URI --------------------------------------------------------------------

KEYS: Policy = {
    **allowing(),
    "resources": {pattern: {"action": "deny"} for pattern in ["memo://keys/*", "db://prod:5432/*", "https://api.test/keys/*"]},
}
# The two SDKs and fastmcp that read URIs as the WHATWG does.
READ_BY = {server: place(server, KEYS, "resources") for server in ["typescript", "sdk1", "fastmcp 3"]}
_MEMO = [
    "memo://keys/root",
    "memo://keys:/root",
    "MEMO://keys/root",
    "me\tmo://keys/root",
    "memo://k\neys/root",
    "memo://keys/ro\rot",
    " memo://keys/root",
    "memo://keys/root ",
    "\x01memo://keys/root",
    "memo://@keys/root",
    "memo://:@keys/root",
    "memo://keys/./root",
    "memo://keys/a/../root",
    "memo://keys/%2e/root",
    "memo://keys/x/%2E./root",
]
_DB = [
    "db://prod:5432/x",
    "db://prod:05432/x",
    "db://prod:000005432/x",
    "db://prod:5\t432/x",
    "db://:@prod:05432/x",
    "db://prod:5432/y/../x",
    "db://prod:5432/x\n",
]
# Only the server in TypeScript has this one.
_HTTPS = [
    "https://api.test/keys/root",
    "https://api.test:/keys/root",
    "https://api.test:0443/keys/root",
    "HTTPS://API.TEST/keys/root",
    "https:/api.test/keys/root",
    "https:api.test/keys/root",
    "https:////api.test/keys/root",
    "https:\\/api.test/keys/root",
    "https:\\\\api.test\\keys\\root",
    "https://api.test/x/..\\keys/root",
    "https://api.test/x/%2E%2e/keys/root",
    "https://api。test/keys/root",
    "https://ap\u00adi.test/keys/root",
    "https://ａpi.test/keys/root",
    "https://%61pi.test/keys/root",
    "https://@api.test/keys/root",
]
URIS = [(server, uri) for server in READ_BY for uri in [*_MEMO, *_DB, *(_HTTPS if server == "typescript" else [])]]


@both
@pytest.mark.parametrize(("server", "uri"), URIS, ids=[f"{server}, {ascii(uri)}" for server, uri in URIS])
def test_a_place_is_one_however_its_uri_is_spelled(world: World, server: str, uri: str, governed: bool) -> None:
    scene = world.scene(READ_BY[server], governed)
    with Agent(scene) as agent:
        agent.ask("resources/read", json.dumps({"uri": uri}))
        assert len(scene.ran("resource")) == (0 if governed else 1)


@pytest.mark.parametrize("server", READ_BY)
def test_other_places_can_be_read(world: World, server: str) -> None:
    scene = world.scene(READ_BY[server], GOVERNED)
    with Agent(scene) as agent:
        agent.ask("resources/read", '{"uri":"memo://public/a"}')
    assert len(scene.ran("resource")) == 1


# --- 8. RE2, as it says -----------------------------------------------------------------------

DIGITS = allowing(run={"require": [{"conditions": [{"path": "args.command", "op": "regex", "value": r"^\d+$"}]}]})
WORDS = allowing(run=denied_if("args.command", "regex", r"(?i)\bdrop\b"))
SPACES = allowing(run=denied_if("args.command", "regex", r"^\S+$"))
REGEX = {
    (server, about): place(server, policy, about)
    for server in ["sdk1", "sdk2"]
    for about, policy in [("digits", DIGITS), ("words", WORDS), ("spaces", SPACES)]
}
# What is run, and the policy that must not let it.
COMMANDS = {
    "Arabic digits": ("digits", "٣٤"),
    "full-width digits": ("digits", "１"),
    "after a letter of another script": ("words", "жdrop table users"),
    "before a letter of another script": ("words", "dropé table users"),
    "after a digit of another script": ("words", "٣DROP table users"),
    "white space of another script": ("spaces", "rm\u3000x"),
}


@both
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("server", ["sdk1", "sdk2"])
def test_classes_are_those_of_re2(world: World, server: str, command: str, governed: bool) -> None:
    about, text = COMMANDS[command]
    scene = world.scene(REGEX[server, about], governed)
    with Agent(scene) as agent:
        agent.call("run", json.dumps({"command": text}))
    assert scene.ran() == ([] if governed else [{"tool": "run", "command": text}])


@pytest.mark.parametrize("server", ["sdk1", "sdk2"])
def test_honest_commands_pass(world: World, server: str) -> None:
    for about, texts in {"digits": ["34", "0"], "words": ["select dropped from users", "raindrop"], "spaces": ["ls -l"]}.items():
        scene = world.scene(REGEX[server, about], GOVERNED)
        with Agent(scene) as agent:
            for text in texts:
                agent.call("run", json.dumps({"command": text}))
        assert [each["command"] for each in scene.ran()] == texts


# What the Rust crate reads otherwise than RE2, or not at all as its author means it.
NOT_RE2 = {
    "an intersection of classes": "[;&&|]",
    "a difference of classes": "[a-z--b]",
    "a symmetric difference": "[a-z~~b]",
    "a class within a class": "[a[b]]",
    "the start of a word": r"\<drop",
    "the end of a word": r"drop\>",
    "half a boundary": r"\b{start}drop",
}


@pytest.mark.parametrize("row", NOT_RE2)
def test_what_re2_reads_otherwise_is_refused_at_load(tmp_path: Path, row: str) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(allowing(run=denied_if("args.command", "regex", NOT_RE2[row])), indent=2))
    said = cli.run("validate", policy, expect=1)
    assert "deny_if[0].conditions[0].value" in said.stdout + said.stderr and "help: " in said.stdout + said.stderr


def test_a_class_with_escapes_means_what_it_says(tmp_path: Path, world: World) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(SHELL))
    cli.run("validate", policy)
    scene = world.scene(SHELLED, GOVERNED)
    with Agent(scene) as agent:
        for text in ("a;b", "a&b", "a|b", "a"):
            agent.call("run", json.dumps({"command": text}))
    assert [each["command"] for each in scene.ran()] == ["a"]


SHELL = allowing(run=denied_if("args.command", "regex", r"[;&|]"))
SHELLED = place("sdk1", SHELL, "shell")


# --- 9. Work per request ----------------------------------------------------------------------

# How long they take is for tests/bench/work.py.
WORKED = {name: place("sdk1 long list", workload.policy, f"work: {name}") for name, workload in WORKLOADS.items()}


@pytest.mark.parametrize("name", WORKLOADS)
def test_long_requests_are_answered(world: World, name: str) -> None:
    scene = world.scene(WORKED[name], GOVERNED)
    with Agent(scene) as agent:
        answer = agent.post(WORKLOADS[name].body.decode()).receive()
        assert answer.status and not answer.fault, answer
        assert WORKLOADS[name].passes in (None, bool(scene.ran("run")))
        agent.call("search")
    assert scene.ran("search")


# --- 10. Invented credentials -----------------------------------------------------------------

CROWD = 400
SMALL: Policy = {**ONCE, "counters": {"max_entries": 64}}
REFUSED_BY_SERVER = place("sdk1 guarded", SMALL, "invented tokens")
NOBODY_CHECKS = place("sdk1 long list", SMALL, "nobody checks tokens")
ADDRESS = {"counter": "each address", "window": "day", "max": 30, "scope": "address"}
ADDRESSED = new_place("sdk1 long list", {**ONCE, "all_tools": {"limits": [ADDRESS]}}, "addresses")
ELSEWHERE = "127.0.0.2"


def crowd(scene: Scene, count: int = CROWD) -> None:
    """Calls with as many invented tokens, on one connection."""
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params("search")}}}'
    with H1(scene.port) as connection:
        for number in range(count):
            fields = [("host", f"localhost:{scene.port}"), ("authorization", f"Bearer invented-{number}")]
            connection.send(post_bytes(body, fields))
            answer = connection.receive()
            assert not answer.fault, answer


def calls_left(scene: Scene, token: str, source: str = "127.0.0.1") -> int:
    """How many calls this caller gets."""
    before = len(scene.ran("search"))
    for _ in range(MAX + 1):
        call_as(scene, f"Bearer {token}", source=source)
    return len(scene.ran("search")) - before


def test_tokens_that_the_server_refuses_leave_no_trace(world: World) -> None:
    scene = world.scene(REFUSED_BY_SERVER, GOVERNED)
    crowd(scene)
    assert not scene.ran()
    assert calls_left(scene, "honest-1") == MAX
    assert calls_left(scene, "honest-2", ELSEWHERE) == MAX
    crowd(scene)
    assert calls_left(scene, "honest-1") == 0


def test_invented_tokens_take_nothing_from_others(world: World) -> None:
    scene = world.scene(NOBODY_CHECKS, GOVERNED)
    call_as(scene, "Bearer known", source=ELSEWHERE)
    crowd(scene)
    assert calls_left(scene, "known", ELSEWHERE) == MAX - 1
    assert calls_left(scene, "newcomer", "127.0.0.3") == MAX


@both
def test_an_address_bounds_whom_its_tokens_do_not(new_world: World, governed: bool) -> None:
    scene = new_world.scene(ADDRESSED, governed)
    crowd(scene, 100)
    assert len(scene.ran("search")) == (30 if governed else 100)
    assert calls_left(scene, "elsewhere", ELSEWHERE) == (MAX if governed else MAX + 1)
