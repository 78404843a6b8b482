#!/bin/sh
# Puts the image element to the test: diskimage-builder and shellcheck read it, and with BUILD=1 diskimage-builder builds an
# image with it. Who calls: `make test-element`; for BUILD=1 as root, after `make deb`.
#
# CouchDB's own package can't be had everywhere: in the image stands a package of its layout (packaging/tests/stand-in), from
# a repository on loopback that is signed with a key made here. The image is a directory in an archive, so no loop device is
# needed.
set -eu
cd "$(dirname "$0")/../.."
root=$(pwd)
element=packaging/dib/trove-couchdb-agent
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
step() { echo "== $*"; }

step "diskimage-builder understands the element, and the sample for cloud-init does what it should"
python=$(tests/scripts/venv.sh "$root/packaging/tests/requirements.txt" "$root/target/dib-venv")
"$python" packaging/tests/element.py
mkdir "$work/cloud-init"
"$python" packaging/tests/cloud_init.py "$work/cloud-init"
PATH=$(dirname "$python"):$PATH
export PATH
ELEMENTS_DIR=packaging/dib LIB_DIR=packaging/dib dib-lint >"$work/lint" || fail "dib-lint: $(cat "$work/lint")"

step "shellcheck"
command -v shellcheck >/dev/null || fail "shellcheck is missing: apt-get install shellcheck"
shellcheck -s bash $element/*.d/*
shellcheck -x $element/static/usr/local/sbin/* packaging/*.sh packaging/*/*.sh packaging/tests/walk/couchdb packaging/debian/p*

step "the cookie of an instance is its own, and stays"
cookie=$element/static/usr/local/sbin/couchdb-cookie
mkdir "$work/etc"
args=$work/etc/vm.args
# The last line has no end.
printf '%s' '-name couchdb@127.0.0.1' >"$args"
ln "$args" "$work/linked"
sh $cookie "$args"
[ "$(head -1 "$args")" = '-name couchdb@127.0.0.1' ] || fail "the cookie is in the line of another: $(cat "$args")"
[ "$(grep -cxE -e '-setcookie [0-9a-f]{64}' "$args")" = 1 ] || fail "no cookie: $(cat "$args")"
[ "$(stat -c %a "$args")" = 640 ] || fail "the cookie can be read: $(stat -c %a "$args")"
! grep -q setcookie "$work/linked" || fail "what a link leads to is written"
cp "$args" "$work/first"
sh $cookie "$args"
cmp -s "$args" "$work/first" || fail "the cookie changes with each start"
[ "$(ls "$work/etc")" = vm.args ] || fail "left beside it: $(ls "$work/etc")"

step "no cookie without randomness, and the file stays as it was"
mkdir "$work/bin"
printf '#!/bin/sh\necho " 00 11"\n' >"$work/bin/od"
chmod 755 "$work/bin/od"
printf '%s\n' '-name couchdb@127.0.0.1' >"$args"
! PATH=$work/bin:$PATH sh $cookie "$args" 2>"$work/said" || fail "a short cookie is taken"
grep -q /dev/urandom "$work/said" || fail "not a word of the reason: $(cat "$work/said")"
[ "$(cat "$args")" = '-name couchdb@127.0.0.1' ] || fail "it was written all the same: $(cat "$args")"
[ "$(ls "$work/etc")" = vm.args ] || fail "left beside it: $(ls "$work/etc")"

[ -n "${BUILD:-}" ] || exit 0

step "a repository that stands for Apache's"
for tool in sudo dpkg-scanpackages gpg curl debootstrap qemu-img kpartx; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install sudo dpkg-dev gnupg curl debootstrap qemu-utils kpartx"
done
cp -a packaging/tests/stand-in "$work/stand-in"
packaging/tests/repository.sh "$work" "$work/stand-in"
fingerprint=$(cat "$work/fingerprint")
: >"$work/server"
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/repository" 0 >"$work/server" 2>/dev/null &
server=$!
for _ in $(seq 50); do
    port=$(sed -n 's/^Serving HTTP on 127.0.0.1 port \([0-9]*\).*/\1/p' "$work/server")
    [ -z "$port" ] || break
    sleep 0.1
