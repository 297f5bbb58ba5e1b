#!/bin/sh
# Signs with an RSA key that openssl can reach: a file, or what a provider of its names. Argument: the key.
set -eu
jq -r '."to-be-signed"' | base64 -d | openssl dgst -sha256 -sign "$1" | base64
