#!/usr/bin/env bash
# Fetches what the demo and the end-to-end tests need into .tools/, without root:
#
#     envoy/tools.sh venv          a Python environment with Envoy, the MCP SDK and an MCP server
#     envoy/tools.sh prometheus    Prometheus from Debian's package, unless it is on PATH
#
# What is there already is left alone; what was interrupted half-way is made anew.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
requirements=$root/tests/e2e/requirements.txt

fail() {
    printf 'tools.sh: %s\n' "$@" >&2
    exit 1
}

# Two runs at once must not build over each other. Without flock (macOS) they are not kept apart.
lock() {
    mkdir -p "$tools"
    exec 9>"$tools/.lock"
    ! command -v flock >/dev/null || flock 9
}

make_venv() {
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "$python is not on PATH: install Python 3.10 or newer, or set \$PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$("$python" --version) is too old: Python 3.10 or newer is needed; set \$PYTHON to one"

    # Scripts in a venv hold its path, so it is built where it stays. The link to it is set at the end:
    # it points at a finished environment of these very requirements, or it is not there.
    local built
    built=$tools/venv-$("$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest()[:12])' "$requirements")
    if [ "$tools/venv" -ef "$built" ] && "$built/bin/python" -c '' 2>/dev/null; then
        return
    fi
    echo "tools.sh: making .tools/venv (about 250 MB, a minute or two)"
    rm -rf "$tools"/venv "$tools"/venv-*
    "$python" -m venv "$built" ||
        fail "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
    "$built/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" ||
        fail "pip could not install $requirements (see above); is the package index reachable?"
    ln -s "$(basename "$built")" "$tools/venv"
}

fetch_prometheus() {
    if type -P prometheus >/dev/null || [ -x "$tools/prometheus/usr/bin/prometheus" ]; then
        return
    fi
    local by_hand="put a prometheus on PATH (https://prometheus.io/download) and try again"
    local tool
    for tool in apt-get dpkg-deb; do
        command -v $tool >/dev/null || fail "no prometheus on PATH, and no $tool to fetch Debian's package with" "$by_hand"
    done
    echo "tools.sh: unpacking Debian's prometheus package into .tools/prometheus"
    local work=$tools/prometheus.new
    rm -rf "$work" "$tools/prometheus"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
    # The machine's own package lists may be missing or stale, and only root may renew them: so these
    # are lists of our own, from the machine's own sources.
    local apt=(apt-get -q -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o APT::Sandbox::User= -o APT::Update::Post-Invoke::= -o Acquire::Retries=2 -o Acquire::Languages=none)
    "${apt[@]}" update >"$work/log" 2>&1 || true # One unreachable source among several is no reason to stop.
    (cd "$work" && "${apt[@]}" download prometheus) >>"$work/log" 2>&1 || {
        tail -n 12 "$work/log" >&2
        fail "apt-get could not download Debian's prometheus package (see above)" "$by_hand"
    }
    dpkg-deb -x "$work"/prometheus_*.deb "$work/root" || fail "the downloaded package cannot be unpacked" "$by_hand"
    "$work/root/usr/bin/prometheus" --version >/dev/null 2>&1 ||
        fail "Debian's prometheus does not run on this machine" "$by_hand"
    mv "$work/root" "$tools/prometheus"
    rm -rf "$work"
}

case ${1-} in
venv)
    lock
    make_venv
    ;;
prometheus)
    lock
    fetch_prometheus
    ;;
*) fail "usage: envoy/tools.sh venv | prometheus" ;;
esac
