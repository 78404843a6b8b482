#!/bin/sh
# Puts the Debian package to the test: reproducible, clean for lintian, and installed, upgraded, removed and purged in a
# Debian 12 of its own. Who calls: `make test-deb`, as root (of a chroot), after packaging/build.sh has built the programs.
#
# The chroot is made once (bookworm.sh beside this, a minute) and kept.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'umount "$work/root/proc" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
step() { echo "== $*"; }

for tool in lintian mmdebstrap; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install $tool"
done
[ "$(id -u)" = 0 ] || fail "a chroot wants root"

step "the same programs make the same package"
packaging/deb.sh "$work/first"
touch packaging/debian/postrm etc/trove-couchdb-agent/agent.toml docs/cli.md
(umask 077 && packaging/deb.sh "$work/second")
package=$(cd "$work/first" && ls ./*.deb)
cmp "$work/first/$package" "$work/second/$package" || fail "the package is not reproducible"
dpkg-deb -f "$work/first/$package" Depends | grep -q 'libc6 (>= ' || fail "the libraries that the programs need are not in Depends"

step "lintian"
# Suppressed: bytes of machine code that look like a misspelt word, another one with each build.
lintian --profile debian --fail-on error,warning,info --display-info --suppress-tags spelling-error-in-binary \
    "$work/first/$package"

step "a Debian 12"
archive=$(packaging/tests/bookworm.sh)
root=$work/root
mkdir "$root"
tar -C "$root" -xf "$archive"
# systemd-tmpfiles wants it.
mount -t proc proc "$root/proc"
packaging/tests/next.sh "$work/next"
cp "$work/first/$package" "$root/this.deb"
cp "$work"/next/*.deb "$root/next.deb"

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
# A command of dpkg as on a machine that runs; what the package asks of systemd comes into $work/asked.
asked() {
    install -d "$root/run/systemd/system" "$root/recorder"
    printf '%s\n' '#!/bin/sh' 'echo "$*" >>/recorder/asked' >"$root/recorder/deb-systemd-invoke"
    chmod 755 "$root/recorder/deb-systemd-invoke"
    : >"$root/recorder/asked"
    in_root env PATH=/recorder:/usr/sbin:/usr/bin:/sbin:/bin "$@" >"$work/said" 2>&1 || fail "$(cat "$work/said")"
    sed 's/ trove-couchdb-agent.service$//' "$root/recorder/asked" | xargs >"$work/asked"
    rm -r "$root/run/systemd" "$root/recorder"
}
man_names() { zcat "$1" | sed -n 's/\\//g; s|.*: /\(usr/share/doc[^ ]*\)$|\1|p'; } # the document that a manual page names
there() { for path; do [ -e "$root/$path" ] || [ -L "$root/$path" ] || fail "$path is missing"; done; }
gone() { for path; do { [ ! -e "$root/$path" ] && [ ! -L "$root/$path" ]; } || fail "$path is still there"; done; }
is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }

state=var/lib/trove-couchdb-agent
config=etc/trove-couchdb-agent/agent.toml
programs="usr/bin/trove-couchdb-agent usr/bin/trove-couchdb usr/bin/trove-couchdb-hostd"
wanted=etc/systemd/system/multi-user.target.wants/trove-couchdb-agent.service

step "install"
asked dpkg -i /this.deb
is "$(cat "$work/asked")" "" "asked of systemd, without a configuration"
grep -q "not started: its configuration is not complete" "$work/said" || fail "not a word that it waits for a configuration"
# shellcheck disable=SC2086 # two words
there $programs $config $wanted usr/share/man/man8/trove-couchdb-agent.8.gz usr/share/man/man1/trove-couchdb.1.gz \
    usr/share/bash-completion/completions/trove-couchdb usr/share/zsh/vendor-completions/_trove-couchdb \
    usr/share/fish/vendor_completions.d/trove-couchdb.fish etc/logrotate.d/trove-couchdb-agent
# What the manual page names, and what documentation names in turn.
documentation=usr/share/doc/trove-couchdb-agent
there "$(man_names "$root/usr/share/man/man8/trove-couchdb-agent.8.gz")" $documentation/CHANGELOG.md \
    $documentation/docs/adr/README.md $documentation/docs/pictures/command.svg
is "$(in_root stat -c '%a %U %G' /$config)" "640 root trove-couchdb" "mode of $config"
is "$(in_root stat -c '%a %U %G' /etc/trove-couchdb-agent/host.toml)" "600 root root" "mode of host.toml"
gone etc/systemd/system/sockets.target.wants/trove-couchdb-hostd.socket
is "$(in_root stat -c '%a %U %G' /etc/trove-couchdb-agent)" "750 root trove-couchdb" "mode of its directory"
is "$(in_root getent passwd trove-couchdb | cut -d: -f6,7)" "/$state:/usr/sbin/nologin" "the account"
in_root id -Gn trove-couchdb | grep -qw couchdb || fail "the account is not in CouchDB's group"
version=$(in_root trove-couchdb-agent --version)
is "$(in_root trove-couchdb --version | cut -d' ' -f2)" "${version#* }" "the tool's version"
in_root dpkg --verify trove-couchdb-agent || fail "files differ from the package"
in_root debconf-show trove-couchdb-agent | grep -q remove_state || fail "debconf does not know the question of a purge"

step "an operator configures it, and it has run"
echo '# changed by an operator' >>"$root/$config"
cat >>"$root/$config" <<'TOML'
[broker]
transport_url = "local:"
TOML
sed -i '0,/^\[broker\]$/{/^\[broker\]$/d}' "$root/$config"
in_root trove-couchdb-agent --check-config >/dev/null || fail "the configuration is refused"
install -d -m 700 "$root/$state" "$root/var/log/trove-couchdb-agent"
echo '{"password":"only copy"}' >"$root/$state/.os_couchdb_admin_creds.json"
echo line >"$root/var/log/trove-couchdb-agent/audit.log"
in_root chown -R trove-couchdb: /$state /var/log/trove-couchdb-agent
in_root touch -d @1 /$state/.os_couchdb_admin_creds.json

step "upgrade: what runs is restarted, and nothing is started"
asked dpkg -i --force-confold /next.deb # as docs/operations.md has it
is "$(cat "$work/asked")" try-restart "asked of systemd"
! grep -q "not started" "$work/said" || fail "a complete configuration is not recognised"
# shellcheck disable=SC2016 # dpkg-query expands it
is "$(in_root dpkg-query -W -f '${Version}' trove-couchdb-agent)" 99.0.0-1 "the version"
grep -q 'changed by an operator' "$root/$config" || fail "the configuration was overwritten"
is "$(in_root stat -c '%a %U %G' /$config)" "640 root trove-couchdb" "mode of $config after the upgrade"
is "$(in_root stat -c '%Y %U' /$state/.os_couchdb_admin_creds.json)" "1 trove-couchdb" "the state after the upgrade"
there $wanted

step "a unit that an operator disabled stays disabled"
in_root systemctl disable --quiet trove-couchdb-agent
in_root dpkg -i --force-confold /next.deb >/dev/null 2>&1
gone $wanted
in_root systemctl enable --quiet trove-couchdb-agent

step "remove"
asked dpkg -r trove-couchdb-agent
is "$(cat "$work/asked")" stop "asked of systemd"
# shellcheck disable=SC2086
gone $programs usr/lib/systemd/system/trove-couchdb-agent.service
there $config $state/.os_couchdb_admin_creds.json var/log/trove-couchdb-agent/audit.log

step "install again: all is as it was, and it is started"
asked dpkg -i --force-confold /this.deb
is "$(cat "$work/asked")" "try-restart start" "asked of systemd"
gone run/trove-couchdb-agent.installed
grep -q 'changed by an operator' "$root/$config" || fail "the configuration was lost"
there $state/.os_couchdb_admin_creds.json $wanted

step "purge without an answer: the only copy of the password stays"
in_root dpkg -P trove-couchdb-agent >"$work/said" 2>&1
grep -q "/$state stays" "$work/said" || fail "not a word of what stays: $(cat "$work/said")"
there $state/.os_couchdb_admin_creds.json
is "$(in_root stat -c %U /$state)" trove-couchdb "owner of what stays"
gone etc/trove-couchdb-agent etc/logrotate.d/trove-couchdb-agent var/log/trove-couchdb-agent $wanted
! in_root sh -c 'debconf-show trove-couchdb-agent' | grep -q . || fail "debconf remembers the question"

# The package is gone for a while before it is purged: what asks must be in debconf's own memory.
purge_at_a_terminal() { # the answer
    in_root dpkg -i /this.deb >/dev/null 2>&1
    in_root dpkg -r trove-couchdb-agent >/dev/null 2>&1
    packaging/tests/answer.py "Remove the agent's state" "$1" -- chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        DEBIAN_FRONTEND=readline TERM=vt100 LC_ALL=C.UTF-8 dpkg -P trove-couchdb-agent >"$work/said" || fail "$(cat "$work/said")"
}
step "purge at a terminal: it asks; with no, the state stays"
purge_at_a_terminal no
there $state/.os_couchdb_admin_creds.json

step "with yes: nothing stays"
purge_at_a_terminal yes
gone $state etc/trove-couchdb-agent var/log/trove-couchdb-agent

step "purge by a script that has answered before: nothing stays"
in_root dpkg -i /this.deb >/dev/null 2>&1
install -d -m 700 "$root/$state"
echo 'trove-couchdb-agent trove-couchdb-agent/remove_state boolean true' | in_root debconf-set-selections
in_root dpkg -P trove-couchdb-agent >/dev/null 2>&1
gone $state etc/trove-couchdb-agent var/log/trove-couchdb-agent
left=$(cd "$root" && find etc var usr -name '*trove-couchdb*' ! -path 'var/log/*' ! -path 'var/cache/*')
[ -z "$left" ] || fail "left behind: $left"

echo "make test-deb: everything passed"
