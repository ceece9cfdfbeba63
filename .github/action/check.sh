#!/usr/bin/env bash
# What action.yml runs: validates, tests, and compares pinned tools. Everything is run, and then it fails if anything did.
set -uo pipefail

policies=()
while IFS= read -r line; do
    line=${line#"${line%%[![:space:]]*}"}
    line=${line%"${line##*[![:space:]]}"}
    [ -z "$line" ] || policies+=("$line")
done <<<"$POLICIES"
[ ${#policies[@]} -gt 0 ] || { echo "action.yml: \`policies\` names nothing" >&2; exit 2; }

worst=0
step() { # TITLE COMMAND...
    local title=$1 code=0 outcome=passed
    shift
    echo "::group::$title"
    # Whatever a policy has in it is no command to the runner.
    local token
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "::stop-commands::$token"
    "$@" || code=$?
    echo "::$token::"
    echo "::endgroup::"
    [ "$code" = 0 ] || outcome="failed ($code)"
    [ -z "${GITHUB_STEP_SUMMARY-}" ] || echo "- $title: $outcome" >>"$GITHUB_STEP_SUMMARY"
    [ "$code" -le "$worst" ] || worst=$code
}

validate=(mcp-policy validate --sarif "$SARIF")
[ "$DENY_WARNINGS" != true ] || validate+=(--deny-warnings)
step validate "${validate[@]}" -- "${policies[@]}"
step test mcp-policy test --require-coverage "$REQUIRE_COVERAGE" -- "${policies[@]}"
if [ -n "$DIFF_POLICY" ]; then
    step diff mcp-policy diff "$DIFF_POLICY" --server "$DIFF_SERVER"
fi
[ -z "${GITHUB_OUTPUT-}" ] || echo "sarif=$SARIF" >>"$GITHUB_OUTPUT"
exit "$worst"
