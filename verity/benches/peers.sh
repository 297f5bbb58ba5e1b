#!/usr/bin/env bash
# graven beside veritysetup and fsverity, in turn and in one run, input in the page cache.
#   [GRAVEN=PROGRAM] [GRAVEN_BENCH=FOLDER] verity/benches/peers.sh [ROUNDS [ROW...]]
# 5 rounds and all rows by default, about six minutes on two cores; 8 GB of disk below FOLDER, whose data stays for another
# run, or in a folder of TMPDIR that goes. Without GRAVEN it is built. Prints a Markdown table: medians of elapsed time, and
# the ratio of each pair of runs: the median, and all.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
rows=("${@:2}")
[ ${#rows[@]} -gt 0 ] || rows=(tree check digest small-tree small-digest parity files cores cold)
if [ -z "${GRAVEN-}" ]; then
  cargo build --release --locked --quiet -p graven
  GRAVEN=${CARGO_TARGET_DIR:-target}/release/graven
fi
graven=$(realpath "$GRAVEN")
if [ -n "${GRAVEN_BENCH-}" ]; then
  work=$GRAVEN_BENCH/peers
else
  work=$(mktemp -d "${TMPDIR:-/tmp}/peers.XXXXXX")
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
PATH=$PATH:/usr/sbin:/sbin
salt=$(printf '5a%.0s' {1..32})
uuid=01234567-89ab-cdef-0123-456789abcdef

# 1. Random data, written as image tools write: large pieces, which the cache holds in large pages; `small` in small ones.
if ! [ -e "$work/list" ]; then
  head -c 2G /dev/urandom | dd of="$work/large" bs=4M iflag=fullblock status=none
  dd if="$work/large" of="$work/small" bs=4k status=none
  dd if="$work/large" of="$work/half" bs=4M count=128 status=none
  rm -rf "$work/files"
  mkdir "$work/files"
  (cd "$work/files" && split --bytes=4000 --suffix-length=6 --numeric-suffixes <(head -c 400000000 ../large))
  sync
  find "$work/files" -type f | sort >"$work/list"
fi

# 2. The works. $1 is `ours` or `theirs`; what each writes lies in files of its own, made anew.
tree() {
  local options=(--salt="$salt" --uuid="$uuid" "$work/$input" "$work/hash-$1")
  rm -f "$work/hash-$1"
  if [ "$1" = ours ]; then "$graven" verity format "${options[@]}"; else veritysetup format "${options[@]}"; fi
}
check() {
  local options=("$work/$input" "$work/hash-theirs" "$root")
  if [ "$1" = ours ]; then "$graven" verity verify "${options[@]}"; else veritysetup verify "${options[@]}"; fi
}
parity() {
  local options=(--salt="$salt" --uuid="$uuid" --fec-device="$work/fec-$1" --fec-roots=2 "$work/half" "$work/hash-$1")
  rm -f "$work/fec-$1" "$work/hash-$1"
  if [ "$1" = ours ]; then "$graven" verity format "${options[@]}"; else veritysetup format "${options[@]}"; fi
}
digest() { if [ "$1" = ours ]; then "$graven" fsverity digest "$work/$input"; else fsverity digest "$work/$input"; fi; }
# Every name on the command line, as both take them: 100,000 are more than one line holds, so in as few as may be.
digests() {
  local program=(fsverity)
  [ "$1" = theirs ] || program=("$graven" fsverity)
  xargs -s 1500000 -n 25000 -a "$work/list" "${program[@]}" digest
}

# 3. One row: its name, what it is to be, the work, and what is put before the program (a core of its own).
TIMEFORMAT='%R %U %S'
seconds() { # elapsed and processor time
  local timed
  timed=$({ time "$@" >/dev/null 2>"$work/errors"; } 2>&1) || { echo "peers.sh: $*: $(cat "$work/errors")" >&2; exit 1; }
  awk '{ printf "%s %.3f\n", $1, $2 + $3 }' <<<"$timed"
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
row() {
  local name=$1 aim=$2 work_of=$3 results=$work/results
  : >"$results"
  "$work_of" theirs >/dev/null
  "$work_of" ours >/dev/null
  for _ in $(seq "$rounds"); do
    echo "$(seconds "$work_of" ours) $(seconds "$work_of" theirs)" >>"$results"
  done
  printf '| %s | %.3f s (%.2f) | %.3f s (%.2f) | **%.2f** | %s | %s |\n' "$name" \
    "$(cut -d' ' -f1 "$results" | median)" "$(cut -d' ' -f2 "$results" | median)" \
    "$(cut -d' ' -f3 "$results" | median)" "$(cut -d' ' -f4 "$results" | median)" \
    "$(awk '{ print $3 / $1 }' "$results" | median)" "$aim" \
    "$(awk '{ printf "%s%.2f", (NR > 1 ? ", " : ""), $3 / $1 }' "$results")"
}

# 4. One core beside its kernel's bare rate, two threads beside one.
cores() {
  local alone=(env RAYON_NUM_THREADS=1 taskset -c 0 "$graven" verity format --salt="$salt" --uuid="$uuid")
  alone+=("$work/$input" "$work/hash-ours")
  : >"$work/one"
  : >"$work/two"
  for _ in $(seq "$rounds"); do
    rm -f "$work/hash-ours"
    seconds "${alone[@]}" >>"$work/one"
    seconds tree ours >>"$work/two"
  done
  local one two bare
  one=$(cut -d' ' -f1 "$work/one" | median) two=$(cut -d' ' -f1 "$work/two" | median)
  bare=$(cargo bench --quiet -p graven-verity --bench kernels 2>/dev/null |
    sed -n 's/^sha256, salt of 32 bytes.* \([0-9.]*\) GB.s$/\1/p' | sort -n | tail -n 1)
  awk -v one="$one" -v two="$two" -v bare="$bare" 'BEGIN {
    printf "\nOne core alone: %.2f GB/s, %.0f %% of the best kernel (%.2f GB/s; aim 85 %%). ", 2.147 / one, 214.7 / one / bare, bare
    printf "Two threads: %.2f times one (aim 1.9).\n", one / two }'
}

# 5. Input that is not in the cache, beside a plain read of it.
cold() {
  forget() { dd if="$work/$input" iflag=nocache count=0 status=none; }
  : >"$work/results"
  for _ in $(seq "$rounds"); do
    rm -f "$work/hash-ours"
    forget
    echo "$(seconds tree ours) $(forget; seconds dd if="$work/$input" of=/dev/null bs=4M)" >>"$work/results"
  done
  awk -v ours="$(cut -d' ' -f1 "$work/results" | median)" -v read="$(cut -d' ' -f3 "$work/results" | median)" 'BEGIN {
    printf "\nCold: a tree at %.2f GB/s, a plain read at %.2f GB/s.\n", 2.147 / ours, 2.147 / read }'
}

printf '%s, %d processors, %s; load %s; %d rounds; %s\n\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" \
  "$(nproc)" "$(uname -r)" "$(cut -d' ' -f1-3 /proc/loadavg)" "$rounds" "$(veritysetup --version)"
echo '| work | ours: elapsed (processor) | theirs | theirs ÷ ours | aim | pair by pair |'
echo '|---|---|---|---|---|---|'
for name in "${rows[@]}"; do
  input=large
  case $name in
    tree)
      row 'dm-verity tree, 2 GiB' 5 tree
      cmp "$work/hash-ours" "$work/hash-theirs" >&2
      ;;
    check)
      root=$(veritysetup format --salt="$salt" --uuid="$uuid" "$work/large" "$work/hash-theirs" | sed -n 's/^Root hash:[[:space:]]*//p')
      row 'check of it' 5 check
      ;;
    digest) row 'fs-verity digest, 2 GiB' 4 digest ;;
    small-tree) input=small && row 'dm-verity tree, 2 GiB written by 4 KiB' 5 tree ;;
    small-digest) input=small && row 'fs-verity digest of it' 4 digest ;;
    parity)
      row 'tree and parity, 2 roots, 512 MiB' 30 parity
      cmp "$work/fec-ours" "$work/fec-theirs" >&2
      ;;
    files) row "fs-verity digests of $(wc -l <"$work/list") files of 4,000 bytes" 4 digests ;;
    cores) cores ;;
    cold) cold ;;
    *) echo "peers.sh: no row $name" >&2 && exit 2 ;;
  esac
done
