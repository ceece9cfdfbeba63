"""One life of the soaked Envoy: its listeners, its policies and their updates, its clock, and what must be so at its end."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rig

import dynamic
from attempts import Corpus
from fleet import TRAPS, VARIANTS, Change, Fleet, Listener, Policy, assert_healthy, held, silent, to_server
from gateway import until
from upstream import Upstream

WORKERS = 4
WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
# The counted calls of a caller: the same number under each algorithm, in windows that outlast the run.
MAX = 20
COUNTED = ("fixed", "sliding", "bucket")
REFUNDED_MAX = 5
TICKS, TICK_SECONDS = 10, 10


def policy(version: int, entries: int) -> Policy:
    """The policy under soak. Each version has a tool that no other one has, and rules before others; its limits stay the same."""
    month: dict[str, Any] = {"window": "month", "max": MAX}
    tools: dict[str, Any] = {
        f"only_{version}": {},
        f"other_{version % 7}_*": {"deny_if": [{"conditions": [{"path": "args.q", "op": "regex", "value": f"(?i)drop {version}"}]}]},
        "fixed": {"limits": [{"counter": "fixed", **month}]},
        "sliding": {"limits": [{"counter": "sliding", **month, "algorithm": "sliding"}]},
        "bucket": {"limits": [{"counter": "bucket", "window": "8784h", "max": MAX, "algorithm": "bucket"}]},
        "refunded": {"limits": [{"counter": "refunded", "window": "month", "max": REFUNDED_MAX, "count": "successes"}]},
        "tick": {"limits": [{"counter": "ticks", "window": f"{TICK_SECONDS}s", "max": TICKS}]},
        "crowd": {"limits": [{"counter": "crowd", "window": "month", "max": 5}]},
        "free": {},
        "denied": {"action": "deny"},
    }
    if version % 2:
        tools = dict(reversed(tools.items()))
    whole = {"version": "1", "description": f"version {version}", "default": "deny", "hide": ["secret_*"], "tools": tools}
    return held({**whole, "counters": {"max_entries": entries}})


def bad(version: int, entries: int) -> str:
    """What must never come into force."""
    return json.dumps({**policy(version, entries), "tools": {f"only_{version}": {"actoin": "deny"}}})


class Clock:
    """The wall clock of the soaked Envoy, which can be set where a C compiler is at hand."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self._file.write_bytes(struct.pack("=q", 0))
        self._library = directory / "clock.so"
        self.works = shutil.which("cc") is not None
        if self.works:
            source = Path(__file__).with_name("clock.c")
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)

    def set(self, seconds: int) -> None:
        """Makes it go wrong by so much."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as mapped:
            mapped[:] = struct.pack("=q", seconds)

    @contextmanager
    def preloaded(self) -> Iterator[None]:
        """What is started meanwhile has this clock."""
        if not self.works:
            yield
            return
        os.environ.update(LD_PRELOAD=str(self._library), SOAK_CLOCK=str(self._file))
        try:
            yield
        finally:
            del os.environ["LD_PRELOAD"], os.environ["SOAK_CLOCK"]


class House:
    """Three listeners under one `vm_id`, and one for each policy of the corpus of attempts.

    `first` and `second` are filters of one name, and share their counts; `third` has another name, and counts for itself. The first two
    get new policies as extensions (ECDS), the third with its whole listener (LDS).
    """

    LISTENERS = ("first", "second", "third")

    def __init__(self, server: Upstream, attempted: Upstream, corpus: Corpus, entries: int) -> None:
        # `counters.max_entries`: what one address may fill with made-up callers, and at most twice as many.
        self.entries = entries
        self._kept = tempfile.TemporaryDirectory(prefix="mcp-policy-soak-")
        self.directory = Path(self._kept.name)
        self.clock = Clock(self.directory)
        self._extensions: dict[str, rig.Config] = {}
        self._written = 0
        self._read = 0
        self.envoy: rig.Envoy
        self.fleet = Fleet(server.port)
        # The servers run in our own process, whose sockets must stay few.
        thresholds = {"max_connections": 200, "max_pending_requests": 100_000, "max_requests": 100_000}
        rig.cluster(self.fleet.config)["circuit_breakers"] = {"thresholds": [thresholds]}
        self.fleet.add("sentinel", Listener(None))
        for name in ("first", "second"):
            self.fleet.add(name, Listener(policy(0, entries), silent, self._named("shared"), self._delivered(name)))
        for wanted, variant in sorted({(each.policy, each.listener) for each in corpus.attempts}):
            to_own = to_server("attempted", attempted.port)
            changes = [*VARIANTS[variant], silent, to_own]
            self.fleet.add(f"{wanted}/{variant}", Listener(held(corpus.policies[wanted]), *changes))
        clusters = self.fleet.config["static_resources"]["clusters"]
        self.fleet.config["static_resources"]["clusters"] = list({each["name"]: each for each in clusters}.values())
        (self.directory / "third").mkdir()
        source = {"path": str(self._file("third")), "watched_directory": {"path": str(self._file("third").parent)}}
        lds = {"path_config_source": source, "resource_api_version": "V3"}
        self.fleet.config["dynamic_resources"] = {"lds_config": lds}
        self.fleet.config["node"] = {"id": "soak", "cluster": "soak"}
        self._offer_listener(policy(0, entries))

    def port(self, listener: str) -> int:
        """Where a listener listens."""
        return self.fleet.port(listener)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Runs Envoy, and checks at the end that it and every filter VM lived through it all."""
        # What drains keeps its policy in memory until this time is over.
        envoy = rig.Envoy(self.fleet.config, concurrency=WORKERS, args=["--drain-time-s", "30"])
        with self.clock.preloaded():
            envoy.__enter__()
        self.envoy = envoy
        self._read = 0
        try:
            yield
            assert_healthy(envoy)
        finally:
            envoy.stop()

    # --- Updates ------------------------------------------------------------------------------

    def _named(self, name: str) -> Change:
        def change(config: rig.Config) -> None:
            rig.plugin(config)["name"] = name

        return change

    def _delivered(self, listener: str) -> Change:
        """Takes the filter's configuration out of the listener, into a file of its own."""

        def change(config: rig.Config) -> None:
            filters = rig.hcm(config)["http_filters"]
            at = next(at for at, each in enumerate(filters) if each["name"] == "mcp_policy")
            self._extensions[listener] = filters[at]["typed_config"]
            # A folder of its own: whatever moves into a watched one makes Envoy read its file anew.
            (self.directory / listener).mkdir()
            self._write_extension(listener)
            source = {"path": str(self._file(listener)), "watched_directory": {"path": str(self._file(listener).parent)}}
            discovery = {"path_config_source": source, "resource_api_version": "V3"}
            filters[at] = {"name": listener, "config_discovery": {"config_source": discovery, "type_urls": [WASM]}}

        return change

    def _file(self, listener: str) -> Path:
        return self.directory / listener / "now.json"

    def _write_extension(self, listener: str) -> None:
        file = self._file(listener)
        resource = {"@type": EXTENSION, "name": listener, "typed_config": self._extensions[listener]}
        self._written += 1
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"version_info": str(self._written), "resources": [resource]}))
        os.replace(new, file)

    def _offer_listener(self, wanted: Policy | str) -> None:
        self._written += 1
        listener = self.fleet.listener("third", Listener(wanted, silent))
        dynamic.write(self._file("third"), self._written, listener)

    def update(self, listener: str, wanted: Policy | str) -> bool:
        """Offers a policy, and returns whether Envoy took it."""
        before = self._updates(listener)
        if listener == "third":
            self._offer_listener(wanted)
        else:
            text = wanted if isinstance(wanted, str) else json.dumps(wanted)
            self._extensions[listener]["config"]["configuration"]["value"] = text
            self._write_extension(listener)
        until(lambda: self._updates(listener) != before, f"an update of {listener}", 60)
        return self._updates(listener)[0] > before[0]

    def _updates(self, listener: str) -> tuple[int, int]:
        """How many updates were taken, and how many refused."""
        start = r"listener_manager\.lds" if listener == "third" else rf"extension_config_discovery\.http_filter\.{listener}"
        stats = self.envoy.stats(rf"^{start}\.update_(success|rejected)$")
        counts = {name.rsplit(".", 1)[1]: count for name, count in stats.items()}
        return counts["update_success"], counts["update_rejected"]

    # --- What is watched ----------------------------------------------------------------------

    def traps(self) -> list[str]:
        """Lines about traps that came into the log since the last look."""
        with self.envoy.stderr_path.open(errors="replace") as log:
            log.seek(self._read)
            lines = log.readlines()
            self._read = log.tell()
        return [line for line in lines if TRAPS.search(line)]

    def open_streams(self) -> dict[str, int]:
        """Requests that Envoy still works on, but for our own look."""
        stats = self.envoy.stats(r"^(http\..*\.downstream_rq_active|cluster\..*\.upstream_rq_active)$")
        return {name: count for name, count in stats.items() if count and not name.startswith("http.admin.")}
