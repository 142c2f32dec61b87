#!/bin/sh
# Installs the edgenas device daemon from files that lie here: a .deb, a wheel, or a folder with several of them.
#
#     sh install.sh [FILE-OR-FOLDER]        (default: the folder of this script)
#
# Set by environment:
#     EDGENAS_VERSION   take this version out of a folder (default: the only one there)
#     EDGENAS_METHOD    deb or wheel (default: deb where dpkg is)
#     EDGENAS_BROKER    with it, the board is enrolled as well; so are
#     EDGENAS_FLEET, EDGENAS_ID, EDGENAS_PROFILE, EDGENAS_VERIFY_KEY, EDGENAS_TLS_CA, EDGENAS_TLS_CERT, EDGENAS_TLS_KEY
#                       (EDGENAS_VERIFY_KEY: one file, or several divided by colons)
#     EDGENAS_OS_RELEASE, EDGENAS_MACHINE, EDGENAS_PREFIX   stand in for the board's own, to try things out
#
# All of it is inside functions, and main is called on the last line, in braces: a script that was cut off on its way does nothing.
set -eu

say() {
    echo "edgenas install: $*"
}

die() {
    echo "edgenas install: $*" >&2
    exit 1
}

# Prints Debian's name of the architecture; $1: what `uname -m` says.
arch_of() {
    case "$1" in
    x86_64 | amd64) echo amd64 ;;
    aarch64 | arm64) echo arm64 ;;
    armv7l | armv8l) echo armhf ;;
    armv6l)
        die "expected 64-bit ARM, 32-bit ARMv7 or x86-64, got $1: no runtime exists for a Raspberry Pi 1 or Zero;" \
            "a Zero 2 W or newer works"
        ;;
    *) die "expected x86_64, aarch64 or armv7l, got '$1'; no runtime exists for it" ;;
    esac
}

# Prints the architecture that packages are installed for: dpkg knows a 32-bit system on a 64-bit kernel.
board_arch() {
    if [ -z "${EDGENAS_MACHINE:-}" ] && command -v dpkg >/dev/null 2>&1; then
        found=$(dpkg --print-architecture)
        case "$found" in
        amd64 | arm64) echo "$found" && return ;;
        armhf) ;; # also what an ARMv6 board with Raspberry Pi OS says
        *) die "expected Debian's amd64, arm64 or armhf, got '$found'; no package exists for it" ;;
        esac
        case "$(uname -m)" in
        armv6l) arch_of armv6l ;;
        *) echo armhf && return ;;
        esac
    fi
    arch_of "${EDGENAS_MACHINE:-$(uname -m)}"
}

# Prints the board's name and version; $1: os-release file. Reads it without running it.
os_name() {
    [ -r "$1" ] || {
        echo "unknown system"
        return
    }
    sed -n 's/^PRETTY_NAME=//p' "$1" | tr -d '"'
}

# Prints the Python of this system without its dot, for instance 311.
system_python() {
    /usr/bin/env PATH=/usr/bin:/bin python3 -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null ||
        die "expected python3 of this system, got none; apt-get install python3"
}

# Prints the one file of folder $1 that fits pattern $2; fails when there is none, dies when there are several.
only_one() {
    # shellcheck disable=SC2086  # the pattern is to be expanded
    set -- "$1" "$2" "$1"/$2
    [ -e "$3" ] || return 1
    [ $# -eq 3 ] || {
        folder=$1
        shift 2
        die "expected one package in $folder, got: $*; name one, or set EDGENAS_VERSION"
    }
    echo "$3"
}

# Prints the package or wheel to install out of $1, a file or a folder; $2: architecture, $3: Python.
choose() {
    [ -e "$1" ] || die "expected a .deb, a .whl or a folder, got '$1', which is not there"
    [ -d "$1" ] || {
        echo "$1"
        return
    }
    version=${EDGENAS_VERSION:-*}
    method=${EDGENAS_METHOD:-any}
    if [ "$method" != wheel ] && command -v dpkg >/dev/null 2>&1; then
        only_one "$1" "edgenas-device_${version}+py$3_$2.deb" && return
        [ "$method" = any ] || die "expected edgenas-device_${version}+py$3_$2.deb in $1, found none"
    fi
    only_one "$1" "edgenas-${version}-py3-none-any.whl" && return
    die "expected edgenas-device_${version}+py$3_$2.deb or edgenas-${version}-py3-none-any.whl in $1," \
        "found neither; 'make deb ARCH=$2 PY=$3' builds the first"
}

