# shellcheck shell=sh
# Builds the package as somebody does who follows docs/quick-start.md, in a bare Debian 12 with this machine's Rust, and leaves it in
# $work/package. For `.`, by walk.sh beside it with BUILD=1, which sets $work, $archive and fail(); takes ten minutes.

: "${work:?}" "${archive:?}"
builder=$work/builder
mkdir -p "$builder" "$work/package"
tar -C "$builder" -xf "$archive"
cp -L /etc/resolv.conf /etc/hosts "$builder/etc/"
# The authorities of this machine's network, which may have one of its own.
cp -L /etc/ssl/certs/ca-certificates.crt "$builder/etc/ssl/certs/"
git clone --quiet --no-hardlinks . "$builder/root/source"
mkdir -p "$builder/root/.cargo" "$builder/root/.rustup"
mount --bind "${CARGO_HOME:-$HOME/.cargo}" "$builder/root/.cargo"
mount --bind "${RUSTUP_HOME:-$HOME/.rustup}" "$builder/root/.rustup"
mount -t proc proc "$builder/proc"
unmount_builder() {
    umount "$builder/root/.cargo" "$builder/root/.rustup" "$builder/proc" 2>/dev/null || true
}
python3 packaging/tests/walk/page.py "docs/quick-start.md#Its package" packaging/tests/walk/builder.toml rust=true -- \
    chroot "$builder" env -i --chdir=/root/source HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -c ||
    fail "the package is not built by following the page"
cp "$builder"/root/trove-couchdb-agent_*_amd64.deb "$work/package/"
unmount_builder
rm -rf --one-file-system "$builder"
