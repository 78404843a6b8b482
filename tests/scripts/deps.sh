#!/bin/sh
# Installs from Debian what the tests and the tour need and this machine lacks; with `packages`, what the tests of the packages
# need. Who calls: the Makefile.
# Never touches Rust, and never lets the packages start their services: we run a RabbitMQ node of our own, and the
# system-wide one would only take memory and a port.
set -eu

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

need() { # a program, and Debian's packages with it
    command -v "$1" >/dev/null || missing="$missing $2"
}

if ! command -v cargo >/dev/null; then
    echo "Rust is missing: install it from https://rustup.rs (1.88 or newer), then run make again." >&2
    exit 1
fi

# Two programs of Debian's prometheus: the whole package brings a server that starts at boot.
tools=$(cd "$(dirname "$0")/../.." && pwd)/target/tools
if [ ! -x "$tools/prometheus" ] && ! command -v prometheus >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "Please install Prometheus, with promtool." >&2
        exit 1
    fi
    echo "Taking promtool and prometheus out of Debian's package prometheus"
    unpacked=$(mktemp -d)
    (
        cd "$unpacked"
        apt-get download -qq prometheus 2>/dev/null || { as_root apt-get update -qq && apt-get download -qq prometheus; }
        dpkg-deb -x prometheus_*.deb .
    )
    mkdir -p "$tools"
    mv "$unpacked/usr/bin/promtool" "$unpacked/usr/bin/prometheus" "$tools/"
    rm -rf "$unpacked"
fi

missing=
if [ "${1:-}" = packages ]; then
    need dpkg-shlibdeps dpkg-dev
    need lintian lintian
    need mmdebstrap mmdebstrap
    need gpg gnupg
    need rpmbuild rpm
    need rpmlint rpmlint
fi
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
# Debian keeps ensurepip, without which `python3 -m venv` fails, in a package of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3 python3-venv"
need openssl openssl
# Shows what the agent syncs, and when.
need strace strace
# Check the examples in etc/examples.
need rsyslogd "rsyslog rsyslog-openssl"
need logrotate logrotate
# Reads the packages' scripts (`make test-element`).
need shellcheck shellcheck
need cc "gcc libc6-dev"
command -v flock >/dev/null && command -v setpriv >/dev/null || missing="$missing util-linux"
# What systemd makes of our unit; systemd itself need not run. libseccomp puts its filter to the test.
command -v systemd-analyze >/dev/null && command -v systemd-sysusers >/dev/null || missing="$missing systemd"
python3 -c 'import ctypes; ctypes.CDLL("libseccomp.so.2")' 2>/dev/null || missing="$missing libseccomp2"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Please install, as this system names them:$missing" >&2
    exit 1
fi
echo "Installing from Debian:$missing"
# shellcheck disable=SC2016 # the inner shell expands
as_root sh -euc '
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap "rm -f $policy" EXIT
        printf "#!/bin/sh\nexit 101\n" >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
' install $missing
