#!/bin/sh
# Makes the package of a later version, 99.0.0-1, whose sample of agent.toml is another one, as it is after every new key: dpkg
# then has a question about an operator's own. Who calls: deb.sh and walk.sh beside it: `next.sh DIRECTORY`.
set -eu
cd "$(dirname "$0")/../.."
packaging/deb.sh "$1" --deb-version 99.0.0-1 >/dev/null
package=$(echo "$1"/*.deb)
dpkg-deb --raw-extract "$package" "$1/tree"
echo '# A new key.' >>"$1/tree/etc/trove-couchdb-agent/agent.toml"
dpkg-deb --root-owner-group -Zgzip --build "$1/tree" "$package" >/dev/null
rm -r "$1/tree"
