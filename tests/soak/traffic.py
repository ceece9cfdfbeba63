"""Who calls while Envoy is soaked: each actor is a thread that does one thing over and over, and says at once where a promise is broken."""

from __future__ import annotations

import email.utils
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from attempts import Attempt
from client import H1, Response, post_bytes
from gateway import call
from house import COUNTED, MAX, REFUNDED_MAX, TICK_SECONDS, TICKS, House, bad, policy
from judge import fault
from server import CROWD, LIARS, SECRET, Server
from storm import request, storm
from upstream import RAN, Upstream

# Honest callers have one address, made-up ones another: each may fill half of a table.
HONEST, MADE_UP = "127.0.0.2", "127.0.0.3"
REACHED, CROWDED = b'"reason":"limit_reached"', b'"reason":"too_many_callers"'
LISTING = '{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
# Of a caller's calls, those beyond his limit.
MORE = 6
# Policies of the corpus with limits so small that a second round would meet them.
ONCE_ONLY = {"spending"}


class Broken(Exception):
    """A promise does not hold; the text says which."""


@dataclass
class Expectations:
    """What must hold. `--prove` breaks one after the other, and each must be noticed."""

    max: int = MAX
    refunded: int = REFUNDED_MAX
    growth_kib: int = 64 * 1024
    patience: float = 30.0
    secret: bytes = SECRET.encode()
    hangs: bool = False
    leaves_open: bool = False
    takes_bad_policies: bool = False
    traps: bool = False
    corpus: bool = True
    lost_in_crowd: int = 0


