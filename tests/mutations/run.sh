#!/bin/sh
# Takes out, one after the other, the code that keeps a guarantee, and expects the test of that guarantee to fail.
#
#   tests/mutations/run.sh           all of *.patch here (an hour); `make mutants`
#   tests/mutations/run.sh NAME...   some of them
#
# Works on a copy below target/mutants, so the tree may be edited meanwhile. Exits with 0 if every test failed as it
# should. docs/guarantees.md says which guarantee each belongs to; tests/tests/guarantees.rs holds the two together.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$root/target/mutants/tree
export CARGO_TARGET_DIR="$root/target/mutants/target"
export TROVE_COUCHDB_VENV="${TROVE_COUCHDB_VENV:-$root/target/python-venv}"
# git would take the copy for a part of the repository around it, and patch nothing.
export GIT_CEILING_DIRECTORIES="$root/target/mutants"
export RUST_BACKTRACE=0

field() { sed -n "s/^$1: //p" "$2"; }

rm -rf "$copy"
mkdir -p "$copy"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - 2>/dev/null) | tar -xf - -C "$copy"
cd "$copy"

if [ $# -eq 0 ]; then
    set -- $(cd "$here" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
fi
# The newest program of a test, which cargo names by a hash.
program() {
    find "$CARGO_TARGET_DIR/debug/deps" -name "$1-*" -perm -u+x -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2
}

cargo build --quiet -p trove-couchdb-agent -p trove-couchdb-cli -p in-memory-couchdb
cargo test --quiet -p trove-couchdb-tests --test integration --test cli --test chaos --no-run
integration=$(program integration)
cli=$(program cli)
chaos=$(program chaos)

# Runs a test, PACKAGE TARGET FILTER, of the changed tree; sets `result`.
try() {
    package=${1%% *}
    filter=${1##* }
    target=${1#* }
    target=${target% *}
    result=
    case $target in
        # They run the programs, so they need not be built again.
        *integration*) built=$integration; programs="-p trove-couchdb-agent" ;;
        *chaos*) built=$chaos; programs="-p trove-couchdb-agent" ;;
        *cli*) built=$cli; programs="-p trove-couchdb-agent -p trove-couchdb-cli" ;;
        *) built=; programs= ;;
    esac
    if [ -n "$built" ]; then
        # shellcheck disable=SC2086 # several words
        cargo build --quiet $programs || result="does not compile"
    else
        # shellcheck disable=SC2086
        cargo test --quiet -p "$package" $target --no-run 2>"$copy/output" || result="does not compile"
    fi
    if [ -z "$result" ]; then
        if [ -n "$built" ]; then
            (cd tests && "$built" "$filter") >"$copy/output" 2>&1 && ended=0 || ended=$?
        else
            # shellcheck disable=SC2086
            cargo test --quiet -p "$package" $target -- "$filter" >"$copy/output" 2>&1 && ended=0 || ended=$?
        fi
        if [ "$ended" = 0 ]; then
            result="SURVIVED"
        elif grep -q '^test result: FAILED' "$copy/output"; then
            result="killed"
        else
            result="no test ran to its end"
        fi
    fi
}

wrong=0
for name; do
    patch=$here/$name.patch
    git apply "$patch"
    # Each of its tests must fail.
    field Test "$patch" >"$copy/tests-of-it"
    while read -r test; do
        try "$test" </dev/null
        [ "$result" = killed ] || break
    done <"$copy/tests-of-it"
    printf '%-42s guarantee %s  %s\n' "$name" "$(field Guarantee "$patch")" "$result"
    if [ "$result" != killed ]; then
        wrong=$((wrong + 1))
        tail -n 20 "$copy/output"
    fi
    git apply -R "$patch"
done
if [ "$wrong" -gt 0 ]; then
    echo "$wrong mutations were not noticed" >&2
    exit 1
fi
