#!/usr/bin/env bash
# Builds a U-Boot for QEMU's arm64 machine by docs/u-boot.md: `arm64.config` over qemu_arm64_defconfig. Cross-compiled from
# the source of Debian 12's package, which tests/setup.sh keeps, without root: some three minutes of one core.
#
#   tests/u-boot/build.sh
#
# Prints the file of the result, ~/.cache/graven/u-boot/arm64-DIGEST/u-boot-nodtb.bin: it wants its control device tree, with
# the key in it, behind it. The digest covers everything that goes in, so what lies there is never built again.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/graven/u-boot
cross=aarch64-linux-gnu-
say() { printf 'u-boot: %s\n' "$*" >&2; }

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
dsc=$(compgen -G "$cache/source/u-boot_*.dsc" | sort -V | tail -n 1) ||
  { say "no source in $cache/source: run tests/setup.sh"; exit 3; }
options() { sed -E '/^CONFIG_|^# CONFIG_.* is not set$/!d' "$1"; }
digest=$({ options "$here/arm64.config"; cat "$dsc"; "${cross}gcc" --version; } | sha256sum | cut -c -16)
result=$cache/arm64-$digest
[ ! -d "$result" ] || { echo "$result/u-boot-nodtb.bin"; exit; }

say "building $result from ${dsc##*/}"
started=$SECONDS
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
log=$cache/build.log
quietly() {
  "$@" >>"$log" 2>&1 || { say "failed: $*"; tail -n 30 "$log" >&2; say "all of it: $log"; exit 1; }
}
: >"$log"
quietly dpkg-source --no-check -x "$dsc" "$work/source"
# Nothing of this machine or day in the bytes.
export SOURCE_DATE_EPOCH=1767225600 LC_ALL=C TZ=UTC
make=(make --no-print-directory -s -C "$work/source" "O=$work/build" "CROSS_COMPILE=$cross" NO_SDL=1 "-j$(nproc)")
quietly "${make[@]}" qemu_arm64_defconfig
options "$here/arm64.config" >>"$work/build/.config"
quietly "${make[@]}" olddefconfig
missing=()
while read -r line; do
  case $line in
    "# "*) ! grep -q "^${line:2:-11}=" "$work/build/.config" || missing+=("$line") ;;
    *) grep -qxF -- "$line" "$work/build/.config" || missing+=("$line") ;;
  esac
done < <(options "$here/arm64.config")
[ ${#missing[@]} = 0 ] || { say "these had no effect:"; printf '  %s\n' "${missing[@]}" >&2; exit 1; }
quietly "${make[@]}" u-boot-nodtb.bin
mkdir "$work/result"
cp "$work/build/u-boot-nodtb.bin" "$work/result/"
mv "$work/result" "$result"
say "built in $((SECONDS - started)) s"
echo "$result/u-boot-nodtb.bin"
