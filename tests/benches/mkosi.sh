#!/usr/bin/env bash
# recipes/edge-server and a like image by trixie's mkosi: both from packages that are there already, one after the other on
# this machine. Prints the seconds of each and their ratio. Needs root (mkosi does), about 4 GB in the cache, a mirror.
#
#   tests/benches/mkosi.sh [RUNS]      each is run so often (3), the best counts
set -euo pipefail
umask 022
cd "$(dirname "$0")/../.."

runs=${1:-3}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/graven
work=$cache/bench/mkosi
system=$work/system
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=${GRAVEN_DEBIAN_MIRROR:-$(awk '/ trixie /{print $3; exit}' "$cache/apt/etc/sources.list")}
say() { printf 'mkosi.sh: %s\n' "$*" >&2; }
[ "$(id -u)" = 0 ] || { say "run this as root: mkosi mounts"; exit 3; }

# A trixie with mkosi and what it calls.
if ! [ -x "$system/usr/bin/mkosi" ]; then
  say "making $system"
  rm -rf "$system"
  mkdir -p "$work"
  mmdebstrap --quiet --variant=apt --keyring="$keyring" --include="$(tr -s ' \n' ',' <<<"mkosi systemd systemd-boot-efi
    systemd-ukify systemd-repart systemd-container udev erofs-utils cryptsetup-bin dosfstools mtools kmod zstd cpio
    debian-archive-keyring ca-certificates openssl sbsigntool e2fsprogs" | sed 's/^,//; s/,$//')" trixie "$system" "$mirror"
fi

# The like image: the same packages, a UKI signed for Secure Boot, an EROFS root with dm-verity and a signed root hash.
mkdir -p "$system/image/mkosi.repart" "$system/image/mkosi.extra"
packages=$(sed -n '/^install = \[/,/^\]/p' recipes/edge-server/recipe.toml | grep -o '"[^"]*"' | tr -d '"')
{
  printf '[Distribution]\nDistribution=debian\nRelease=trixie\nLocalMirror=%s\n' "$mirror"
  printf '[Output]\nFormat=disk\nImageId=edge-server\nCompressOutput=no\n'
  printf '[Validation]\nSecureBoot=yes\nVerity=yes\n'
  printf '[Content]\nBootable=yes\nBootloader=uki\nWithRecommends=no\nWithDocs=no\nPackages=linux-image-amd64,systemd-boot-efi%s\n' \
    "$(printf ',%s' $packages)"
  printf '[Build]\nIncremental=no\nPackageCacheDirectory=/image/packages\nWithNetwork=no\n'
} >"$system/image/mkosi.conf"
cat >"$system/image/mkosi.repart/00-esp.conf" <<'CONF'
[Partition]
Type=esp
Format=vfat
CopyFiles=/boot:/
CopyFiles=/efi:/
SizeMinBytes=256M
SizeMaxBytes=256M
CONF
cat >"$system/image/mkosi.repart/10-root.conf" <<'CONF'
[Partition]
Type=root
Format=erofs
CopyFiles=/
Verity=data
VerityMatchKey=root
Minimize=best
CONF
cat >"$system/image/mkosi.repart/11-root-verity.conf" <<'CONF'
[Partition]
Type=root-verity
Verity=hash
VerityMatchKey=root
Minimize=best
CONF
cat >"$system/image/mkosi.repart/12-root-verity-sig.conf" <<'CONF'
[Partition]
Type=root-verity-sig
Verity=signature
VerityMatchKey=root
CONF
mkdir -p "$system/image/packages"
[ -e "$system/image/mkosi.key" ] || openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=bench/ \
  -keyout "$system/image/mkosi.key" -out "$system/image/mkosi.crt" 2>/dev/null

# A root of its own, not a chroot: there mkosi could make no namespaces.
inside() {
  unshare --mount --propagation private sh -ec '
    mount --bind "$1" "$1"; cd "$1"; shift
    mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
    cp /etc/resolv.conf etc/resolv.conf
    mkdir -p old; pivot_root . old; cd /; umount -l old
    exec "$@"' sh "$system" "$@"
}
mkosi() { inside mkosi --directory /image --force "$@" build; }
# The best of some runs, in seconds.
best() {
  local run best= seconds
  for run in $(seq "$runs"); do
    seconds=$( { TIMEFORMAT=%R; time "$@" >"$work/log" 2>&1; } 2>&1) || { tail -n 20 "$work/log" >&2; exit 1; }
    say "run $run of $1: $seconds s"
    best=$(printf '%s\n' $best "$seconds" | sort -g | head -n 1)
  done
  echo "$best"
}

say "filling mkosi's cache of packages from $mirror"
mkosi --with-network=yes >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; exit 1; }

say "building graven, locking and fetching"
cargo build --quiet --release -p graven
recipe=$work/edge-server
rm -rf "$recipe" "$work/out"
cp -r recipes/edge-server "$recipe"
ssh-keygen -q -t ed25519 -N '' -C bench -f "$work/admin" <<<y >/dev/null
cp "$work/admin.pub" "$recipe/keys/admin.pub"
build() { target/release/graven build "$recipe" --target qemu-x86_64 --locked --out "$work/out/image"; }
target/release/graven lock "$recipe" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
build >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

theirs=$(best mkosi)
ours=$(best build)
awk -v theirs="$theirs" -v ours="$ours" 'BEGIN { printf "mkosi %s s, graven %s s: %.1f times as fast\n", theirs, ours, theirs / ours }'
