#!/bin/sh
# Builds the three programs without any shared library, against musl: one file for every Linux of the architecture. Who
# calls: `make static`. Needs the target (`rustup target add`, or the distribution's package) and musl's gcc, with which ring
# compiles its C.
#
# What differs from a program of the distribution's libc: groups and accounts are read from /etc/group and /etc/passwd only,
# not from LDAP and the like (`local.group`).
set -eu
cd "$(dirname "$0")/.."
arch=$(uname -m)
triple=$arch-unknown-linux-musl

if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
    rustup target add "$triple" || {
        echo "Rust's library for $triple is not there and can't be fetched: install it, then run make static again." >&2
        exit 1
    }
fi
command -v musl-gcc >/dev/null || {
    echo "musl-gcc is missing: apt-get install musl-tools, or dnf install musl-gcc" >&2
    exit 1
}
export "CC_${arch}_unknown_linux_musl=musl-gcc"
packaging/build.sh "$triple"
for program in trove-couchdb-agent trove-couchdb trove-couchdb-hostd; do
    built=target/packaging/$triple/programs/$program
    if readelf -ld "$built" | grep -E '\(NEEDED\)|INTERP'; then
        echo "$built wants a shared library" >&2
        exit 1
    fi
    "$built" --version
    echo "$built"
done
