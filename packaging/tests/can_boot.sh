#!/bin/sh
# Whether this machine can boot another one in it (walk.sh beside this): if not, says why not and exits 1. Who calls: .ci/run, which
# may be run by somebody who is not root or in a container that may not do this.
set -eu

no() {
    echo "$*"
    exit 1
}

[ "$(id -u)" = 0 ] || no "it wants root"
unshare --mount --pid --net --uts --ipc --fork --mount-proc true 2>/dev/null || no "no namespaces can be made here"
[ ! -d /run/systemd/system ] || exit 0
# What machine.sh makes for systemd-nspawn, which otherwise asks systemd for it.
found=
for hierarchy in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    found=$hierarchy/trove-couchdb-trial-$$
    { mkdir "$found" && rmdir "$found"; } 2>/dev/null || no "no control groups can be made in $hierarchy"
done
[ -n "$found" ] || no "there are no control groups below /sys/fs/cgroup"
