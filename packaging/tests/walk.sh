#!/bin/sh
# A new user's walk: a bare Debian 12 is booted with systemd as its process 1, and the commands of docs/quick-start.md are run
# in it, in order and as they stand there. Then what the pages say: what systemd says of the agent, metrics in Prometheus,
# an upgrade, a reboot, a removal and a purge. Who calls: `make walk`, as root, after packaging/build.sh and `make build`.
#
# What is not Debian's, Apache's repository with CouchDB, is a repository made here, at the true addresses (walk/stand-ins.toml
# lists all that is replaced). CouchDB is the in-memory one in a package of the layout of Apache's.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
machine=$work/machine
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; demolish; free_disk; unmount_builder; rm -rf --one-file-system "$work"' EXIT
# A shell that a signal ends would leave the machine running.
trap 'exit 130' INT TERM HUP

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
step() { echo "== $*"; }
unmount_builder() { :; } # see builder.sh
is() { [ "$1" = "$2" ] || fail "$3: $1, not $2"; }
# shellcheck source=packaging/tests/machine.sh
. packaging/tests/machine.sh
# shellcheck source=packaging/tests/walk/volume.sh
. packaging/tests/walk/volume.sh

[ "$(id -u)" = 0 ] || fail "a machine of its own wants root"
for tool in mmdebstrap openssl nsenter python3; do
    command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install mmdebstrap openssl util-linux python3"
done

step "a bare Debian 12"
mkdir "$machine"
archive=$(packaging/tests/bookworm.sh)
tar -C "$machine" -xf "$archive"

if [ -n "${BUILD:-}" ]; then
    step "the package is built by docs/quick-start.md, in another one"
    # shellcheck source=packaging/tests/builder.sh
    . packaging/tests/builder.sh
else
    step "the package"
    packaging/deb.sh "$work/package" >/dev/null
