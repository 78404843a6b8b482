# shellcheck shell=sh
# A Debian 12 in a directory, booted with systemd as its process 1 and a network that is only its own loopback. For `.`, by
# walk.sh beside it, which sets $machine (the directory), $work (for notes) and fail().
#
# systemd-nspawn needs no systemd on this machine; without one (a build container) it gets control groups of its own here.
# On a machine that systemd has booted it asks that for them.

nspawn_program() {
    command -v systemd-nspawn && return
    # Only the program: the package would bring services to this machine.
    tools=$(pwd)/target/tools/systemd-container
    if [ ! -x "$tools/usr/bin/systemd-nspawn" ]; then
        mkdir -p "$tools"
        (cd "$tools" && apt-get download -qq systemd-container 2>/dev/null && dpkg-deb -x systemd-container_*.deb .) ||
            fail "systemd-nspawn is missing: apt-get install systemd-container"
    fi
    echo "$tools/usr/bin/systemd-nspawn"
}

control_groups() { # Our directory in each hierarchy that a systemd may use.
    for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
        [ ! -e "$hierarchy/cgroup.procs" ] || echo "$hierarchy/trove-couchdb-walk-$$"
    done
}

nspawn='' init='' own_groups=''
: "${machine:?}" "${work:?}"
boot() {
    program=$(nspawn_program)
    keep=''
    if [ ! -d /run/systemd/system ]; then
        keep=--keep-unit
        own_groups=$(control_groups)
        # shellcheck disable=SC2086 # paths without blanks
        mkdir -p $own_groups
    fi
    # shellcheck disable=SC2016 # the inner shell expands
    setsid sh -c 'for group in $1; do echo $$ >"$group/cgroup.procs"; done; shift; exec "$@"' boot "$own_groups" \
        "$program" --quiet --directory "$machine" --boot --private-network --register=no $keep \
        --machine="walk-$$" --console=pipe </dev/null >"$work/console" 2>&1 &
    nspawn=$!
    state=''
    for _ in $(seq 600); do
        [ -d "/proc/$nspawn" ] || fail "the machine ended: $(cat "$work/console")"
        sleep 0.1
        read -r init _ <"/proc/$nspawn/task/$nspawn/children" || [ -n "$init" ] || continue
        cat >"$work/inside" <<INSIDE
#!/bin/sh
exec nsenter --target $init --mount --uts --ipc --net --pid --root --wd=/ -- env -i --chdir=/root HOME=/root LANG=C.UTF-8 TERM=dumb \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "\$@"
INSIDE
        chmod 755 "$work/inside"
        state=$(inside systemctl is-system-running 2>&1) || true
        case $state in
            running) return ;;
            degraded | maintenance) fail "$(inside systemctl --failed --no-pager)" ;;
        esac
    done
    fail "not booted within a minute: $state; $(cat "$work/console")"
}

inside() { # A command as root of the machine. $work/inside is the same as a program.
    "$work/inside" "$@"
}

power_off() {
    # The answer may get lost: what answers is going down, too.
    inside systemctl --no-block poweroff 2>/dev/null || true
    for _ in $(seq 600); do
        state=$(cut -d' ' -f3 "/proc/$nspawn/stat" 2>/dev/null) || state=Z
        [ "$state" != Z ] || break
        sleep 0.1
    done
    [ "$state" = Z ] || fail "the machine does not go down: $(cat "$work/console")"
    wait "$nspawn" || fail "the machine did not stop well: $(cat "$work/console")"
    nspawn='' init=''
}

demolish() { # What is left of it, at the end of the test, however that came.
    if [ -n "$nspawn" ]; then
        kill -KILL "${init:-$nspawn}" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    for group in $own_groups; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}
