#!/usr/bin/env bash
# Makes what is installed without a container: a Debian package and a tarball, both with the static binary, the systemd units,
# completions, manual pages, the documents, the policy to begin with and the files for Redis and Prometheus.
#
#   deploy/package.sh                     builds the binary and writes both to target/package
#   deploy/package.sh --out DIR           writes them there
#   deploy/package.sh --binary FILE       takes a binary that is there already
#
# The package: `apt install ./startjobs_*.deb`, then /etc/startjobs (docs/packages.md). The tarball: unpacked below /usr/local.
# The names of the files go to stdout, talk to stderr. The same commit makes the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

out=target/package binary=''
read_out_and_binary "$@"
for program in dpkg-deb gzip tar; do
    has "$program" || { say "$program is missing: install dpkg, gzip and tar"; exit 1; }
done

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
arch=$(dpkg --print-architecture)
# All files are as old as the commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
[ -n "$binary" ] || binary=$(deploy/ci/static.sh)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# Lays everything out below $1; programs go to $1$2, the units name that place.
lay_out() {
    local root=$1 prefix=$2 units=$3 zsh=$4 fish=$5 page
    mkdir -p "$root$prefix/bin" "$root$units" "$root$prefix/share/man/man1" "$root$prefix/share/doc/startjobs/examples" \
        "$root$prefix/share/bash-completion/completions" "$root$prefix/share/$zsh" "$root$prefix/share/$fish"
    { has strip && strip -o "$root$prefix/bin/startjobs" "$binary" 2>/dev/null; } ||
        cp "$binary" "$root$prefix/bin/startjobs"
    chmod 755 "$root$prefix/bin/startjobs"
    for page in 'startjobs@.service' startjobs.target; do
        sed "s|/usr/local/|$prefix/|" "deploy/systemd/$page" >"$root$units/$page"
    done
    "$binary" man --out "$root$prefix/share/man/man1"
    for page in "$root$prefix"/share/man/man1/*; do gzip -9n "$page"; done
    "$binary" completions bash >"$root$prefix/share/bash-completion/completions/startjobs"
    "$binary" completions zsh >"$root$prefix/share/$zsh/_startjobs"
    "$binary" completions fish >"$root$prefix/share/$fish/startjobs.fish"
    cp docs/*.md docs/asyncapi.yaml README.md "$root$prefix/share/doc/startjobs/"
    cp -r docs/screenshots "$root$prefix/share/doc/startjobs/"
    cp -r deploy/redis deploy/monitoring deploy/policy deploy/firewall deploy/systemd/host.env.example \
        "$root$prefix/share/doc/startjobs/examples/"
}

say "startjobs_${version}_$arch.deb"
deb=$work/deb
lay_out "$deb" /usr /lib/systemd/system zsh/vendor-completions fish/vendor_completions.d
mkdir -p "$deb/etc/startjobs" "$deb/DEBIAN"
cp deploy/systemd/startjobs.env.example "$deb/etc/startjobs/startjobs.env"
cp deploy/policy/policy.strict.toml "$deb/etc/startjobs/policy.toml"
chmod 644 "$deb/etc/startjobs/"*
printf '%s\n' /etc/startjobs/startjobs.env /etc/startjobs/policy.toml >"$deb/DEBIAN/conffiles"
cat >"$deb/DEBIAN/control" <<EOF
Package: startjobs
Version: $version
Architecture: $arch
Maintainer: startjobs <startjobs@localhost>
Installed-Size: $(du -sk "$deb" | cut -f1)
Section: net
Priority: optional
Recommends: docker.io | docker-ce
Suggests: redis-server, prometheus
Description: starts game engine containers from a Redis stream
 A fleet of replicas in one consumer group takes start jobs from a Redis stream, starts each game's
 container, and publishes one outcome per job, even when replicas die.
 .
 Nothing is started by installing it: fill in /etc/startjobs, then systemctl enable --now startjobs@01.
EOF
# systemd has to read the units again; what runs is drained before its program goes.
cat >"$deb/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
EOF
cat >"$deb/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl stop startjobs.target 'startjobs@*'; fi
EOF
cp "$deb/DEBIAN/postinst" "$deb/DEBIAN/postrm"
chmod 755 "$deb/DEBIAN/postinst" "$deb/DEBIAN/prerm" "$deb/DEBIAN/postrm"
(cd "$deb" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
mkdir -p "$out"
dpkg-deb --root-owner-group -Zgzip --build "$deb" "$out/startjobs_${version}_$arch.deb" >&2

name=startjobs-$version-linux-$arch
say "$name.tar.gz"
lay_out "$work/$name" '' /lib/systemd/system zsh/site-functions fish/vendor_completions.d
# Below /usr/local the units name the programs as they are in this folder of ours.
cp deploy/systemd/startjobs.target "deploy/systemd/startjobs@.service" "$work/$name/lib/systemd/system/"
mkdir -p "$work/$name/share/startjobs"
cp deploy/systemd/startjobs.env.example deploy/policy/policy.strict.toml "$work/$name/share/startjobs/"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$work" -cf - "$name" |
    gzip -9n >"$out/$name.tar.gz"
printf '%s\n' "$out/startjobs_${version}_$arch.deb" "$out/$name.tar.gz"