# Dies unless package $1 is for architecture $2 and Python $3.
check_deb() {
    command -v dpkg-deb >/dev/null 2>&1 || die "expected Debian's dpkg for $1, got a system without it; use the wheel"
    dpkg-deb --info "$1" >/dev/null 2>&1 || die "expected a Debian package, $1 is none or was cut off; fetch it again"
    of=$(dpkg-deb --field "$1" Architecture)
    [ "$of" = "$2" ] || die "expected a package for $2, $1 is for $of; take the one for this board"
    case "$(dpkg-deb --field "$1" Version)" in
    *+py"$3") ;;
    *) die "expected a package for Python $3 (+py$3), got $1; take the one for this system's Python" ;;
    esac
}

install_deb() {
    if command -v apt-get >/dev/null 2>&1; then
        # A path with a slash is a file to apt-get; it fetches what the package depends on.
        apt-get install -y --no-install-recommends "$(realpath "$1")"
    else
        dpkg -i "$1"
    fi
}

# The wheel brings no runtime: pip fetches it, from PIP_FIND_LINKS or PIP_INDEX_URL where they are set.
install_wheel() {
    prefix=${EDGENAS_PREFIX:-/opt/edgenas}
    /usr/bin/env PATH=/usr/bin:/bin python3 -m venv "$prefix" ||
        die "expected 'python3 -m venv' to work; on Debian: apt-get install python3-venv"
    "$prefix/bin/python" -m pip install --disable-pip-version-check "$(realpath "$1")[device]" ||
        die "pip could not install $1; its message above says what is missing"
    [ "$prefix" != /opt/edgenas ] || ln -sf "$prefix/bin/edgenas-device" /usr/local/bin/edgenas-device
    say "installed without a service; units to copy are in packaging/, docs/installing.md says how"
}

enroll() {
    program=$1
    set -- --broker "$EDGENAS_BROKER"
    [ -z "${EDGENAS_FLEET:-}" ] || set -- "$@" --fleet "$EDGENAS_FLEET"
    [ -z "${EDGENAS_ID:-}" ] || set -- "$@" --id "$EDGENAS_ID"
    [ -z "${EDGENAS_PROFILE:-}" ] || set -- "$@" --profile "$EDGENAS_PROFILE"
    keys=${EDGENAS_VERIFY_KEY:-}
    while [ -n "$keys" ]; do
        set -- "$@" --verify-key "${keys%%:*}"
        case "$keys" in *:*) keys=${keys#*:} ;; *) keys= ;; esac
    done
    [ -z "${EDGENAS_TLS_CA:-}" ] || set -- "$@" --tls-ca "$EDGENAS_TLS_CA"
    [ -z "${EDGENAS_TLS_CERT:-}" ] || set -- "$@" --tls-cert "$EDGENAS_TLS_CERT"
    [ -z "${EDGENAS_TLS_KEY:-}" ] || set -- "$@" --tls-key "$EDGENAS_TLS_KEY"
    "$program" enroll "$@"
}

main() {
    case "${1:-}" in
    -h | --help)
        sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
        return
        ;;
    esac
    [ $# -le 1 ] || die "expected one file or folder, got $#: $*"
    arch=$(board_arch)
    python=$(system_python)
    system=$(os_name "${EDGENAS_OS_RELEASE:-/etc/os-release}")
    [ "$python" -ge 310 ] || die "expected Python 3.10 or newer, $system has Python $python; install a newer system"
    file=$(choose "${1:-$(dirname "$0")}" "$arch" "$python")
    say "$system, $arch, Python $python: $file"
    prefix=${EDGENAS_PREFIX:-/opt/edgenas}
    case "$file" in
    *.deb) check_deb "$file" "$arch" "$python" ;;
    *.whl) ;;
    *) die "expected a .deb or a .whl, got $file" ;;
    esac
    [ "$(id -u)" -eq 0 ] || [ "$prefix" != /opt/edgenas ] || die "expected root, got user $(id -un); run it with sudo"
    case "$file" in
    *.deb) install_deb "$file" ;;
    *.whl) install_wheel "$file" ;;
    esac
    if [ -n "${EDGENAS_BROKER:-}" ]; then
        enroll "$prefix/bin/edgenas-device"
    else
        say "next: edgenas-device enroll --broker mqtt://HOST:1883 --fleet FLEET"
    fi
}

{ main "$@"; }
