#!/bin/sh
# Builds the three programs and what is made from them for packages: manual pages, completions, the licences of the
# crates inside. The programs come to target/packaging/programs. Who calls: `make deb`, `make rpm`, `make static`, with a target
# triple for the latter. FEATURES: the agent's features that are not built in by default (agent/Cargo.toml), such as "otlp".
# PROFILE=dev: not the programs of a release, but those that `make build` has at hand, for a test of the packages.
#
# The same source and compiler give the same bytes, wherever the checkout is: nothing of the paths of this machine gets into
# the programs. A target directory of its own, as other flags would make `make bench` build everything again.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
out=$root/target/packaging
triple=${1:-}
cargo=${CARGO:-cargo}

case ${PROFILE:-release} in
    release)
        export CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$out"
        export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$root=/source"
        # One by one: together, cargo would give each the features that only the other needs.
        "$cargo" build --release --locked -p trove-couchdb-agent ${FEATURES:+--features "$FEATURES"} ${triple:+--target "$triple"}
        "$cargo" build --release --locked -p trove-couchdb-cli ${triple:+--target "$triple"}
        "$cargo" build --release --locked -p trove-couchdb-hostd ${triple:+--target "$triple"}
        built=$out${triple:+/$triple}/release
        ;;
    dev)
        [ -z "$triple${FEATURES:-}" ] || { echo "PROFILE=dev is for tests: without a target triple or FEATURES" >&2; exit 2; }
        make --no-print-directory build
        built=${CARGO_TARGET_DIR:-$root/target}/debug
        ;;
    *)
        echo "PROFILE is release or dev, not $PROFILE" >&2
        exit 2
        ;;
esac
programs=$out${triple:+/$triple}/programs
mkdir -p "$programs"
for program in trove-couchdb-agent trove-couchdb trove-couchdb-hostd; do
    # As dh_strip does; cargo's strip leaves the two sections.
    strip --strip-unneeded --remove-section=.comment --remove-section=.note -o "$programs/$program" "$built/$program"
done
[ -z "$triple" ] || exit 0

rm -rf "$out/man" "$out/completions"
mkdir -p "$out/man" "$out/completions"
"$programs/trove-couchdb" --quiet man --dir "$out/man"
# The other two's are made from their options; the tool would have to link the whole helper for this one.
cp packaging/man/trove-couchdb-hostd.8 "$out/man/"
for shell in bash zsh fish; do
    "$programs/trove-couchdb" completions "$shell" >"$out/completions/trove-couchdb.$shell"
    "$programs/trove-couchdb" completions "$shell" --agent >"$out/completions/trove-couchdb-agent.$shell"
done
python3 packaging/third_party.py >"$out/THIRD-PARTY-LICENSES"
# -n: without the time.
gzip -9nf "$out/THIRD-PARTY-LICENSES"
