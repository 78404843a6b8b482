#!/bin/sh
# Packs what packaging/build.sh has made into a Debian package. Who calls: `make deb`, and packaging/tests/deb.sh with a
# directory and options for cargo-deb. PROFILE as in build.sh.
#
# The same programs give the same bytes: the times in the package are SOURCE_DATE_EPOCH, by default that of the last commit
# (of the package's changelog where there is no git).
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
out=${1:-target/debian}
[ $# = 0 ] || shift
version=3.8.0

command -v dpkg-shlibdeps >/dev/null || {
    # cargo-deb only warns, and packs without the libraries among the dependencies.
    echo "dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2
    exit 1
}
tools=$root/target/tools
if ! "$tools/bin/cargo-deb" --version 2>/dev/null | grep -qx "$version"; then
    # --debug: built in 20 seconds rather than three minutes, and its work takes the same.
    CARGO_INCREMENTAL=0 "${CARGO:-cargo}" install --debug --locked --quiet --root "$tools" cargo-deb --version "$version"
fi
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) || SOURCE_DATE_EPOCH=$(
        date +%s -d "$(sed -n 's/^ -- .*>  //p;T;q' packaging/debian/changelog)"
    )
fi
export SOURCE_DATE_EPOCH
# Nobody keeps a package of a test, and its programs are three times as large.
[ "${PROFILE:-release}" = release ] || set -- --fast "$@"
mkdir -p "$out"
out=$(cd "$out" && pwd)
"$tools/bin/cargo-deb" deb --quiet --no-build --locked -p trove-couchdb-agent \
    --output "$out/" "$@"
