#!/usr/bin/env bash
# Checks that a tag, Cargo.toml, the chart and the changelog have the same version, and prints it.
set -euo pipefail
tag=${1:?usage: version.sh TAG}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${tag#v}
# The first `version` of a file: `version = "0.1.0"`, `version: 0.1.0`.
version_in() { sed -n "s/^$2[ :=]*\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$1" | head -n 1; }
check() {
  if [ "$2" != "$version" ]; then
    echo "the tag is $tag, but $1 is '$2'" >&2
    exit 1
  fi
}
check "the version in Cargo.toml" "$(version_in Cargo.toml version)"
check "the version of the chart" "$(version_in charts/vpce-operator/Chart.yaml version)"
check "the appVersion of the chart" "$(version_in charts/vpce-operator/Chart.yaml appVersion)"
release/changelog.sh "$version" > /dev/null
echo "$version"
