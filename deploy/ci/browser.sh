#!/usr/bin/env bash
# Installs what drives the browser of the tests (a Debian package) and what judges the page in it, into a folder below target.
# Made once; any number of tests may call it at the same time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
wanted='playwright-core@1.65.1 axe-core@4.14.1'
# shellcheck source=deploy/ci/once.sh
. deploy/ci/once.sh target/browser installed "$wanted"

mkdir -p target/browser
echo '{ "private": true, "type": "module" }' >target/browser/package.json
# shellcheck disable=SC2086 # two words
npm install --prefix target/browser --silent --no-audit --no-fund --ignore-scripts $wanted >&2
fetched
