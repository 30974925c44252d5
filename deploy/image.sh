#!/usr/bin/env bash
# Builds the image of the worker: the static binary, then deploy/Dockerfile around it.
#
#   deploy/image.sh                                    startjobs:<version>, over nothing
#   deploy/image.sh --tag registry.example/startjobs:1
#   deploy/image.sh --binary FILE --base IMAGE         a binary that is there already, over an image with its libraries
#
# DOCKER_HOST says which engine builds it. The name of the image goes to stdout, talk to stderr.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
tag=startjobs:$version binary='' base=scratch
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { say "$1 needs a value"; exit 2; }
    case $1 in
    --tag) tag=$2 ;;
    --binary) binary=$2 ;;
    --base) base=$2 ;;
    *) say "unknown option $1; there are --tag, --binary and --base"; exit 2 ;;
    esac
    shift 2
done

has docker || { say 'docker is missing: install docker.io'; exit 1; }
[ -n "$binary" ] || binary=$(deploy/ci/static.sh)

# A folder of its own is all that the engine gets to see.
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp deploy/Dockerfile "$context/"
# The image needs no debug symbols.
{ has strip && strip -o "$context/startjobs" "$binary" 2>/dev/null; } || cp "$binary" "$context/startjobs"
chmod 755 "$context/startjobs"
# As the program itself says, where it runs here.
revision=$("$binary" --version 2>/dev/null | sed -n 's/^revision *//p')
revision=${revision:-unknown}

say "building $tag over $base"
# The classic builder comes with every engine.
DOCKER_BUILDKIT=0 docker build --quiet --tag "$tag" --build-arg "BASE=$base" --build-arg "VERSION=$version" \
    --build-arg "REVISION=$revision" "$context" >&2
printf '%s\n' "$tag"
