#!/bin/sh
# Builds stage0 so that its bytes depend on its source, its lock file and the compiler alone.
#
#   build.sh ARCH OUT      ARCH: x86_64 or aarch64; OUT: the file to write
#
# Takes the musl target where the compiler has it, else the GNU one, linked statically. CARGO, RUSTC and
# CARGO_TARGET_DIR are honoured; the last must not be one that another cargo holds.
set -eu
arch=$1
out=$2
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
boot=$(dirname "$here")
cargo=${CARGO:-cargo}
rustc=${RUSTC:-rustc}
sysroot=$("$rustc" --print sysroot)
for libc in musl gnu; do
    target=$arch-unknown-linux-$libc
    if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then break; fi
    target=
done
if [ -z "$target" ]; then
    echo "build.sh: $rustc has no standard library for $arch: rustup target add $arch-unknown-linux-musl" >&2
    exit 3
fi
build=${CARGO_TARGET_DIR:-$here/target}
home=${CARGO_HOME:-${HOME:-/}/.cargo}


# Whatever the caller's own build sets must not reach this one.
unset RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS CARGO_MAKEFLAGS MAKEFLAGS
for name in $(env | sed -n 's/^\(CARGO_PROFILE_[A-Z0-9_]*\|CARGO_TARGET_[A-Z0-9_]*_[A-Z]*\)=.*/\1/p'); do
    [ "$name" = CARGO_TARGET_DIR ] || unset "$name"
done

# Flags are separated by the unit separator, so that folders may have blanks in their names.
flags=
flag() { flags="$flags${flags:+$(printf '\037')}$1"; }
flag -Ctarget-feature=+crt-static
flag -Crelocation-model=static
# The later of two that fit wins: from the outermost folder to the innermost.
flag "--remap-path-prefix=$home=/cargo"
flag "--remap-path-prefix=$sysroot=/rust"
flag "--remap-path-prefix=$boot=/boot"
flag "--remap-path-prefix=$build=/build"
case $target in
*-musl)
    # The linker that comes with the compiler: nothing of the machine's own goes in.
    flag -Clinker=rust-lld
    flag -Clinker-flavor=ld.lld
    flag -Clink-self-contained=yes
    flag -Clink-arg=--build-id=none
    ;;
aarch64-*-gnu)
    [ "$(uname -m)" = aarch64 ] || flag -Clinker=aarch64-linux-gnu-gcc
    flag -Clink-arg=-Wl,--build-id=none
    ;;
*) flag -Clink-arg=-Wl,--build-id=none ;;
esac

CARGO_ENCODED_RUSTFLAGS=$flags CARGO_TARGET_DIR=$build CARGO_INCREMENTAL=0 RUSTC=$rustc \
    "$cargo" build --release --locked --target "$target" --manifest-path "$here/Cargo.toml" >&2
mkdir -p "$(dirname "$out")"
cp "$build/$target/release/graven-stage0" "$out"
