#!/bin/sh
# Puts the RPM spec to the test on a Debian: the source package, a binary one from the programs that packaging/build.sh has built,
# rpmlint's opinion of both, and that the package has what the Debian one has. Who calls: `make test-rpm`.
set -eu
cd "$(dirname "$0")/../.."
spec=packaging/rpm/trove-couchdb-agent.spec
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
step() { echo "== $*"; }

for tool in rpmbuild rpmspec rpmlint; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install rpm rpmlint"
done
alone=''
build() { # what rpmbuild shall do
    # shellcheck disable=SC2086 # words
    $alone rpmbuild --quiet --load packaging/tests/fedora.macros --define "_topdir $work" --define "dist %{nil}" --nodeps "$@" "$spec"
}

step "the versions of the packages and of the programs are one"
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
grep -qx "Version: *$version" "$spec" || fail "Version of $spec is not $version of Cargo.toml"
sed -n '/^%changelog/,$p' "$spec" | grep -q -- "- $version-" || fail "%changelog lacks $version"
head -1 packaging/debian/changelog | grep -q "($version-" || fail "packaging/debian/changelog lacks $version"

step "the spec is understood, with and without --with prebuilt"
rpmspec --load packaging/tests/fedora.macros -P "$spec" >"$work/expanded"
grep -q '^packaging/build.sh' "$work/expanded" || fail "nothing would be built"
! sed -n '/^%pre/,$p' "$work/expanded" | grep '^%[a-z]*_' || fail "a macro was left as it was"
rpmspec --load packaging/tests/fedora.macros --with prebuilt -P "$spec" >"$work/expanded"
! grep -q '^packaging/build.sh' "$work/expanded" || fail "it would be built all the same"

step "source package"
if [ -n "${BUILD:-}" ]; then
    packaging/rpm/source.sh "$work/SOURCES"
else
    packaging/rpm/source.sh "$work/SOURCES" --no-vendor
    # The crates are hundreds of MB; a name is enough for the source package's form.
    tar -czf "$work/SOURCES/trove-couchdb-agent-$version-vendor.tar.gz" --files-from /dev/null
fi
build -bs

step "binary package"
if [ -n "${BUILD:-}" ]; then
    # Without a network, as where distributions build, and without what cargo has here already.
    mkdir "$work/cargo"
    alone="env CARGO_HOME=$work/cargo unshare --map-root-user --net"
    build -bb
else
    build -bb --with prebuilt --define "built $(pwd)/target/packaging"
fi
package=$(find "$work/RPMS" -name '*.rpm')

step "what is in it"
rpm -qp --qf '[%{FILENAMES} %{FILEMODES:octal} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]' "$package" |
    sed 's/ *$//' >"$work/list"
has() { grep -qx -- "$*" "$work/list" || fail "not in the package: $*: $(grep "^$1 " "$work/list")"; }
has /usr/bin/trove-couchdb-agent 100755 root root
has /usr/bin/trove-couchdb 100755 root root
has /etc/trove-couchdb-agent 40750 root trove-couchdb
has /etc/trove-couchdb-agent/agent.toml 100640 root trove-couchdb cn
has /usr/bin/trove-couchdb-hostd 100755 root root
has /etc/trove-couchdb-agent/host.toml 100600 root root cn
has /usr/lib/systemd/system/trove-couchdb-hostd.socket 100644 root root
has /usr/share/man/man8/trove-couchdb-hostd.8.gz 100644 root root d
has /usr/lib/systemd/system/trove-couchdb-agent.service 100644 root root
has /usr/share/man/man8/trove-couchdb-agent.8.gz 100644 root root d
has /usr/share/doc/trove-couchdb-agent/docs/configuration.md 100644 root root d
has /usr/share/doc/trove-couchdb-agent/docs/adr/README.md 100644 root root d
# All that the Debian package has, where an RPM has it.
sed -n 's|^ *\["[^"]*/\([^"/]*\)", "\(etc[^"]*[^/"]\)", "[0-9]*"\],|/\2|p; s|^ *\["[^"]*/\([^"/*]*\)", "\(usr/lib[^"]*/\)", .*|/\2\1|p' \
    agent/Cargo.toml | while read -r path; do
    grep -q "^$path " "$work/list" || fail "the Debian package has $path"
done
rpm -qp --scripts "$package" >"$work/scripts"
for word in "useradd -r" "systemd-tmpfiles --create" install-system-units remove-system-units mark-restart-system-units; do
    grep -q -- "$word" "$work/scripts" || fail "the scripts lack $word"
done

rpm -qp --requires "$package" | grep -qx shadow-utils || fail "nobody brings groupadd and useradd"

step "rpmlint"
rpmlint --strict --config packaging/rpm/rpmlint.toml "$spec" "$work"/SRPMS/*.rpm "$package"

echo "make test-rpm: everything passed"
