#!/bin/sh
# Makes a signed package repository that stands for Apache's: DIRECTORY/repository (what `deb URL bookworm main` finds),
# DIRECTORY/keys.asc with two keys as in Apache's file, and DIRECTORY/fingerprint of the one that signs. Both keys are made
# here. Who calls: element.sh and walk.sh beside it: `repository.sh DIRECTORY PACKAGE-TREE`.
set -eu
directory=$1
tree=$2

for tool in dpkg-scanpackages gpg; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing: apt-get install dpkg-dev gnupg" >&2
        exit 1
    }
done
export GNUPGHOME="$directory/gnupg"
mkdir -m 700 "$GNUPGHOME"
for who in wanted other; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$who@test.example" ed25519 sign never
done
gpg --batch --quiet --armor --export >"$directory/keys.asc"
gpg --batch --quiet --with-colons --list-keys wanted@test.example | sed -n 's/^fpr:::::::::\(.*\):$/\1/p;T;q' >"$directory/fingerprint"

pool=$directory/repository/dists/bookworm
mkdir -p "$pool/main/binary-amd64"
chmod -R u=rwX,go=rX "$tree"
dpkg-deb --root-owner-group --build "$tree" "$directory/repository/couchdb_99.0_all.deb" >/dev/null
(cd "$directory/repository" && dpkg-scanpackages --multiversion . 2>/dev/null >dists/bookworm/main/binary-amd64/Packages)
sum=$(sha256sum "$pool/main/binary-amd64/Packages" | cut -d' ' -f1)
size=$(stat -c %s "$pool/main/binary-amd64/Packages")
cat >"$directory/Release" <<RELEASE
Suite: bookworm
Codename: bookworm
Date: $(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')
Architectures: amd64 all
Components: main
SHA256:
 $sum $size main/binary-amd64/Packages
RELEASE
gpg --batch --quiet --local-user wanted@test.example --clear-sign -o "$pool/InRelease" "$directory/Release"
gpgconf --kill all
