# shellcheck shell=sh
# CouchDB's volume under systemd: a loop device, by the helper's own units. For `.`, by walk.sh, which has booted the machine.
# A machine in a container has no udev: its device nodes are made here.

disk='' loop=''
free_disk() {
    [ -z "$loop" ] || losetup --detach "$loop" 2>/dev/null || true
}
ask_hostd() { # a verb, and its argument
    python3 packaging/tests/walk/hostd.py "/proc/${init:?}/root/run/trove-couchdb-hostd/hostd.sock" "$@" >"$work/said" 2>&1
}
must_ask() {
    ask_hostd "$@" || fail "$*: $(cat "$work/said")"
}

volume_under_systemd() {
    disk=$work/volume.img
    truncate --size=64M "$disk"
    if ! loop=$(losetup --find --show "$disk" 2>/dev/null); then
        loop=''
        echo "SKIPPED: no loop devices, so no volume under systemd"
        return
    fi
    inside mknod "$loop" b 7 "${loop#/dev/loop}" 2>/dev/null || true
    if ! inside blkid --probe "$loop" >"$work/said" 2>&1 && [ -s "$work/said" ]; then
        echo "SKIPPED: the machine can't use $loop, so no volume under systemd: $(cat "$work/said")"
        return
    fi
    inside cp -a /etc/trove-couchdb-agent/host.toml /root/host.toml
    inside sh -c "cat >>/etc/trove-couchdb-agent/host.toml" <<POLICY
[volume]
allow = ["volume-status", "volume-format", "volume-move-data", "volume-mount", "volume-unmount", "volume-grow"]
devices = ["$loop"]
mount_point = "/var/lib/couchdb"
POLICY
    must_ask volume-format "$loop"
    uuid=$(inside blkid --probe --output value --match-tag UUID "$loop")
    inside mkdir -p /dev/disk/by-uuid
    inside ln -sf "$loop" "/dev/disk/by-uuid/$uuid"
    must_ask service-stop
    must_ask volume-move-data
    ! inside systemctl start couchdb 2>/dev/null || {
        sleep 1
        ! inside systemctl is-active --quiet couchdb || fail "CouchDB runs on the empty directory"
        inside systemctl stop couchdb
    }
    inside systemctl reset-failed
    must_ask volume-mount
    is "$(inside findmnt --noheadings --output SOURCE /var/lib/couchdb)" "$loop" "the volume"
    is "$(inside systemctl is-enabled var-lib-couchdb.mount)" enabled "the unit of the mount"
    inside findmnt --noheadings --output OPTIONS /var/lib/couchdb | grep -q noatime || fail "the volume's options"
    must_ask service-start
    soon al_reads

    # Started by hand without the volume, and then with it. Meanwhile the disk grows: a mounted ext4 grows only with
    # CAP_SYS_RESOURCE, which not every container has.
    inside systemctl stop couchdb var-lib-couchdb.mount
    truncate --size=96M "$disk"
    losetup --set-capacity "$loop"
    must_ask volume-grow
    grep -q '"changed": true' "$work/said" || fail "it did not grow: $(cat "$work/said")"
    inside rm "/dev/disk/by-uuid/$uuid"
    ! inside systemctl start couchdb >"$work/said" 2>&1 || fail "CouchDB was started without its volume"
    ! inside systemctl is-active --quiet couchdb || fail "CouchDB runs without its volume"
    ! ask_hostd service-start || fail "hostd started CouchDB without its volume"
    grep -q 'is not mounted on /var/lib/couchdb' "$work/said" || fail "$(cat "$work/said")"
    inside ln -sf "$loop" "/dev/disk/by-uuid/$uuid"
    inside systemctl reset-failed
    inside systemctl start couchdb
    is "$(inside findmnt --noheadings --output SOURCE /var/lib/couchdb)" "$loop" "the volume after a start of CouchDB"
    soon al_reads

    # The way back, for the rest of the walk.
    must_ask service-stop
    must_ask volume-unmount
    inside sh -c 'systemctl disable --quiet var-lib-couchdb.mount
        rm -r /etc/systemd/system/var-lib-couchdb.mount /etc/systemd/system/couchdb.service.d /var/lib/trove-couchdb-hostd
        rmdir /var/lib/couchdb && mv /var/lib/couchdb.before-* /var/lib/couchdb
        mv /root/host.toml /etc/trove-couchdb-agent/host.toml
        systemctl daemon-reload'
    free_disk
    loop=''
    must_ask service-start
    sound "after the volume"
}
