#!/bin/sh
# Signs with a key in Google Cloud KMS, RSA (PKCS#1 v1.5) or ECDSA. Argument: the key version's resource name.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/request"
jq -r '."to-be-signed"' "$folder/request" | base64 -d >"$folder/message"
digest=$(jq -r '.algorithm | split("-") | last' "$folder/request")
gcloud kms asymmetric-sign --version "$1" --digest-algorithm "$digest" --input-file "$folder/message" \
  --signature-file "$folder/signature" >&2
base64 "$folder/signature"
