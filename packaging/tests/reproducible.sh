#!/bin/sh
# Builds the Debian package of the last commit twice from nothing, in directories of different names and by another time zone,
# locale and mode mask, and compares the two byte by byte. Who calls: `make reproducible`; takes ten minutes.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # a directory, and variables
    directory=$work/$1
    shift
    mkdir -p "$(dirname "$directory")"
    git clone --quiet --no-hardlinks . "$directory"
    # What packs is no part of the package: one is enough.
    [ ! -d target/tools ] || { mkdir "$directory/target" && cp -a target/tools "$directory/target/tools"; }
    (cd "$directory" && env "$@" make --no-print-directory deb FEATURES="${FEATURES:-}")
}

echo "== the first"
build one
echo "== the second"
umask 077
build a/rather/longer/name/of/a/directory TZ=Pacific/Auckland LC_ALL=C.UTF-8 HOME="$HOME" CARGO_BUILD_JOBS=1
first=$(echo "$work"/one/target/debian/*.deb)
second=$(echo "$work"/a/rather/longer/name/of/a/directory/target/debian/*.deb)
cmp "$first" "$second" || {
    echo "FAILED: the package is not reproducible" >&2
    mkdir -p target/reproducible
    cp "$first" target/reproducible/first.deb
    cp "$second" target/reproducible/second.deb
    echo "both are in target/reproducible; diffoscope shows the difference" >&2
    exit 1
}
sha256sum "$first" | sed "s|$work/one/||"
echo "make reproducible: everything passed"
