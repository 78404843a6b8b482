#!/bin/sh
# Prints the path of a Python that has exactly tests/python/requirements.txt; makes the virtual environment first if
# it is missing or older than that file. Who calls: `make test` and tests/src/python.rs, possibly at the same time.
# `venv.sh REQUIREMENTS DIRECTORY` does the same with another file and place; benches/src/environment.rs and `make docs` call it so.
set -eu
tests=$(cd "$(dirname "$0")/.." && pwd)
wanted=${1:-$tests/python/requirements.txt}
venv=${2:-${TROVE_COUCHDB_VENV:-$(dirname "$tests")/target/python-venv}}

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    # Only wheels: a source package would want a compiler and Python's headers.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: -r "$wanted" >&2
    cp "$wanted" "$venv/requirements.txt"
fi
echo "$venv/bin/python"