@dataclass
class Crew:
    """All actors of one life of Envoy, and what they have seen."""

    house: House
    server: Server
    attempted: Upstream
    attempts: list[Attempt]
    expected: Expectations
    crowd_each_second: int
    update_seconds: float
    version: Iterator[int]
    life: int
    moves_clock: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _threads: list[threading.Thread] = field(default_factory=list)
    _used_up: list[tuple[str, str, str]] = field(default_factory=list)
    _left_open: list[H1] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Sets all of them going."""
        acts: list[tuple[Callable[[], None], float]] = [
            (self.counted, 0.15),
            (self.counted, 0.15),
            (self.refunded, 0.5),
            (self.ticking, 0.1),
            (self.hostile, 0.0),
            (self.lied_to, 0.05),
            (self.listing, 0.05),
            (self.leaving, 0.3),
            (self.crowd, 1.0),
            (self.updating, self.update_seconds),
        ]
        if self.moves_clock:
            acts.append((self.setting_the_clock, 7.0))
        for act, pause in acts:
            thread = threading.Thread(target=self._over_and_over, args=(act, pause), daemon=True, name=act.__name__)
            self._threads.append(thread)
            thread.start()

    def _over_and_over(self, act: Callable[[], None], pause: float) -> None:
        # The pause is the traffic's pace, and waits for nothing.
        while not self.stop.wait(pause):
            try:
                act()
            except Exception as error:  # noqa: BLE001 - whatever an actor meets is a finding
                self.faults.append(f"{act.__name__}: {type(error).__name__}: {error}")
                return

    def finish(self) -> None:
        """Lets all of them end what they are at."""
        self.stop.set()
        for thread in self._threads:
            thread.join(self.expected.patience + 60)
            if thread.is_alive():
                self.faults.append(f"{thread.name}: hangs")

    # --- Calls --------------------------------------------------------------------------------

    def ask(self, listener: str, body: str, credential: str = "", *, path: str = "/mcp", source: str = HONEST) -> Response:
        """One request, on a connection of its own, that is answered in bounded time."""
        fields = [("authorization", credential)] if credential else []
        began = time.monotonic()
        with H1(self.house.port(listener), self.expected.patience, source) as connection:
            connection.send(post_bytes(body, fields, path=path))
            response = connection.receive()
        taken = time.monotonic() - began
        with self._lock:
            self.slowest = max(self.slowest, taken)
            self.seen["requests"] += 1
        if response.hung:
            raise Broken(f"hung stream: no answer within {self.expected.patience} s on {listener}{path}: {body[:200]}")
        return response

    def runs(self, listener: str, tool: str, credential: str, arguments: str = "{}") -> bool:
        """Whether an honest call ran; else its limit was reached, and nothing else can be."""
        response = self.ask(listener, call(tool, arguments), credential)
        if response.fault or response.status != 200 or not (RAN in response.body or REACHED in response.body):
            raise Broken(f"an honest call of {tool} on {listener} got neither answer nor limit: {response}")
        return RAN in response.body

    def _need(self, condition: bool, text: str) -> None:
        if not condition:
            raise Broken(text)

    # --- The actors ---------------------------------------------------------------------------

    _numbers = itertools.count()

    def counted(self) -> None:
        """A new caller uses up a limit, from four connections and over two listeners at once; then there is nothing left, now and later."""
        tool, credential = random.choice(COUNTED), f"Bearer honest-{self.life}-{next(self._numbers)}"
        listeners = ["third"] * (MAX + MORE) if random.random() < 0.2 else ["first", "second"] * ((MAX + MORE) // 2)
        with ThreadPoolExecutor(4) as pool:
            ran = sum(pool.map(lambda listener: self.runs(listener, tool, credential), listeners))
        self._check_count(tool, credential, ran)
        self._used_up.append((listeners[0], tool, credential))
        # One of long ago: no update and no clock has given him anything back.
        listener, tool, credential = random.choice(self._used_up)
        ran = self.expected.max + self.runs(listener, tool, credential)
        self._check_count(tool, credential, ran)
        self.seen["counted callers"] += 1

    def _check_count(self, tool: str, credential: str, ran: int) -> None:
        came = self.server.calls(credential, tool)
        self._need(
            ran == came == self.expected.max,
            f"lost or doubled count: {credential} had {ran} answers, {came} calls of {tool} came, the limit is {self.expected.max}",
        )

    def refunded(self) -> None:
        """Calls that fail at the server are given back, and exactly those."""
        credential, done = f"Bearer refunded-{self.life}-{next(self._numbers)}", 0
        while True:
            fails = random.random() < 0.5
            response = self.ask("first", call("refunded", '{"fail":true}' if fails else "{}"), credential)
            if REACHED in response.body:
                break
            self._need(b"failed" in response.body if fails else RAN in response.body, f"refunded: {response}")
            done += not fails
        self._need(done == self.expected.refunded, f"{done} successes, not {self.expected.refunded}")
        self.seen["refunded callers"] += 1

    def ticking(self) -> None:
        """A caller who is always at his limit: told when there is more, he gets it then."""
        response = self.ask("second", call("tick"), f"Bearer ticking-{self.life}")
        if RAN in response.body:
            self.seen["ticks"] += 1
            self._need(self.seen["ticks"] <= self.most_ticks(), f"{self.seen['ticks']} of at most {self.most_ticks()} ticks")
            return
        self._need(REACHED in response.body, f"ticking: {response}")
        data = json.loads(response.body)["error"]["data"]
        self._need("retryAfterMs" in data, f"ticking: no word of when: {response}")
        wait = data["retryAfterMs"] / 1000
        self._need(0 < wait <= TICK_SECONDS, f"a limit of {TICK_SECONDS} s that is reached for {wait} s")
        if not self.stop.wait(wait + 0.2):
            self._need(self.runs("second", "tick", f"Bearer ticking-{self.life}"), "nothing came back after retryAfterMs")
            self.seen["ticks"] += 1

    def most_ticks(self) -> int:
        """What windows can have admitted until now; a clock that is set may begin two of them early, at most once an hour."""
        passed = time.monotonic() - self.began
        steps = 2 * (1 + int(passed // 3600)) if self.moves_clock else 0
        return TICKS * (2 + int(passed // TICK_SECONDS) + steps)

    def hostile(self) -> None:
        """All attempts to get past a policy, one after the other: each is answered as its row says, and nothing of it arrives."""
        for attempt in self.attempts:
            if self.stop.wait(0.03):
                return
            before = self.attempted.count()
            sent = attempt.request.send(attempt.over, self.house.port(f"{attempt.policy}/{attempt.listener}"))
            self.attempted.settle()
            wrong = fault(attempt, sent, self.attempted.arrivals(before))
            self._need(not wrong or not self.expected.corpus and "reason" not in wrong, f"{attempt}: {wrong}")
            self.seen["attempts"] += 1
        self.attempted.forget()
        self.seen["rounds of the corpus"] += 1

    def lied_to(self) -> None:
        """Whatever a server does, its answer ends in bounded time, and tells nothing hidden."""
        liar = random.choice(list(LIARS))
        body = random.choice([LISTING, call("free"), call("denied")])
        response = self.ask(random.choice(self.house.LISTENERS), body, f"Bearer lied-to-{self.life}", path=f"/lie/{liar}")
        self._need(self.expected.secret not in response.body, f"/lie/{liar} tells what is hidden: {response}")
        self.seen["answers of a faulty server"] += 1

    def listing(self) -> None:
        """An honest list comes whole, without what is hidden."""
        listener = random.choice(self.house.LISTENERS)
        path = "/never" if self.expected.hangs else "/mcp"
        response = self.ask(listener, LISTING, path=path)
        names = [tool["name"] for tool in json.loads(response.body)["result"]["tools"]]
        self._need(names == ["fixed"] and self.expected.secret not in response.body, f"a list on {listener}: {response}")
        self.seen["lists"] += 1

    def leaving(self) -> None:
        """Callers who leave: within their headers, within their body, before the answer, within it."""
        whole = post_bytes(call("free"), path=random.choice(["/never", "/lie/drip", "/lie/slow", "/lie/large"]))
        end = random.choice([40, whole.index(b"\r\n\r\n") + 10, len(whole), len(whole), len(whole)])
        connection = H1(self.house.port(random.choice(self.house.LISTENERS)), self.expected.patience, HONEST)
        connection.send(whole[:end])
        if end == len(whole) and b"/lie/drip" in whole:
            connection.head(Response())
        if self.expected.leaves_open:
            self._left_open.append(connection)
            return
        connection.close()
        self.seen["callers who left"] += 1

    def crowd(self) -> None:
        """Made-up callers, each new: as many run as there is room for, and every one that ran was counted once."""
        if not self.crowd_each_second:
            return
        body, share = call("crowd").encode(), max(1, self.crowd_each_second // 16)

        def requests() -> Iterator[bytes]:
            return (request(body, (b"authorization", b"%b-%d-%d" % (CROWD, self.life, next(self._numbers)))) for _ in range(share))

        came = self.server.crowd()
        answers, ran, crowded = storm(
            self.house.port("first"), [requests() for _ in range(16)], [RAN, CROWDED], self.expected.patience * 4, MADE_UP
        )
        came = self.server.crowd() - came + self.expected.lost_in_crowd
        self._need(answers == ran + crowded and ran == came, f"a crowd of {answers}: {ran} ran, {crowded} had no room, {came} came")
        self.seen["made-up callers"] += answers
        self.seen["made-up callers with room"] += ran
        entries, had_room = self.house.entries, self.seen["made-up callers with room"]
        self._need(had_room <= 2 * entries, "more made-up callers than there is room for")
        if self.seen["made-up callers"] > 2 * entries:
            self._need(had_room >= entries, "less room than `max_entries` promises")

    def updating(self) -> None:
        """A new policy for one listener after the other. Its own tool says that it is in force; a bad one changes nothing."""
        version = next(self.version)
        listener = self.house.LISTENERS[version % 3]
        entries = self.house.entries
        if version % 5 == 4:
            taken = self.house.update(listener, bad(version, entries))
            self._need(taken == self.expected.takes_bad_policies, f"a bad policy for {listener}: taken is {taken}")
            self.seen["bad policies"] += 1
            return
        self._need(self.house.update(listener, policy(version, entries)), f"a good policy for {listener} is refused")
        deadline = time.monotonic() + self.expected.patience
        while RAN not in self.ask(listener, call(f"only_{version}"), "Bearer updating").body:
            self._need(time.monotonic() < deadline, f"{listener} does not follow policy {version}")
        self.seen["policies"] += 1

    def setting_the_clock(self) -> None:
        """Sets Envoy's wall clock forward or back."""
        wrong = random.choice([0, 1, -1, 30, -30, 60, -60, 90, -90])
        self.house.clock.set(wrong)
        deadline = time.monotonic() + self.expected.patience
        while abs(self._envoys_time() - time.time() - wrong) > 5:
            self._need(time.monotonic() < deadline, f"Envoy's clock does not go wrong by {wrong} s")
        self.seen["steps of the clock"] += 1


    def _envoys_time(self) -> float:
        """The time that Envoy writes into its answers."""
        date = self.ask("first", call("denied")).header("date")
        return email.utils.parsedate_to_datetime(date or "").timestamp()


class Attempted(Upstream):
    """The server of the attempts. It keeps all that comes until it is told to forget."""

    def forget(self) -> None:
        """Starts anew."""
        with self._changed:
            self._arrivals.clear()


def repeatable(attempts: list[Attempt]) -> list[Attempt]:
    """The rows that come out alike each time."""
    return [each for each in attempts if each.policy not in ONCE_ONLY]