done

step "a key that is not the expected one is refused"
export DIB_DEBIAN_SECURITY_MIRROR="${DIB_DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}"
export ELEMENTS_PATH="$root/packaging/dib" DIB_RELEASE=bookworm DIB_TROVE_COUCHDB_KEY="$work/keys.asc"
: "${DIB_TROVE_COUCHDB_AGENT_DEB:=$(ls "$root"/target/debian/trove-couchdb-agent_*.deb)}"
export DIB_TROVE_COUCHDB_AGENT_DEB
mkdir -p "$work/hooks"
! TMP_HOOKS_PATH=$work/hooks DIB_TROVE_COUCHDB_CONFIG='' \
    DIB_TROVE_COUCHDB_KEY_FINGERPRINT=390EF70BB1EA12B2773962950EE62FB37A00258D \
    $element/extra-data.d/50-trove-couchdb-agent 2>"$work/said" || fail "any key is taken"
grep -q 'does not hold the key' "$work/said" || fail "$(cat "$work/said")"

step "an image"
export DIB_TROVE_COUCHDB_KEY_FINGERPRINT="$fingerprint" DIB_TROVE_COUCHDB_REPOSITORY="http://127.0.0.1:$port/"
log=target/dib-image.log
disk-image-create -x -t tar -o "$work/image" debian-minimal trove-couchdb-agent >"$log" 2>&1 || fail "disk-image-create; see $log"
mkdir "$work/root"
tar -C "$work/root" -xf "$work/image.tar"
has() { [ -e "$work/root/$1" ] || [ -L "$work/root/$1" ] || fail "the image lacks $1"; }
for path in usr/bin/trove-couchdb-agent usr/bin/trove-couchdb usr/share/keyrings/couchdb-archive-keyring.asc \
    etc/systemd/system/multi-user.target.wants/trove-couchdb-agent.service \
    etc/systemd/system/multi-user.target.wants/couchdb.service \
    etc/systemd/system/couchdb.service.d/trove.conf opt/couchdb/etc/local.d/10-trove.ini; do
    has "$path"
done
grep -q '^local_ini_dir = "/opt/couchdb/etc/local.d"' "$work/root/etc/trove-couchdb-agent/agent.toml" || fail "no local_ini_dir"
! grep -q '^-setcookie' "$work/root/opt/couchdb/etc/vm.args" || fail "a cookie is in the image"
chroot --userspec=couchdb:couchdb "$work/root" /usr/local/sbin/couchdb-cookie || fail "CouchDB's account can't make its cookie"
mode=$(chroot "$work/root" stat -c '%a %U:%G' /opt/couchdb/etc/vm.args)
[ "$mode" = "640 couchdb:couchdb" ] || fail "the file with the cookie is $mode"
[ ! -e "$work/root/var/lib/trove-couchdb-agent" ] || fail "state is in the image"
mode=$(chroot "$work/root" stat -c '%a %G' /opt/couchdb/etc/local.d)
[ "$mode" = "2770 couchdb" ] || fail "the agent can't write its ini file: local.d is $mode"
[ "$(chroot "$work/root" stat -c '%a %G' /etc/trove-couchdb-agent/agent.toml)" = "640 trove-couchdb" ] || fail "agent.toml's mode"
mkdir -p "$work/root/etc/trove/conf.d"
printf '[DEFAULT]\nguest_id = one\ntransport_url = rabbit://u:p@192.0.2.1:5672/\n' >"$work/root/etc/trove/conf.d/guest_info.conf"
chroot "$work/root" trove-couchdb-agent --check-config >/dev/null || fail "the image's configuration is refused"

echo "make test-element: everything passed"
