#!/bin/sh
# All tests of the workspace. Up to two that fail are run once more, by themselves: so that a machine that stood still for a
# moment costs no half hour, while a fault of the code fails twice. Each of them is named, with its first output, in the
# output and in the last line of `make test`. RETRIES=0: none is run again.
set -eu
cd "$(dirname "$0")/../.."
log=target/workspace-tests.log
mkdir -p target
: >target/tests-run-again

status=$(mktemp)
trap 'rm -f "$status"' EXIT
{
    code=0
    cargo test --workspace --no-fail-fast 2>&1 || code=$?
    echo "$code" >"$status"
} | tee "$log"
[ "$(cat "$status")" != 0 ] || exit 0

# The names below the second "failures:" of each test program, and what cargo says to run of each.
failed=$(awk '/^failures:$/ { inside = 1; next } inside && /^    [^ ]+$/ { print $1; next } /^[^ ]/ { inside = 0 }' "$log" | sort -u)
# shellcheck disable=SC2016 # backticks of cargo's
targets=$(sed -n 's/^    `\(-p .*\)`$/\1/p' "$log")
count=$(echo "$failed" | grep -c . || true)
if [ "$count" = 0 ] || [ "$count" -gt "${RETRIES:-2}" ]; then
    echo "$count tests failed" >&2
    exit 1
fi
echo "$targets" | while read -r target; do
    echo "== once more, by themselves: $target: $(echo "$failed" | tr '\n' ' ')"
    # shellcheck disable=SC2086 # words on purpose
    cargo test $target -- --exact $failed </dev/null | tee "$log.again"
    # A program that ended without naming a test has not passed; nor has cargo where `tee` did.
    grep -q '^test result: ok\. [1-9]' "$log.again"
done
echo "$failed" | tee target/tests-run-again | sed 's/^/passed when run once more: /'
