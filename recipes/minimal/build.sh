#!/bin/sh
# From a fresh machine to a signed image: installs what is missing, fetches the inputs, builds Graven, carves.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
tests/setup.sh
cargo build --release --locked -p graven
exec target/release/graven build recipes/minimal "$@"
