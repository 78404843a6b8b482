#!/bin/sh
# Runs the control-plane suites: `run.sh [VERSION…]`, of Trove 26.0.0 and 24.1.0 if none is named.
#
# For each version a virtual environment target/trove-VERSION, made anew when its pinned requirements have changed; in
# it the tests of control-plane/ (trove-api in process), and this directory's (a whole control plane, and our agent). The
# versions run side by side. At the end the table of commands and results is printed; with WRITE_DOCS=1 it goes into
# docs/control-plane.md too.
#
# Needs the binaries of `cargo build --workspace`. Who calls: `make test-control-plane`, which `make test` does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
target=$root/target
[ $# -gt 0 ] || set -- 26.0.0 24.1.0

prepare() {
    wanted=$root/control-plane/requirements-test-$1.txt
    venv=$target/trove-$1
    if ! cmp -s "$wanted" "$venv/requirements.txt"; then
        echo "Making $venv (once, about a minute)"
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$wanted" >&2
        cp "$wanted" "$venv/requirements.txt"
    fi
    # Of a copy: pip would leave its build directory in the source tree.
    copy=$(mktemp -d)
    cp -r "$root/control-plane/pyproject.toml" "$root/control-plane/README.md" "$root/control-plane/src" "$copy"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$copy" >&2
    rm -rf "$copy"
}

run() {
    python=$target/trove-$1/bin/python
    export PYTHONDONTWRITEBYTECODE=1
    (cd "$root/control-plane" && "$python" -m pytest -q -p no:cacheprovider tests)
    cd "$here" && TROVE_E2E_RESULTS=$target/control-plane-results/$1.json "$python" -m pytest -q
}

mkdir -p "$target/control-plane-results"
rm -f "$target"/control-plane-results/*
for version; do prepare "$version"; done
jobs=
for version; do
    run "$version" >"$target/control-plane-results/$version.log" 2>&1 &
    jobs="$jobs $!"
done
# An interrupted run must not leave its servers behind: pytest ends them when it is told.
# shellcheck disable=SC2086 # one word for each job
trap 'kill -INT $jobs 2>/dev/null; wait' INT TERM
failed=
for version; do
    job=${jobs#"${jobs%%[! ]*}"}
    job=${job%% *}
    jobs=${jobs#*"$job"}
    if wait "$job"; then status="passed"; else status="FAILED"; failed=1; fi
    echo "== Trove $version: $status"
    if [ "$status" = FAILED ]; then
        cat "$target/control-plane-results/$version.log"
    else
        grep -E '^[0-9]+ (passed|failed)|passed in' "$target/control-plane-results/$version.log"
    fi
done
set -- "$target"/control-plane-results/*.json
if [ -e "$1" ]; then
    python3 "$here/table.py" ${WRITE_DOCS:+--write "$root/docs/control-plane.md"} "$@"
fi
[ -z "$failed" ]
