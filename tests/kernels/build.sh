#!/usr/bin/env bash
# Builds the arm64 kernels of the FIT tests: `arm64.config` as it stands (base), and with `deny.config` over it (deny).
# Cross-compiled from Debian's linux-source-7.3, without root and without emulation: some twenty minutes of one core.
#
#   tests/kernels/build.sh [KEYS]
#   tests/kernels/build.sh --ml-dsa
#
# With --ml-dsa: the one kernel of `ml-dsa.config` instead, which checks ML-DSA signatures and boots no appliance. Its keys lie in
# ~/.cache/graven/keys-ml-dsa, made on first use.
#
# KEYS is a folder as `graven keys new` makes it. Its policy.crt goes into the kernel: without UEFI that is the only place
# where the kernel looks for it. It must also hold modules.pem, key and certificate that sign the modules, and gets one
# where it has none. Default: ~/.cache/graven/keys-arm64, made on first use. The keys of tests must stay the same, or
# each run would need a kernel of its own.
#
# Prints the folder of the result, ~/.cache/graven/kernels/arm64-DIGEST, in which lie base/ and deny/, each with Image,
# config, certificates.der and modules/ (what is lib/modules/RELEASE on a system). The digest covers everything that goes
# in, so what lies there is never built again. ~/.cache/graven/kernels/arm64 is a link to the newest for the default keys.
set -euo pipefail
umask 022
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/graven
set=arm64
fragments=("$here"/{arm64,deny}.config)
files=("$here/deny.pol")
kinds=()
if [ "${1-}" = --ml-dsa ]; then
  set=ml-dsa
  fragments=("$here/ml-dsa.config")
  files=()
  kinds=(--algorithm policy=ml-dsa-65)
  shift
fi
default_keys=$cache/keys-$set
keys=${1:-$default_keys}
# Raised when the same files would make another kernel because of what this script does with them.
procedure=1
kernels=$cache/kernels
cross=aarch64-linux-gnu-
say() { printf 'kernels: %s\n' "$*" >&2; }
# The lines of configurations that say something.
options() { cat "$@" | sed -E '/^CONFIG_|^# CONFIG_.* is not set$/!d'; }

mkdir -p "$kernels"
exec 9>"$kernels/lock"
flock 9

# 1. Keys.
if ! [ -e "$keys/policy.crt" ]; then
  [ "$keys" = "$default_keys" ] || { say "$keys has no policy.crt: make it with graven keys new"; exit 2; }
  say "making $keys"
  (cd "$here/../.." && cargo run --quiet --locked --bin graven -- keys new "$keys" --name "Tests on $set" "${kinds[@]}") >&2
fi
if [ "$set" = arm64 ] && ! [ -e "$keys/modules.pem" ]; then
  (
    umask 077
    openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 36500 -subj "/CN=Tests on arm64 modules" \
      -addext basicConstraints=critical,CA:FALSE -addext keyUsage=digitalSignature \
      -keyout "$keys/modules.pem.new" -out "$keys/modules.crt" 2>/dev/null
    cat "$keys/modules.crt" >>"$keys/modules.pem.new"
  )
  mv "$keys/modules.pem.new" "$keys/modules.pem"
fi

# 2. What was built from the same things stays.
deb=$(compgen -G "$cache/debs/linux-source-7.3_*_all.deb" | sort -V | tail -n 1) ||
  { say "no linux-source-7.3_*.deb in $cache/debs: run tests/setup.sh"; exit 3; }
digest=$(
  {
    echo "$procedure"
    for fragment in "${fragments[@]}"; do options "$fragment"; done
    cat "${files[@]}" "$keys/policy.crt"
    [ "$set" != arm64 ] || openssl x509 -in "$keys/modules.pem"
    basename "$deb"
    "${cross}gcc" --version
  } | sha256sum | cut -c -16
)
result=$kernels/$set-$digest
finish() {
  [ "$keys" != "$default_keys" ] || ln -sfn "$set-$digest" "$kernels/$set"
  echo "$result"
  exit 0
}
[ -d "$result" ] && finish

# 3. Source and build trees, gone at the end; the log stays where something fails.
say "building $result from ${deb##*/}"
started=$SECONDS
work=$(mktemp -d "$kernels/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/build" "$work/result"
dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/src/linux-source-7.3.tar.xz | tar -xJ --strip-components 1 -C "$work/source"

# Nothing of this machine or day in the bytes. Paths are relative to the build tree, since the configuration lies in the kernel.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026' KBUILD_BUILD_USER=graven KBUILD_BUILD_HOST=graven
export KBUILD_BUILD_VERSION=1 LC_ALL=C TZ=UTC
[ "$set" != arm64 ] || (umask 077; cp "$keys/modules.pem" "$work/build/modules.pem")
cp "$keys/policy.crt" "${files[@]}" "$work/build/"
make=(nice -n 10 make --no-print-directory -s -C "$work/source" "O=$work/build" ARCH=arm64 "CROSS_COMPILE=$cross" "-j$(nproc)")
log=$kernels/build.log
quietly() {
  "$@" >>"$log" 2>&1 || { say "failed: $*"; tail -n 30 "$log" >&2; say "all of it: $log"; exit 1; }
}
: >"$log"

# Every line of the fragments must hold in the configuration that comes out.
configure() {
  options "$@" |
    awk '{ name = $1 == "#" ? $2 : substr($0, 1, index($0, "=") - 1)
           if (!(name in at)) order[++n] = name
           at[name] = $0 }
         END { for (i = 1; i <= n; i++) print at[order[i]] }' >"$work/wanted"
  quietly "${make[@]}" "KCONFIG_ALLCONFIG=$work/wanted" allnoconfig
  local line missing=()
  while read -r line; do
    case $line in
      "# "*) ! grep -q "^${line:2:-11}=" "$work/build/.config" || missing+=("$line") ;;
      *) grep -qxF -- "$line" "$work/build/.config" || missing+=("$line") ;;
    esac
  done <"$work/wanted"
  [ ${#missing[@]} = 0 ] || { say "these had no effect in $*:"; printf '  %s\n' "${missing[@]}" >&2; exit 1; }
}

# The second variant differs from the first in few objects, so it is built in the same tree.
variant() {
  local name=$1 to=$work/result/$1
  shift
  configure "$@"
  quietly "${make[@]}" Image modules
  mkdir "$to"
  cp "$work/build/arch/arm64/boot/Image" "$to/Image"
  cp "$work/build/.config" "$to/config"
  cat "$work/build/certs/signing_key.x509" "$work/build/certs/x509_certificate_list" >"$to/certificates.der"
  # No depmod: who carves an image makes the index of what it carries.
  quietly "${make[@]}" "INSTALL_MOD_PATH=$work/install" DEPMOD=true modules_install
  mv "$work"/install/lib/modules/* "$to/modules"
  rm -rf "$work/install" "$to/modules/build" "$to/modules/source"
}
if [ "$set" = arm64 ]; then
  variant base "$here/arm64.config"
  variant deny "$here/arm64.config" "$here/deny.config"
else
  # Without modules.
  configure "$here/ml-dsa.config"
  quietly "${make[@]}" Image
  cp "$work/build/arch/arm64/boot/Image" "$work/build/.config" "$work/result/"
fi

mv "$work/result" "$result"
say "built in $((SECONDS - started)) s"
finish
