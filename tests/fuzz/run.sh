#!/usr/bin/env bash
# Runs every target, or those that are named, for SECONDS_EACH (60), each from its seeds and what earlier runs found.
# The flags are those that cargo-fuzz gives a nightly compiler; as -Cpasses and -Cllvm-args a stable one takes them too. No sanitizer: the
# library has no unsafe code on this target.
set -euo pipefail
cd "$(dirname "$0")"
build=../../target/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
cargo build --quiet --release --target x86_64-unknown-linux-gnu --target-dir "$build"
[ $# -gt 0 ] || set -- json request response policy uri identity table approver service
for target in "$@"; do
  mkdir -p "$build/corpus/$target" "$build/found/$target"
  echo "== $target, ${SECONDS_EACH:=60} s"
  FUZZ_TARGET=$target "$build/x86_64-unknown-linux-gnu/release/mcp-policy-fuzz" "$build/corpus/$target" "seeds/$target" \
    -max_total_time="$SECONDS_EACH" -artifact_prefix="$build/found/$target/" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 2>&1 \
    | grep -E "^(#[0-9]+.*(DONE|INITED)|stat::number_of_executed_units|==.*ERROR|thread|Test unit|.*panicked|  (left|right):)" || true
  [ -z "$(ls "$build/found/$target")" ] || { echo "found: target/fuzz/found/$target" >&2; exit 1; }
done
