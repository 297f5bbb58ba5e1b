#!/bin/sh
# Signs with a key in AWS KMS, RSA or ECDSA. Argument: the key's id or ARN.
set -eu
request=$(cat)
field() { printf '%s' "$request" | jq -r ".$1"; }
case $(field algorithm) in
  rsa-pkcs1-sha256) algorithm=RSASSA_PKCS1_V1_5_SHA_256 ;;
  ecdsa-p256-sha256) algorithm=ECDSA_SHA_256 ;;
  ecdsa-p384-sha384) algorithm=ECDSA_SHA_384 ;;
  *) echo "$(field algorithm): not one of those that are asked for here" >&2; exit 1 ;;
esac
digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
field digest | tr a-f A-F | basenc --base16 --decode >"$digest"
aws kms sign --key-id "$1" --message "fileb://$digest" --message-type DIGEST \
  --signing-algorithm "$algorithm" --query Signature --output text
