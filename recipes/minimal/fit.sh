#!/bin/sh
# What the target qemu-arm64-fit needs besides the packages, into inputs/fit: a kernel that trusts the policy's certificate,
# and the device tree of the machine that `graven run` makes. The first time a kernel is built, which takes minutes.
#
#   recipes/minimal/fit.sh [KEYS]
#
# KEYS is what the image will be signed with, a folder that `graven keys new` made. Default: ~/.cache/graven/keys-arm64.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
inputs=$top/recipes/minimal/inputs
kernel=$("$top/tests/kernels/build.sh" "$@")/base
mkdir -p "$inputs"
exec 9>"$inputs/.fit.lock"
flock 9
new=$inputs/fit.new
rm -rf "$new"
mkdir "$new"
# What lies where kernels are built is never changed.
for part in Image config modules; do ln -s "$kernel/$part" "$new/$part"; done
# Without randomness: seeds that are the same at every boot are none, and the image's bytes would depend on them.
qemu-system-aarch64 -machine "virt,dtb-randomness=off,dumpdtb=$new/virt.dtb" -cpu cortex-a72 -smp 2 -m 1024 \
  -net none -nographic -bios /usr/lib/u-boot/qemu_arm64/u-boot.bin >/dev/null 2>&1
# Nobody who reads it now is disturbed where nothing has changed.
if [ "$(readlink "$inputs/fit/Image")" = "$kernel/Image" ] && cmp -s "$new/virt.dtb" "$inputs/fit/virt.dtb"; then
  rm -rf "$new"
else
  rm -rf "$inputs/fit"
  mv "$new" "$inputs/fit"
fi
