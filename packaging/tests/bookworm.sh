#!/bin/sh
# Prints the path of an archive with a bare Debian 12: minbase, and what every installed Debian has besides (systemd as init,
# dbus, debconf, certificates). Made once (mmdebstrap, a minute) and kept. Who calls: deb.sh and walk.sh beside it, as root.
set -eu
cd "$(dirname "$0")/../.."
archive=target/packaging/debian12.tar
if [ ! -e "$archive" ]; then
    mkdir -p target/packaging
    mmdebstrap --quiet --format=tar --variant=minbase --include=systemd-sysv,dbus,debconf,ca-certificates bookworm "$archive.new" >&2
    mv "$archive.new" "$archive"
fi
echo "$archive"