fi
old=$(dpkg-deb -f "$work"/package/*.deb Version)

step "what stands for Apache's repository"
cp -a packaging/tests/stand-in "$work/stand-in"
install -m 755 packaging/tests/walk/couchdb "$work/stand-in/opt/couchdb/bin/couchdb"
strip -o "$work/stand-in/opt/couchdb/bin/in-memory-couchdb" "${CARGO_TARGET_DIR:-target}/debug/in-memory-couchdb"
packaging/tests/repository.sh "$work" "$work/stand-in"
mkdir -p "$work/www/repo" "$work/www/artifactory"
mv "$work/keys.asc" "$work/www/repo/"
mv "$work/repository" "$work/www/artifactory/couchdb-deb"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=walk" -keyout "$work/key.pem" -out "$work/certificate.pem" \
    -addext "subjectAltName=DNS:couchdb.apache.org,DNS:apache.jfrog.io" 2>/dev/null
cp "$work/certificate.pem" "$machine/usr/local/share/ca-certificates/walk.crt"
in_root() { chroot "$machine" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
in_root update-ca-certificates >/dev/null 2>&1

step "Debian's packages, before the network is closed"
mv "$machine/etc/resolv.conf" "$work/" 2>/dev/null || true
cp -L /etc/resolv.conf /etc/hosts "$machine/etc/"
in_root apt-get update -qq
cp "$work"/www/artifactory/couchdb-deb/*.deb "$work"/package/*.deb "$machine/root/"
python3 packaging/tests/walk/page.py --packages docs/quick-start.md packaging/tests/walk/stand-ins.toml | while read -r packages; do
    # couchdb is not Debian's.
    echo " $packages " | sed 's/ couchdb / /' |
        xargs chroot "$machine" env PATH=/usr/sbin:/usr/bin:/sbin:/bin apt-get install -y -qq --download-only >/dev/null
done
in_root sh -c 'apt-get install -y -qq --download-only /root/*.deb' >/dev/null
rm "$machine"/root/couchdb_*.deb "$machine/etc/resolv.conf"
printf '%s\n' "127.0.0.1 localhost couchdb.apache.org apache.jfrog.io" "::1 localhost" >"$machine/etc/hosts"

step "it boots"
boot
is "$(inside cat /proc/1/comm)" systemd "process 1"
is "$(inside sh -c 'ls /sys/class/net')" lo "its network"
nsenter --target "${init:?}" --net \
    python3 packaging/tests/walk/apache.py "$work/www" "$work/certificate.pem" "$work/key.pem" 2>"$work/apache.log" &
server=$!

walk() { # a page, or PAGE#HEADING, and the directory in which its reader is
    python3 packaging/tests/walk/page.py "$1" packaging/tests/walk/stand-ins.toml \
        "fingerprint=$(cat "$work/fingerprint")" built=true "new=_99.0.0-1_" "old=_${old}_" -- "$work/inside" env --chdir="${2:-/root}" bash -c
}
step "docs/quick-start.md, command after command"
walk docs/quick-start.md

# What must hold after the page, after an upgrade and after a reboot.
al_reads() {
    # shellcheck disable=SC2016 # the shell inside expands
    inside sh -c 'curl -fsS --user "al:$(cat /root/al.password)" http://127.0.0.1:5984/shop/first'
}
soon() { # a command that must succeed within a minute
    for _ in $(seq 120); do
        ! "$@" >"$work/said" 2>&1 || return 0
        sleep 0.5
    done
    fail "not within a minute: $*: $(cat "$work/said")"
}
scraped() {
    inside promtool query instant http://127.0.0.1:9090 'up{job="trove-couchdb-agent"}' | grep -q '=> 1 '
}
sound() {
    for unit in couchdb trove-couchdb-agent prometheus; do
        is "$(inside systemctl is-active $unit)" active "$unit $1"
    done
    is "$(inside systemctl show -P StatusText trove-couchdb-agent)" \
        "no broker configured (local only); CouchDB is healthy" "STATUS $1"
    is "$(inside systemctl is-system-running)" running "the system $1"
    al_reads | grep -q '"kind":"order"' || fail "al's document is gone $1"
    is "$(inside trove-couchdb user-list --output value | tr '\t' ' ')" "al % shop" "the users $1"
    status=0
    inside trove-couchdb doctor >"$work/said" 2>&1 || status=$?
    case $status in 0 | 8) ;; *) fail "doctor $1: $(cat "$work/said")" ;; esac
    soon scraped
}

step "what systemd says of the agent"
sound "after the page"
exposure=$(sed -n 's/^const EXPOSURE: f64 = \(.*\);/\1/p' tests/tests/packaging.rs | tr -d .)
inside systemd-analyze security --no-pager --threshold="$exposure" trove-couchdb-agent >"$work/said" ||
    fail "more exposed than tests/tests/packaging.rs allows: $(cat "$work/said")"
is "$(inside stat -c '%U %a' /var/lib/trove-couchdb-agent/.os_couchdb_admin_creds.json)" "trove-couchdb 600" "os_admin's file"

step "the agent restarts couchdb.service through its privileged helper, docs/hostd.md"
refused=0
inside trove-couchdb service-status >"$work/said" 2>&1 || refused=$?
is "$refused" 1 "the status of service-status without the helper"
grep -q 'systemctl enable --now trove-couchdb-hostd.socket' "$work/said" || fail "it is not said how to get the helper: $(cat "$work/said")"
walk "docs/hostd.md#Switch it on"
couchdb_pid() { inside systemctl show -P MainPID couchdb; }
audited() { # a line of the helper's audit log that has all of these
    inside journalctl -u trove-couchdb-hostd -o cat >"$work/audit"
    lines=$(grep '^{' "$work/audit") || fail "the helper's audit log is empty"
    for part; do lines=$(echo "$lines" | grep -F -- "$part") || fail "not audited: $*: $(cat "$work/audit")"; done
}
pid=$(couchdb_pid)
inside trove-couchdb service-restart >"$work/said" || fail "$(cat "$work/said")"
[ "$(couchdb_pid)" != "$pid" ] || fail "couchdb.service was not restarted"
grep -q "Restarted service couchdb; its main process is $(couchdb_pid)" "$work/said" || fail "$(cat "$work/said")"
uid=$(inside id -u trove-couchdb)
audited '"verb":"service-restart"' '"outcome":"done"' "\"uid\":$uid,"
inside trove-couchdb service-stop
is "$(inside systemctl is-active couchdb || true)" inactive "couchdb.service after service-stop"
inside trove-couchdb service-wait stopped
inside trove-couchdb service-start
is "$(inside systemctl is-active couchdb)" active "couchdb.service after service-start"
exposure=$(sed -n 's/^const HOSTD_EXPOSURE: f64 = \(.*\);/\1/p' tests/tests/packaging.rs | tr -d .)
inside systemd-analyze security --no-pager --threshold="$exposure" trove-couchdb-hostd >"$work/said" ||
    fail "more exposed than tests/tests/packaging.rs allows: $(cat "$work/said")"

step "what host.toml does not allow, and other accounts, are refused and audited"
pid=$(couchdb_pid)
refused=0
inside trove-couchdb service-restart --service ssh >"$work/said" 2>&1 || refused=$?
is "$refused" 1 "the status of a request outside host.toml"
grep -q 'is not allowed by host.toml' "$work/said" || fail "$(cat "$work/said")"
audited '"service":"ssh"' '"outcome":"not-allowed"'
# A member of the agent's group: the kernel lets it connect, the helper refuses its account.
inside setpriv --reuid=nobody --regid=trove-couchdb --clear-groups \
    curl -sS --max-time 5 --unix-socket /run/trove-couchdb-hostd/hostd.sock http://hostd/ >"$work/said" 2>&1 || true
audited '"outcome":"forbidden"' "\"uid\":$(inside id -u nobody),"
! inside setpriv --reuid=nobody --regid=nogroup --clear-groups \
    curl -sS --max-time 5 --unix-socket /run/trove-couchdb-hostd/hostd.sock http://hostd/ >"$work/said" 2>&1 || fail "nobody may connect"
is "$(couchdb_pid)" "$pid" "couchdb.service's main process after requests that were refused"
inside cp -a /etc/trove-couchdb-agent/host.toml /root/host.toml
inside sed -i 's/^# idle_exit = .*/idle_exit = 1/' /etc/trove-couchdb-agent/host.toml
inside trove-couchdb service-status >/dev/null
soon inside sh -c '! systemctl is-active --quiet trove-couchdb-hostd.service'
inside trove-couchdb service-status >/dev/null
inside chmod 666 /etc/trove-couchdb-agent/host.toml
! inside trove-couchdb service-status >"$work/said" 2>&1 || fail "a host.toml that everybody may write to counts"
grep -q 'others than its owner may write to it' "$work/said" || fail "$(cat "$work/said")"
inside mv /root/host.toml /etc/trove-couchdb-agent/host.toml
sound "after the helper was used"

step "CouchDB's volume, docs/hostd.md"
volume_under_systemd

step "the journal and the levels of the log, docs/configuration.md"
walk "docs/configuration.md#The log"

step "Prometheus has the rules, and nothing is wrong with the metrics"
inside sh -c 'curl -fsS http://127.0.0.1:9985/metrics | promtool check metrics' || fail "promtool has remarks"
inside curl -fsS http://127.0.0.1:9090/api/v1/rules >"$work/rules"
sed -n 's/^ *- alert: //p' packaging/grafana/alerts.yml | while read -r alert; do
    grep -q "\"name\":\"$alert\"" "$work/rules" || fail "Prometheus lacks the alert $alert"
done

step "metrics over a Unix socket, docs/metrics.md, which Prometheus' account may use and others may not"
inside cp -a /etc/trove-couchdb-agent/agent.toml /root/agent.toml
inside sed -i 's|^listen = .*|listen = "/run/trove-couchdb-metrics/agent.sock"\ngroup = "prometheus"|' /etc/trove-couchdb-agent/agent.toml
walk "docs/metrics.md#A Unix socket"
over_the_socket() { # as whom
    inside setpriv --reuid="$1" --regid="$1" --clear-groups \
        curl -fsS --unix-socket /run/trove-couchdb-metrics/agent.sock http://agent/metrics
}
over_the_socket prometheus | grep -q '^trove_couchdb_agent_couchdb_up 1' || fail "Prometheus can't read the metrics"
! over_the_socket nobody >/dev/null 2>&1 || fail "nobody reads the metrics"
inside mv /root/agent.toml /etc/trove-couchdb-agent/agent.toml
inside rm -r /etc/tmpfiles.d/trove-couchdb-metrics.conf /etc/systemd/system/trove-couchdb-agent.service.d
inside systemctl daemon-reload
inside systemctl restart trove-couchdb-agent

facts() { inside sha256sum /var/lib/trove-couchdb-agent/.os_couchdb_admin_creds.json /etc/trove-couchdb-agent/agent.toml; }
main_pid() { inside systemctl show -P MainPID trove-couchdb-agent; }

step "an upgrade, by docs/operations.md, keeps it all and restarts the agent"
walk "docs/operations.md#Operations"
before=$(facts)
pid=$(main_pid)
packaging/tests/next.sh "$work/next"
cp "$work"/next/*.deb "$machine/root/"
walk "docs/operations.md#Upgrade"
# shellcheck disable=SC2016 # dpkg-query expands it
is "$(inside dpkg-query -W -f '${Version}' trove-couchdb-agent)" 99.0.0-1 "the version"
[ "$(main_pid)" != "$pid" ] || fail "the old agent still runs"
is "$(facts)" "$before" "state and configuration"
inside grep -q "A new key" /etc/trove-couchdb-agent/agent.toml.dpkg-dist || fail "the new sample is not beside the configuration"
sound "after the upgrade"

step "the way back"
walk "docs/operations.md#Go back"
# shellcheck disable=SC2016
is "$(inside dpkg-query -W -f '${Version}' trove-couchdb-agent)" "$old" "the version"
is "$(facts)" "$before" "state and configuration"
sound "after the way back"
walk "docs/operations.md#Upgrade"

step "an upgrade does not start what an operator has stopped"
inside systemctl stop trove-couchdb-agent
inside dpkg -i --force-confold /root/trove-couchdb-agent_99.0.0-1_amd64.deb >"$work/said" 2>&1 || fail "$(cat "$work/said")"
is "$(inside systemctl is-active trove-couchdb-agent || true)" inactive "the agent after it was stopped and upgraded"
inside systemctl start trove-couchdb-agent
soon inside sh -c 'systemctl show -P StatusText trove-couchdb-agent | grep "CouchDB is healthy"'
sound "after it was started again"

step "the rest of docs/operations.md"
walk "docs/operations.md#Watch it"
walk "docs/operations.md#The log"
walk "docs/operations.md#Rotate os_admin"
[ "$(facts)" != "$before" ] || fail "os_admin has the same password"
inside rm /var/lib/trove-couchdb-agent/.os_couchdb_admin_creds.json
inside trove-couchdb root-enable --output json >"$work/root"
walk "docs/operations.md#Recover lost credentials"
password=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["password"])' <"$work/root")
echo "user = root:$password" | inside curl -fsS -K - http://127.0.0.1:5984/_all_dbs | grep -q shop || fail "root was lost with os_admin"
sound "after all three ways to recover the credentials"
walk "docs/operations.md#Back up and restore"
walk "docs/operations.md#Move to a new broker"
sound "after the restoration"

step "a reboot brings it all back"
before=$(facts)
kill "$server"
server=''
power_off
boot
is "$(facts)" "$before" "state and configuration"
sound "after the reboot"

step "a removal leaves configuration and state, the commands of packaging/README.md take them"
walk "docs/operations.md#Remove"
is "$(inside systemctl is-active trove-couchdb-agent || true)" inactive "the agent after the removal"
is "$(facts)" "$before" "state and configuration"
al_reads >/dev/null
walk "packaging/README.md#What is in a package"
left=$(inside find /etc /var /usr -name '*trove-couchdb*' ! -path '/var/cache/*' ! -path '/etc/prometheus/*')
is "$left" "" "what a purge leaves"

step "README.md: installed by hand, in an instance of Trove"
source=$machine/root/source
mkdir -p "$source/target/release" "$machine/etc/trove/conf.d"
git ls-files -z etc packaging/systemd packaging/sysusers.d packaging/tmpfiles.d | xargs -0 cp --parents -t "$source"
cp target/packaging/programs/trove-couchdb-agent target/packaging/programs/trove-couchdb "$source/target/release/"
printf '%s\n' '[DEFAULT]' 'guest_id = 6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79' >"$machine/etc/trove/conf.d/guest_info.conf"
printf '%s\n' '[DEFAULT]' 'transport_url = rabbit://guestagent:secret@127.0.0.1:5672/' \
    >"$machine/etc/trove/conf.d/trove-guestagent.conf"
walk "README.md#Install it" /root/source
is "$(inside systemctl is-active trove-couchdb-agent)" active "the agent, installed by hand"
is "$(inside stat -c '%a %G' /etc/trove/conf.d/trove-guestagent.conf)" "640 trove-couchdb" "Trove's file with the broker's password"
inside systemctl show -P StatusText trove-couchdb-agent | grep -q 127.0.0.1:5672 || fail "STATUS does not name the broker that is away"

step "it goes down without a hitch"
power_off
echo "make walk: everything passed"
