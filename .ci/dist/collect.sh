#!/usr/bin/env bash
# collect.sh ARTIFACTS RELEASE: puts what several machines have built into one folder, packed and with sums of all.
set -euo pipefail
artifacts=$1 release=$2
mkdir -p "$release"
cp "$artifacts"/dist/* "$release"
for folder in "$artifacts"/mcp-policy-*; do
    target=${folder##*/mcp-policy-}
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    # An artifact forgets that its file is a program.
    chmod +x "$folder"/*
    tar -czf "$release/mcp-policy-$version-$target.tar.gz" --owner=0 --group=0 -C "$folder" .
done
cd "$release"
rm -f SHA256SUMS
sha256sum -- * >SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
