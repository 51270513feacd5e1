#!/usr/bin/env bash
# Packs the binary of each platform with the licence. The same input gives the same bytes.
set -euo pipefail
usage="usage: archives.sh VERSION BINARIES OUT"
version=${1:?$usage} binaries=$(cd "${2:?$usage}" && pwd) out=${3:?$usage}
mkdir -p "$out"
out=$(cd "$out" && pwd)
licence=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/LICENSE
for platform in linux_amd64 linux_arm64; do
  folder=$(mktemp -d)
  install -m 755 "$binaries/$platform/vpce-operator" "$folder/vpce-operator"
  install -m 644 "$licence" "$folder/LICENSE"
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --directory "$folder" LICENSE vpce-operator |
    gzip --no-name > "$out/vpce-operator_${version}_${platform}.tar.gz"
  rm -r "$folder"
done
