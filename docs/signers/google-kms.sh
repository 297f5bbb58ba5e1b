#!/bin/sh
# Signs with an RSA key (PKCS#1 v1.5, SHA-256) in Google Cloud KMS. Argument: the key version's resource name. Not run by
# Graven's tests.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
jq -r '."to-be-signed"' | base64 -d >"$folder/message"
gcloud kms asymmetric-sign --version "$1" --digest-algorithm sha256 --input-file "$folder/message" \
  --signature-file "$folder/signature" >&2
base64 "$folder/signature"
