#!/usr/bin/env bash
# Writes checksums.txt for all files of a folder, as `sha256sum --check` reads it.
set -euo pipefail
cd "${1:?usage: checksums.sh FOLDER}"
rm -f checksums.txt
sums=$(find . -maxdepth 1 -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum)
echo "$sums" > checksums.txt
