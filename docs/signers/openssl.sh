#!/bin/sh
# Signs with a key that openssl can reach, RSA or ECDSA: a file, or what a provider of its names. Argument: the key.
set -eu
request=$(cat)
digest=$(printf '%s' "$request" | jq -r '.algorithm | split("-") | last')
printf '%s' "$request" | jq -r '."to-be-signed"' | base64 -d | openssl dgst "-$digest" -sign "$1" | base64
