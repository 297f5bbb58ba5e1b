#!/usr/bin/env bash
# A folder to a disk image, side by side and in turn: ours, mkfs.erofs + veritysetup + copy, systemd-repart; and a plain
# copy of the folder with cp -a, which does not wait for the disk as ours does, and with a sync after it.
#   [GRAVEN=PROGRAM] tests/benches/image.sh [ROUNDS [WHO...]]
# As root (systemd-repart runs in a chroot); 5 rounds by default, WHO of ours by_hand with_repart copied copied_synced;
# 12 GB of disk. Without GRAVEN, it is built.
# Prints a row for each run, then medians and the ratios pair by pair. docs/performance.md says what is compared.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
everyone=("${@:2}")
[ ${#everyone[@]} -gt 0 ] || everyone=(ours by_hand with_repart copied copied_synced)
[ "$(id -u)" = 0 ] || { echo "image.sh: systemd-repart is run in a chroot: be root" >&2; exit 3; }

tests/setup.sh

cache=${XDG_CACHE_HOME:-$HOME/.cache}/graven/bench
tree=$cache/tree
repart=$cache/repart
mkdir -p "$cache"
mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z]+:/) { print $i; exit } }' \
  "$cache/../apt/etc/sources.list")

# 1. What is carved: packages of Debian 13 as they unpack, 1.3 GB in tens of thousands of files.
if ! [ -e "$tree.done" ]; then
  rm -rf "$tree"
  mmdebstrap --quiet --variant=extract --arch=amd64 \
    --include=clang-19,llvm-19,git,python3-full,gdb,vim,systemd,nftables,openssh-server,libpython3-dev,golang-go,linux-image-amd64 \
    trixie "$tree" "$mirror"
  touch "$tree.done"
fi
# 2. systemd-repart of Debian 13, with the mkfs.erofs that it calls.
if ! [ -e "$repart.done" ]; then
  rm -rf "$repart"
  mmdebstrap --quiet --variant=extract --arch=amd64 \
    --include=base-files,systemd-repart,erofs-utils,openssl,cryptsetup-bin,util-linux,coreutils,libcryptsetup12,libssl3t64 \
    trixie "$repart" "$mirror"
  for folder in bin sbin lib lib64; do [ -e "$repart/$folder" ] || ln -s "usr/$folder" "$repart/$folder"; done
  mkdir -p "$repart"/{proc,dev,bench/{tree,work,defs,keys}}
  touch "$repart.done"
fi

if [ -z "${GRAVEN-}" ]; then
  cargo build --release --locked --quiet -p graven
  GRAVEN=${CARGO_TARGET_DIR:-target}/release/graven
