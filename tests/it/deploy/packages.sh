#!/usr/bin/env bash
# Installs a Debian package of ours on a copy of this machine that lasts as long as this script, boots the copy's systemd, and
# runs two replicas by the units of the package. The machine itself is only read: what the copy writes goes into memory.
#
#   unshare --mount packages.sh PACKAGE REDIS_URL IMAGES
#
# IMAGES: a pattern of those that may run. The copy has the network of this machine. Says what it has done, a word a line; after
# `started` it goes on when it reads a line.
set -euo pipefail
package=$1 url=$2 images=$3

scratch=$(mktemp -d)
mount -t tmpfs -o size=512m copy "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" copy "$root"
# Of the services of this machine none runs in the copy.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/rc?.d "$root/etc/machine-id"
grep -q '^docker:' "$root/etc/group" || echo 'docker:x:998:' >>"$root/etc/group"

install -D -m 644 "$package" "$root/startjobs.deb"
chroot "$root" dpkg --install /startjobs.deb >&2
echo installed
chroot "$root" systemd-analyze verify startjobs.target startjobs@01.service 2>&1 | grep -i startjobs >&2 && exit 1
chroot "$root" /usr/bin/startjobs --version | grep -q '^startjobs '
chroot "$root" man --where 1 startjobs-status | grep -q startjobs-status.1
# shellcheck disable=SC2016 # for the shell in the copy
chroot "$root" bash -c '. /usr/share/bash-completion/completions/startjobs && complete -p startjobs' | grep -q startjobs
echo verified

printf 'STARTJOBS_REDIS_URL=%s\nSTARTJOBS_ENGINE=simulated\nSTARTJOBS_HTTP_ADDR=off\n' "$url" >"$root/etc/startjobs/startjobs.env"
printf 'allowed-images = ["%s"]\n' "$images" >"$root/etc/startjobs/policy.toml"
install -m 600 /dev/null "$root/etc/startjobs/redis-password"
# The password of the user that the URL names.
echo packaged >"$root/etc/startjobs/redis-password"

systemd-nspawn --quiet --register=no --keep-unit --directory="$root" --boot --console=pipe </dev/null >"$scratch/console" 2>&1 &
nspawn=$!
inside() { nsenter --target "$leader" --all "$@"; }
leader='' state=''
for _ in $(seq 600); do
    leader=$(pgrep --parent "$nspawn" 2>/dev/null | head -n 1) || true
    # It answers with a failure unless everything of this machine runs in the copy as well.
    if [ -n "$leader" ]; then state=$(inside systemctl is-system-running 2>/dev/null) || true; fi
    case $state in running | degraded) break ;; esac
    kill -0 "$nspawn" || { cat "$scratch/console" >&2; exit 1; }
    sleep 0.1
done
echo booted
stop() { inside systemctl poweroff 2>/dev/null || kill "$nspawn" 2>/dev/null || true; wait "$nspawn" || true; }
trap stop EXIT
inside systemctl enable --now startjobs@01 startjobs@02 >&2 || { inside journalctl -u 'startjobs@*' --no-pager >&2; exit 1; }
inside systemctl is-active startjobs@01 startjobs@02 startjobs.target >&2
echo started
# The test sends jobs meanwhile, and says when they are answered.
read -r _
# Named too, because a stop of the target alone does not wait for them.
inside systemctl stop startjobs.target startjobs@01 startjobs@02
for unit in startjobs@01 startjobs@02; do
    result=$(inside systemctl show --property Result --value "$unit")
    said=$(inside journalctl -u "$unit" --no-pager)
    if [ "$result" != success ] || [[ $said != *'start jobs consumer stopped'* ]]; then
        printf '%s ended with %s\n%s\n' "$unit" "$result" "$said" >&2
        exit 1
    fi
done
echo drained
inside systemctl start startjobs@01
inside dpkg --remove startjobs >&2
inside systemctl is-active startjobs@01 >&2 && exit 1
inside test ! -e /usr/bin/startjobs
inside test -e /etc/startjobs/startjobs.env
inside dpkg --purge startjobs >&2
inside test ! -e /etc/startjobs/startjobs.env
echo removed
