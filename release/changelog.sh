#!/usr/bin/env bash
# Prints the section of a version from CHANGELOG.md, without its heading.
set -euo pipefail
version=${1:?usage: changelog.sh VERSION}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
section=$(awk -v heading="## [$version]" '
  /^## / { inside = index($0, heading) == 1; next }
  /^\[[^]]*\]: / { next }
  inside { print }
' CHANGELOG.md)
if [ -z "${section//[[:space:]]/}" ]; then
  echo "CHANGELOG.md has no section [$version]" >&2
  exit 1
fi
echo "$section"
