#!/bin/sh
# Signs with an RSA key in AWS KMS. Argument: the key's id or ARN. Not run by Graven's tests.
set -eu
digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
jq -r .digest | xxd -r -p >"$digest"
aws kms sign --key-id "$1" --message "fileb://$digest" --message-type DIGEST \
  --signing-algorithm RSASSA_PKCS1_V1_5_SHA_256 --query Signature --output text