fi
graven=$(realpath "$GRAVEN")
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$graven" keys new "$work/keys" --name bench >/dev/null
# Kernel and stub lie unpacked, since the two others take no package apart.
parts=$work/parts
for deb in recipes/minimal/inputs/{linux-*,systemd-boot-efi_*}_amd64.deb; do dpkg-deb -x "$deb" "$parts"; done
kernel=$(echo "$parts"/usr/lib/modules/*)
mkdir "$work/recipe"
cat >"$work/recipe/recipe.toml" <<RECIPE
name = "bench"
version = "1.0.0"
source-date = 1767225600
targets = ["qemu-x86_64"]
init = "/usr/lib/systemd/systemd"
[[source]]
dir = "$tree"
metadata = "keep"
[kernel]
vmlinuz = "$kernel/vmlinuz"
config = "$kernel/config"
modules-dir = "$kernel"
[boot]
stub = "$parts/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
RECIPE
printf '%s\n' '[Partition]' Type=root Format=erofs CopyFiles=/bench/tree:/ Verity=data VerityMatchKey=r Minimize=best \
  >"$repart/bench/defs/10-root.conf"
printf '%s\n' '[Partition]' Type=root-verity Verity=hash VerityMatchKey=r Minimize=best >"$repart/bench/defs/20-verity.conf"
printf '%s\n' '[Partition]' Type=root-verity-sig Verity=signature VerityMatchKey=r >"$repart/bench/defs/30-sig.conf"
cp "$work"/keys/db.{key,crt} "$repart/bench/keys/"

# 3. The three, each from the folder to a disk image that is on the disk. One argument: the folder to work in.
ours() { "$graven" build "$work/recipe" --target qemu-x86_64 --keys "$work/keys" --out "$1/out" >/dev/null; }

by_hand() {
  mkfs.erofs --quiet "$1/root.img" "$tree" >/dev/null
  veritysetup format "$1/root.img" "$1/verity.img" >/dev/null
  local root verity second
  root=$(($(stat -c %s "$1/root.img") / 512)) verity=$(($(stat -c %s "$1/verity.img") / 512))
  second=$(((2048 + root + 2047) / 2048 * 2048))
  truncate -s $(((second + verity + 2048) * 512)) "$1/disk.img"
  sgdisk -n "1:2048:$((2048 + root - 1))" -n "2:$second:$((second + verity - 1))" "$1/disk.img" >/dev/null
  dd if="$1/root.img" of="$1/disk.img" bs=4M seek=1M oflag=seek_bytes conv=notrunc status=none
  dd if="$1/verity.img" of="$1/disk.img" bs=4M seek=$((second * 512)) oflag=seek_bytes conv=notrunc,fsync status=none
}

with_repart() {
  unshare --mount sh -eu -c '
    mount --bind "$2" "$3/bench/tree"; mount --bind "$1" "$3/bench/work"
    mount -t proc proc "$3/proc"; mount --rbind /dev "$3/dev"
    exec chroot "$3" env TMPDIR=/bench/work systemd-repart --empty=create --size=auto --offline=yes --dry-run=no \
      --definitions=/bench/defs --private-key=/bench/keys/db.key --certificate=/bench/keys/db.crt /bench/work/disk.img
  ' sh "$1" "$tree" "$repart" >/dev/null 2>&1
}

copied() { cp -a "$tree" "$1/copy"; }
copied_synced() { copied "$1" && sync -f "$1"; }

# Seconds on the clock, processor seconds, of one run; the folder is made before and removed after.
TIMEFORMAT='%R %U %S'
run() {
  local folder=$work/$1 timed
  rm -rf "$folder"
  mkdir "$folder"
  sync
  timed=$({ time "$1" "$folder" >&2; } 2>&1 1>/dev/null) || { echo "image.sh: $1: $timed" >&2; exit 1; }
  rm -rf "$folder"
  awk '{ printf "%s %.2f\n", $1, $2 + $3 }' <<<"$(tail -n 1 <<<"$timed")"
}

printf '%s, %d processors, %s; load %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
  "$(uname -r)" "$(cut -d' ' -f1-3 /proc/loadavg)"
printf 'tree: %s files, %s MB\n' "$(find "$tree" -type f | wc -l)" "$(du -sm "$tree" | cut -f1)"
printf '%-6s %-13s %9s %9s\n' round who seconds cpu
run ours >/dev/null # warms the page cache for all
results=$work/results
for round in $(seq "$rounds"); do
  for who in "${everyone[@]}"; do
    row="$round $who $(run "$who")"
    echo "$row" >>"$results"
    # shellcheck disable=SC2086
    printf '%-6s %-13s %9s %9s\n' $row
  done
done

median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
for who in "${everyone[@]}"; do
  printf 'median %-13s %9s s %9s s cpu\n' "$who" "$(awk -v w=$who '$2 == w { print $3 }' "$results" | median)" \
    "$(awk -v w=$who '$2 == w { print $4 }' "$results" | median)"
done
for who in "${everyone[@]}"; do
  [ "$who" != ours ] || continue
  printf '%-13s takes this many times as long as ours, pair by pair: median %.2f (%s)\n' "$who" \
    "$(awk -v w=$who '$2 == "ours" { o = $3 } $2 == w { print $3 / o }' "$results" | median)" \
    "$(awk -v w=$who '$2 == "ours" { o = $3 } $2 == w { printf "%.2f ", $3 / o }' "$results")"
done
