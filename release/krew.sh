#!/usr/bin/env bash
# Prints the manifest of the plugin for krew, which leads to the archives of the release.
set -euo pipefail
usage="usage: krew.sh VERSION URL OUT"
version=${1:?$usage} url=${2:?$usage} out=${3:?$usage}
cat << MANIFEST
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: vpce
spec:
  version: v$version
  homepage: $url
  shortDescription: Inspect the VPC endpoints of vpce-operator
  description: |
    "kubectl vpce status" shows a VPCEndpoint on one screen: its account,
    network, endpoint, Service, names and events. For platform teams, "plan"
    shows what the operator would do, "orphans" what belongs to no object, and
    "iam-policy" and "accounts" print the policies and manifests of AWS accounts.
  platforms:
MANIFEST
for cpu in amd64 arm64; do
  archive=vpce-operator_${version}_linux_$cpu.tar.gz
  sum=$(sha256sum < "$out/$archive")
  cat << PLATFORM
    - selector:
        matchLabels:
          os: linux
          arch: $cpu
      uri: $url/releases/download/v$version/$archive
      sha256: ${sum%% *}
      bin: vpce-operator
PLATFORM
done
