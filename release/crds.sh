#!/usr/bin/env bash
# Prints all CRDs as one file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for crd in crds/*.yaml; do
  echo "---"
  cat "$crd"
done
