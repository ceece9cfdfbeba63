#!/usr/bin/env bash
# Builds what a release is made of, so that the bytes depend on the source and the toolchain alone:
#
#     .ci/dist/build.sh wasm            target/wasm32-wasip1/release/mcp_policy.wasm
#     .ci/dist/build.sh counting        target/counting/wasm32-wasip1/release/mcp_policy.wasm, the filter that `make profile` records with
#     .ci/dist/build.sh TARGET          target/TARGET/release/mcp-policy
#
# The filter is optimised by a profile (PGO): filter.profdata says how often each part of the code runs in usual calls. `make profile` records it.
# It saves a seventh of what the filter adds to a call. Code that was changed since is compiled without it.
#
# Paths of this machine are written as /mcp-policy (the source) and /cargo (crates).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo_home=${CARGO_HOME:-$HOME/.cargo}
prefixes=("$PWD=/mcp-policy" "$cargo_home=/cargo")
flags=()
for prefix in "${prefixes[@]}"; do
    flags+=("--remap-path-prefix=$prefix")
done
case ${1-} in
wasm) flags+=("-Cprofile-use=$PWD/.ci/dist/filter.profdata" -Cllvm-args=-no-pgo-warn-mismatch) ;;
# This flag of the compiler is not stable: there is no runtime for counts in WASI, and none is needed.
counting) flags+=(-Cprofile-generate -Zno-profiler-runtime) && export RUSTC_BOOTSTRAP=1 MCP_POLICY_COUNTS=1 ;;
esac
case ${1-} in
# Counts go by symbols, which have to be the same in both; where functions and sizes lead is not counted.
wasm | counting) flags+=(-Csymbol-mangling-version=v0 -Cllvm-args=-disable-vp) ;;
esac
# Encoded, so that a path may have a blank in it.
separator=$'\x1f'
encoded=$(IFS=$separator; echo "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS=$encoded CARGO_INCREMENTAL=0

case ${1-} in
wasm | counting)
    export CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
    export CARGO_TARGET_WASM32_WASIP1_LINKER=$PWD/.ci/dist/wasm-ld
    folder=${CARGO_TARGET_DIR:-target}
    [ "$1" = wasm ] || folder+=/counting
    cargo rustc --locked --lib --release --target wasm32-wasip1 --target-dir "$folder" --crate-type cdylib
    ;;
*-linux-musl)
    [ -d "$(rustc --print target-libdir --target "$1")" ] || rustup target add "$1"
    # The C in it, for TLS, needs no C library: any compiler for this processor will do, also one for glibc.
    name=${1//-/_}
    arch=${1%%-*}
    compiler=CC_$name
    if [ -z "${!compiler-}" ]; then
        [ "$arch" = "$(uname -m)" ] && export "$compiler=cc" || export "$compiler=$arch-linux-gnu-gcc"
    fi
    c_flags="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=0 -fno-stack-protector"
    for prefix in "${prefixes[@]}"; do
        c_flags+=" $(printf '%q' "-ffile-prefix-map=$prefix")"
    done
    # The flags are read as a shell reads them, so that a path may have a blank in it here too.
    export CC_SHELL_ESCAPED_FLAGS=1
    export "CFLAGS_$name=$c_flags"
    # Rust brings the linker's start files and musl itself.
    export "CARGO_TARGET_${name^^}_LINKER=rust-lld"
    cargo build --locked --release --bin mcp-policy --target "$1"
    ;;
*-apple-darwin | *-windows-msvc)
    rustup target add "$1"
    cargo build --locked --release --bin mcp-policy --target "$1"
    ;;
*)
    echo "usage: .ci/dist/build.sh wasm | counting | TARGET" >&2
    exit 2
    ;;
esac
