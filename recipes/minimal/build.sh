#!/bin/sh
# From a fresh machine to a signed image: installs what is missing, fetches the inputs, builds Graven, carves. For
# qemu-x86_64, unless --target says another one.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
tests/setup.sh
cargo build --release --locked -p graven
case " $* " in
  *" --target "* | *" --target="*) ;;
  *) set -- --target qemu-x86_64 "$@" ;;
esac
exec target/release/graven build recipes/minimal "$@"
