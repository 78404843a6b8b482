#!/bin/sh
# Makes the two archives that the spec names: the sources of the last commit, and the crates of Cargo.lock. Who calls:
# `make rpm-source` and packaging/tests/rpm.sh, with a directory, and --no-vendor for the sources only.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p "${1:?a directory}"
out=$(cd "$1" && pwd)
version=$(sed -n 's/^Version: *//p' packaging/rpm/trove-couchdb-agent.spec)
name=trove-couchdb-agent-$version

git archive --prefix="$name/" -o "$out/$name.tar.gz" HEAD
[ "${2:-}" != --no-vendor ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/.cargo"
root=$(pwd)
# What cargo prints is the configuration that makes it use the directory, which must be named as the build will see it.
# (Not with --quiet, which keeps it back.)
(cd "$work" && "${CARGO:-cargo}" vendor --locked --manifest-path "$root/Cargo.toml" vendor >.cargo/config.toml 2>log) || {
    cat "$work/log" >&2
    exit 1
}
grep -q vendored-sources "$work/.cargo/config.toml"
tar -C "$work" --sort=name --mtime=@"$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner -c .cargo vendor |
    gzip -n >"$out/$name-vendor.tar.gz"
