# shellcheck shell=bash
# What the scripts in deploy/ share: talk on stderr, and packages. Sourced, not run.

say() { printf '== %s\n' "$*" >&2; }

# Runs a command under a name, and says every 20 seconds that it still runs. The loop ends with this script.
patiently() {
    local what=$1 began=$SECONDS every=${STILL_RUNNING_EVERY:-20} ticker code=0
    shift
    while sleep "$every" >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null; do
        say "$what: still running after $((SECONDS - began)) s"
    done &
    ticker=$!
    "$@" || code=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    return "$code"
}

# Is there such a program, be it where only administrators look?
has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] || [ -x "/usr/games/$1" ]; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Installs Debian packages without their services being started: whatever is needed here runs privately.
install_packages() (
    say "installing $*"
    has apt-get || { say "there is no apt-get here; install these by hand: $*"; exit 1; }
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get -qq update >&2 &&
        as_root apt-get -qq install -y --no-install-recommends "$@" >&2
)

# Installs what is not there of these programs; `python3-venv` is Python with its module of that name.
install_missing() {
    local program packages=()
    for program; do
        case $program in
            python3-venv) has python3 && python3 -c 'import ensurepip' 2>/dev/null ;;
            *) has "$program" ;;
        esac && continue
        case $program in
            cc) packages+=(gcc libc6-dev) ;;
            dockerd) packages+=(docker.io) ;;
            dropbear) packages+=(dropbear-bin) ;;
            busybox) packages+=(busybox-static) ;;
            ip) packages+=(iproute2) ;;
            nft) packages+=(nftables) ;;
            nginx) packages+=(nginx-light) ;;
            node) packages+=(nodejs) ;;
            promtool) packages+=(prometheus) ;;
            systemd-analyze) packages+=(systemd) ;;
            systemd-nspawn) packages+=(systemd-container) ;;
            *) packages+=("$program") ;;
        esac
    done
    [ "${#packages[@]}" -eq 0 ] || install_packages "${packages[@]}"
}

# Reads --out DIR and --binary FILE into $out and $binary.
# shellcheck disable=SC2034 # the script that sources this uses them
read_out_and_binary() {
    while [ $# -gt 0 ]; do
        [ $# -ge 2 ] || { say "$1 needs a value"; exit 2; }
        case $1 in
            --out) out=$2 ;;
            --binary) binary=$2 ;;
            *) say "unknown option $1; there are --out and --binary"; exit 2 ;;
        esac
        shift 2
    done
}
