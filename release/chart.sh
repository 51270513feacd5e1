#!/usr/bin/env bash
# Packages the chart with the address of the repository that releases it, and of the image.
set -euo pipefail
usage="usage: chart.sh VERSION URL REGISTRY REPOSITORY OUT"
version=${1:?$usage} url=${2:?$usage} registry=${3:?$usage} repository=${4:?$usage} out=${5:?$usage}
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/charts/vpce-operator
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
chart=$folder/vpce-operator
cp -R "$source" "$chart"
cat >> "$chart/Chart.yaml" <<END
  artifacthub.io/images: |
    - name: vpce-operator
      image: $registry/$repository:$version
  artifacthub.io/links: |
    - name: Documentation
      url: $url/blob/v$version/docs/README.md
    - name: Changelog
      url: $url/blob/v$version/CHANGELOG.md
home: $url
icon: $url/raw/v$version/docs/icon.svg
sources:
  - $url
END
# The values of the section `image`, the first of their names.
sed -i \
  -e "0,/^  registry: \"\"\$/s||  registry: $registry|" \
  -e "0,/^  repository: vpce-operator\$/s||  repository: $repository|" \
  "$chart/values.yaml"
grep -q "^  registry: $registry\$" "$chart/values.yaml"
grep -q "^  repository: $repository\$" "$chart/values.yaml"
"${HELM:-helm}" package "$chart" --version "$version" --app-version "$version" --destination "$out"
