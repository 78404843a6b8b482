#!/bin/sh
# Fuzzes one target after the other: fuzz/run.sh SECONDS [TARGET...]. Called by `make fuzz`.
#
# Stable Rust does: `--sanitizer none` needs no nightly flag, and there is no unsafe code here that AddressSanitizer
# would have to watch. What is found stays in fuzz/artifacts; docs/fuzzing.md says what to do with it.
set -eu
cd "$(dirname "$0")/.."

seconds=$1
shift
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)

tools=target/tools
PATH=$PWD/$tools/bin:$PATH
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$tools" cargo-fuzz

mkdir -p fuzz/grown/logs
summary=fuzz/grown/logs/summary.txt
status=0
cargo fuzz build --sanitizer none
for target; do
    dictionary=fuzz/dictionaries/json.dict
    [ ! -f "fuzz/dictionaries/$target.dict" ] || dictionary=fuzz/dictionaries/$target.dict
    mkdir -p "fuzz/grown/$target" "fuzz/artifacts/$target"
    log=fuzz/grown/logs/$target.log
    echo "== $target: $seconds s, log in $log"
    # The limits: a message of 100 KB must be dealt with in 10 s and 1 GiB at the very most, in this slow build.
    result=nothing
    "fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=100000 -print_final_stats=1 \
        -dict="$dictionary" -artifact_prefix="fuzz/artifacts/$target/" \
        "fuzz/grown/$target" "fuzz/corpus/$target" >"$log" 2>&1 || status=1
    [ -z "$(ls -A "fuzz/artifacts/$target")" ] || result="SEE fuzz/artifacts/$target"
    ! grep -q "run interrupted" "$log" || result="$result, and was interrupted"
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    echo "$target: ${executions:-?} executions in $seconds s, $coverage edges, ${memory:-?} MB, found: $result" |
        tee -a "$summary"
done
exit $status
