#!/usr/bin/env bash
# Builds the images rdev-api, claudebox and rdev-worker, and pushes them to a registry.
#
#   scripts/build-push.sh --registry HOST/PATH
#
#   --registry PATH    registry of the images (or RDEV_REGISTRY); required
#   --tag TAG          default: `git describe` of this working tree, which must be clean
#   --platform LIST    default: linux/amd64; several need docker with buildx, and a builder that supports them
#                      (`docker buildx create`)
#   --engine NAME      docker, podman or buildah; default: the first of them that is installed. Docker's buildx is used where it
#                      is installed, which Debian 12 has no package for
#   --dry-run          print the commands, run nothing
#
# Exit codes: 0 pushed, 1 something failed, 2 called wrongly.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh

registry=${RDEV_REGISTRY:-} tag='' platform=linux/amd64 engine='' run=()
while [ "$#" -gt 0 ]; do
    case "$1" in
    -h | --help) print_help && exit 0 ;;
    --dry-run) run=(echo) && shift && continue ;;
    --registry) registry=$(value "$@") ;;
    --tag) tag=$(value "$@") ;;
    --platform) platform=$(value "$@") ;;
    --engine) engine=$(value "$@") ;;
    *) misuse "unknown argument '$1'" ;;
    esac
    shift 2
done
[ -n "$registry" ] || misuse "no registry: name one with --registry or RDEV_REGISTRY, such as registry.example.com/rdev"
registry=${registry%/}
[[ "$registry" =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$ ]] || misuse "--registry '$registry': accepted is HOST/PATH in lower case, without https://"
[ -n "$tag" ] || tag=$(image_tag)
[[ "$tag" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || misuse "--tag '$tag': accepted are up to 128 letters, digits, '_', '.' and '-'"
[[ "$platform" =~ ^linux/[a-z0-9/]+(,linux/[a-z0-9/]+)*$ ]] || misuse "--platform '$platform': accepted is a list such as linux/amd64,linux/arm64"
case "$engine" in
'')
    for engine in docker podman buildah; do
        if command -v "$engine" >/dev/null; then break; fi
        engine=''
    done
    [ -n "$engine" ] || fail "no program that builds images; install one of these Debian packages: docker.io, podman, buildah"
    ;;
docker | podman | buildah) command -v "$engine" >/dev/null || fail "please install $engine" ;;
*) misuse "--engine '$engine': accepted are docker, podman and buildah" ;;
esac
buildx=
if [ "$engine" = docker ] && docker buildx version >/dev/null 2>&1; then buildx=yes; fi
[ -n "$buildx" ] || [[ "$platform" != *,* ]] ||
    fail "--platform $platform: several platforms need docker with buildx; without it name one at a time, with a --tag of its own"

build() {
    local name=$1 folder=$2
    shift 2
    local image=$registry/$name:$tag
    local options=(--platform "$platform" --tag "$image" --label "org.opencontainers.image.revision=$(git rev-parse HEAD)"
        --file "docker/$folder/Dockerfile" "$@" .)
    if [ -n "$buildx" ]; then
        "${run[@]}" docker buildx build --push "${options[@]}"
    else
        "${run[@]}" "$engine" build "${options[@]}" && "${run[@]}" "$engine" push "$image"
    fi || fail "$image was not built and pushed"
}

build rdev-api rdev-api --build-arg "RDEV_COMMIT=$(git rev-parse --short=12 HEAD)"
build claudebox claudebox
# Its base is the claudebox pushed just now.
build rdev-worker worker --build-arg "CLAUDEBOX=$registry/claudebox:$tag"
