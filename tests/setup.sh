#!/usr/bin/env bash
# Everything that builds and tests need, on a Debian 12 machine (or newer) with a Rust toolchain from rustup; with `--full`,
# what only the long tests need as well.
# Idempotent: when all is here it looks and leaves. After it, everything runs offline.
# Needs root or sudo for packages alone.
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/graven
debs=$cache/debs
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
say() { printf 'setup: %s\n' "$*"; }

# 1. Debian packages: what the builder's tests use as oracles, what boots, what compiles.
packages=(
  qemu-system-x86 ovmf                                  # boots
  qemu-system-arm qemu-efi-aarch64 u-boot-qemu                      # boots of arm64
  mmdebstrap                                            # a real Debian system, to be carved
  erofs-utils squashfs-tools cryptsetup-bin fsverity    # oracles: file systems, dm-verity, fs-verity
  gdisk fdisk dosfstools mtools e2fsprogs               # oracles: disk, ESP
  sbsigntool openssl efitools                           # oracles: signatures, enrolment files
  busybox-static cpio kmod xz-utils zstd                # guests
  faketime                                              # builds on another day
  gcc libc6-dev musl-tools                              # guest programs, C parts of dependencies
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf  # guest programs of arm64, and of its 32-bit side
  python3 python3-pefile binutils                       # oracles: PE, ukify
  openssh-client                                        # oracle: who is let in
  jq                                                    # oracle: manifest and list of files
  gpg gpg-agent gpgconf                                 # oracle: signatures of repositories
  libarchive-tools                                      # oracle: archives of bsdtar
  keyutils                                              # guests: certificates for the kernel's keyrings
  qemu-user valgrind                                    # hashes on arm64; instructions counted
  qemu-utils bmap-tools                                 # oracles: disk formats
  softhsm2                                              # a token that holds keys
  docker-registry skopeo umoci                          # oracles: container images
  u-boot-tools device-tree-compiler                     # oracles: FIT, device trees
  dpkg-dev make bison flex libssl-dev bc patch          # U-Boot's verifier and arm64 kernels, from source
  python3-venv debian-archive-keyring ca-certificates
  chromium fonts-dejavu-core                            # oracle: how a page looks
)
root=()
[ "$(id -u)" = 0 ] || root=(sudo)
missing=()
installed=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${packages[@]}" 2>/dev/null || true)
for package in "${packages[@]}"; do
  grep -qxE "ii .?$package" <<<"$installed" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  "${root[@]}" apt-get -qq update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
fi

# 2. Rust: the static targets that stage0 is built for.
for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl; do
  if ! command -v rustup >/dev/null; then
    say "no rustup here: see that the target $target is installed"
  elif ! rustup target list --installed 2>/dev/null | grep -qx "$target"; then
    say "adding the Rust target $target"
    rustup -q target add "$target" || say "rustup could not add it: graven will carry no stage0 for it"
  fi
done
if ! command -v cargo-deny >/dev/null; then
  say "installing cargo-deny"
  cargo install --quiet --locked cargo-deny || say "cargo-deny could not be installed: tests/run.sh will say that it is missing"
fi
# Who runs the benchmarks that Valgrind counts; of the version that Cargo.lock has.
gungraun=
[ "${1-}" != --full ] || gungraun=$(awk '$1 == "name" && $3 == "\"gungraun-runner\"" { getline; gsub(/"/, "", $3); print $3 }' Cargo.lock)
if [ -n "$gungraun" ] && [ "$(gungraun-runner --version 2>/dev/null | awk '{ print $NF }')" != "$gungraun" ]; then
  say "installing gungraun-runner $gungraun"
  cargo install --quiet --locked gungraun-runner --version "$gungraun" ||
    say "gungraun-runner could not be installed: tests/run.sh --full will say that it is missing"
fi

# 3. Python oracles, in an environment of their own.
venv=$cache/venv
wanted=(virt_firmware pefile playwright axe_playwright_python 'cyclonedx_python_lib[json-validation]' 'securesystemslib[crypto]' in_toto_attestation)
missing=()
for name in "${wanted[@]}"; do
  compgen -G "$venv/lib/python3*/site-packages/${name%%[*}-*.dist-info" >/dev/null || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]} into $venv"
  mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/pip" --quiet --disable-pip-version-check install "${missing[@]}"
fi

# 4. The parts of an image: Debian's kernel, stub and busybox, from the mirror that this machine's apt uses.
# arm64's lie in a folder of their own: what looks for a package by its name alone means the building machine's.
mkdir -p "$debs/arm64"
have() { compgen -G "$debs/$1" >/dev/null; }
# have_parts FOLDER FLAVOUR
have_parts() {
  local name
  for name in {linux-binary,linux-modules,linux-base}-7.3\*+deb13-"$2" systemd-boot-efi busybox-static; do
    have "$1/${name}_*.deb" || return 1
  done
}
parts_here() {
  have_parts . amd64 && have_parts . cloud-amd64 && have_parts arm64 arm64 &&
    have 'arm64/u-boot-rockchip_*.deb' && have 'arm64/u-boot-mvebu_*.deb'
}

# The first Debian mirror among apt's sources, deb822 or one line each.
mirror=
find_mirror() {
  local files=() file
  for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list /etc/apt/sources.list; do
    [ -e "$file" ] && files+=("$file")
  done
  awk '
    FILENAME ~ /\.sources$/ && tolower($1) == "uris:" { for (i = 2; i <= NF; i++) print $i }
    FILENAME !~ /\.sources$/ && $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^[a-z+]+:\//) { print $i; break } }
  ' "${files[@]}" 2>/dev/null | grep -m 1 -E '/debian/?$' || true
}

# apt with a state of its own, that knows trixie and trixie-backports and nothing that is installed here.
options=()
use_private_apt() {
  local apt=$cache/apt list
  [ ${#options[@]} = 0 ] || return 0
  need_mirror
  mkdir -p "$apt"/{etc,state/lists/partial,cache/archives/partial}
  : >>"$apt/state/status"
  list=$apt/etc/sources.list
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" trixie "$keyring" "$mirror" trixie-backports >"$list"
  options=(
    -qq -o "Dir::Etc::sourcelist=$list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State=$apt/state" -o "Dir::State::lists=$apt/state/lists" -o "Dir::State::status=$apt/state/status"
    -o "Dir::Cache=$apt/cache" -o APT::Architecture=amd64 -o APT::Architectures=amd64,arm64 -o APT::Sandbox::User=root
  )
  say "reading trixie and trixie-backports from $mirror"
  apt-get "${options[@]}" update
}
need_mirror() {
  mirror=${mirror:-$(find_mirror)}
  [ -n "$mirror" ] || { say "no Debian mirror (an address that ends in /debian) among this machine's apt sources"; exit 3; }
}

fetch_parts() {
  use_private_apt
  # The newest 7.3 of a flavour, by version number.
  newest() {
    local name
    name=$(apt-cache "${options[@]}" --names-only search '^linux-binary-7\.3[0-9.]*\+deb13-'"$1"'$' |
      awk '{print $1}' | sort -V | tail -n 1)
    [ -n "$name" ] || { say "no linux-binary-7.3*-$1 in trixie-backports of $mirror" >&2; exit 3; }
    echo "${name#linux-binary-}"
  }
  # fetch FOLDER ARCHITECTURE FLAVOURS PACKAGES: kernels of these flavours, and these packages.
  fetch() {
    local flavour version wanted=()
    for flavour in $3; do
      version=$(newest "$flavour")
      wanted+=("linux-binary-$version:$2" "linux-modules-$version:$2" "linux-base-$version:$2")
    done
    for package in $4; do wanted+=("$package:$2"); done
    say "fetching ${wanted[*]}"
    (cd "$1" && apt-get "${options[@]}" download "${wanted[@]}")
  }
  fetch "$debs" amd64 "amd64 cloud-amd64" "systemd-boot-efi busybox-static"
  fetch "$debs/arm64" arm64 arm64 "systemd-boot-efi busybox-static u-boot-rockchip u-boot-mvebu"
}
parts_here || fetch_parts

# fetch_of FOLDER SUITE KIND WORDS…: `apt-get WORDS` in FOLDER, with an apt that knows this suite alone and is forgotten.
fetch_of() {
  local folder=$1 suite=$2 kind=$3 work
  shift 3
  need_mirror
  work=$(mktemp -d)
  mkdir -p "$folder" "$work"/{state/lists/partial,cache/archives/partial}
  : >"$work/status"
  printf '%s [signed-by=%s] %s %s main\n' "$kind" "$keyring" "$mirror" "$suite" >"$work/sources.list"
  local options=(
    -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    -o APT::Architecture=amd64 -o APT::Architectures=amd64,arm64 -o APT::Sandbox::User=root
  )
  apt-get "${options[@]}" update
  (cd "$folder" && apt-get "${options[@]}" "$@" >/dev/null)
  rm -rf "$work"
}

# A stub that starts the kernel itself, as U-Boot's UEFI with Secure Boot needs it: from the release after trixie.
if ! have 'newer-stub/systemd-boot-efi_*_arm64.deb'; then
  say "fetching forky's systemd-boot-efi for arm64"
  fetch_of "$debs/newer-stub" forky deb download systemd-boot-efi:arm64
fi

# What tests/kernels/build.sh builds from: 167 MB. The kernels themselves are built when a test first asks for them.
if ! have 'linux-source-7.3_*_all.deb'; then
  use_private_apt
  say "fetching linux-source-7.3"
  (cd "$debs" && apt-get "${options[@]}" download linux-source-7.3)
fi

# 5. Trixie's systemd tools, to judge images, and its openssl, which knows ML-DSA: unpacked, and run with their own libraries
# (`oracle::trixie`).
trixie=$cache/trixie
if ! [ -e "$trixie/usr/bin/systemd-dissect" ] || ! [ -e "$trixie/usr/bin/openssl" ] || ! command -v ukify >/dev/null; then
  use_private_apt
  say "fetching trixie's systemd-container, systemd-repart, systemd-ukify, openssl with what they need"
  archives=$cache/apt/trixie-debs
  rm -rf "$archives" "$trixie.new"
  mkdir -p "$archives/partial" "$trixie.new"
  apt-get "${options[@]}" -o "Dir::Cache::archives=$archives" -y --no-install-recommends --download-only install \
    systemd-container systemd-repart erofs-utils cryptsetup-bin openssl bash >/dev/null
  (cd "$archives" && apt-get "${options[@]}" download systemd-ukify)
  # base-files first: it brings the links of the merged /usr.
  for deb in "$archives"/base-files_*.deb "$archives"/*.deb; do dpkg-deb -x "$deb" "$trixie.new"; done
  rm -rf "$trixie" "$archives"
  mv "$trixie.new" "$trixie"
  "${root[@]}" install -m 755 "$trixie/usr/bin/ukify" /usr/local/bin/ukify
fi

# The writers of small file systems, which Debian 12 has too old, by programs that stand for them: `--tools $cache/writers/bin`.
writers=$cache/writers
if ! [ -x "$writers/bin/mke2fs" ]; then
  use_private_apt
  say "fetching trixie's erofs-utils, squashfs-tools, e2fsprogs with what they need"
  archives=$cache/apt/writers-debs
  rm -rf "$archives" "$writers" "$writers.new"
  mkdir -p "$archives/partial" "$writers.new/bin"
  apt-get "${options[@]}" -o "Dir::Cache::archives=$archives" -y --no-install-recommends --download-only install \
    erofs-utils squashfs-tools e2fsprogs libarchive13t64 >/dev/null
  for deb in "$archives"/*.deb; do dpkg-deb -x "$deb" "$writers.new"; done
  for program in bin/mkfs.erofs bin/fsck.erofs bin/dump.erofs bin/sqfstar bin/unsquashfs sbin/mke2fs sbin/e2fsck sbin/debugfs; do
    {
      printf '#!/bin/sh\nexec "%s/usr/lib64/ld-linux-x86-64.so.2" --library-path ' "$writers"
      printf '"%s/usr/lib/x86_64-linux-gnu" "%s/usr/%s" "$@"\n' "$writers" "$writers" "$program"
    } >"$writers.new/bin/${program##*/}"
    chmod 755 "$writers.new/bin/${program##*/}"
  done
  rm -rf "$archives"
  mv "$writers.new" "$writers"
fi

# 6. A real Debian system as one archive. Its bytes depend on nothing but the day's packages.
system=$cache/debian-systemd.tar
if ! [ -e "$system" ]; then
  need_mirror
  say "making $system: trixie with systemd"
  SOURCE_DATE_EPOCH=1767225600 "${root[@]}" mmdebstrap --quiet --variant=minbase --keyring="$keyring" \
    --include=systemd,systemd-sysv,dbus,udev,kmod,procps --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' trixie - "$mirror" >"$system.new"
  mv "$system.new" "$system"
fi

# 7. U-Boot's own verifier of FITs, which no package brings, from the source of Debian 12's u-boot-tools. Twice: as Debian
# has it now, finding the signed nodes itself, and without the patches that brought this, going by hashed-nodes. The source
# stays, for tests/u-boot/build.sh.
u_boot=$cache/u-boot
if ! compgen -G "$u_boot/source/u-boot_*.dsc" >/dev/null; then
  say "fetching the source of Debian 12's u-boot"
  rm -rf "$u_boot/source" "$u_boot/source.new"
  fetch_of "$u_boot/source.new" bookworm deb-src --download-only source u-boot
  mv "$u_boot/source.new" "$u_boot/source"
fi
if ! [ -x "$u_boot/fit_check_sign" ] || ! [ -x "$u_boot/fit_check_sign-hashed-nodes" ]; then
  say "building U-Boot's fit_check_sign"
  work=$(mktemp -d)
  (
    cd "$work"
    dpkg-source --no-check -x "$u_boot"/source/u-boot_*.dsc source >/dev/null
    cd source
    make -s tools-only_defconfig >/dev/null
    sed -i 's/^CONFIG_TOOLS_MKEFICAPSULE=y/# CONFIG_TOOLS_MKEFICAPSULE is not set/' .config
    make -s -j"$(nproc)" NO_SDL=1 tools-only >/dev/null
    cp tools/fit_check_sign "$u_boot/fit_check_sign"
    for patch in debian/patches/CVE-2026-46728-{3,2,1}.patch; do patch -sRp1 <"$patch"; done
    make -s -j"$(nproc)" NO_SDL=1 tools-only >/dev/null
    cp tools/fit_check_sign "$u_boot/fit_check_sign-hashed-nodes"
  )
  rm -rf "$work"
fi

# 8. Where recipes/minimal looks for them: one version of each, so nothing is left to a pattern.
inputs=recipes/minimal/inputs
mkdir -p "$inputs"
newest_deb() { compgen -G "$debs/$1" | sort -V | tail -n 1; }
wanted=()
for where in . arm64; do
  for part in binary modules base; do wanted+=("$(newest_deb "$where/linux-$part-7.3*+deb13-a??64_*")"); done
  wanted+=("$(newest_deb "$where/systemd-boot-efi_*")" "$(newest_deb "$where/busybox-static_*")")
done
for old in "$inputs"/*.deb; do
  [ -e "$old" ] || continue
  case " ${wanted[*]##*/} " in *" ${old##*/} "*) ;; *) rm -- "$old" ;; esac
done
# Links are free where both lie on one file system.
place() { [ "$1" -ef "$2" ] || cmp -s "$1" "$2" || ln -f "$1" "$2" 2>/dev/null || cp -f "$1" "$2"; }
for deb in "${wanted[@]}"; do
  to=$inputs/${deb##*/}
  place "$deb" "$to"
done
mkdir -p tests/recipes/debian-systemd/inputs
place "$system" tests/recipes/debian-systemd/inputs/debian-systemd.tar

# 9. The same packages twice: as files for two architectures, and as a system in which their scripts have run.
finish=$cache/finish
finished=(
  systemd systemd-sysv udev dbus kmod procps nftables openssh-server openssh-client iproute2 dnsmasq systemd-resolved
  systemd-timesyncd busybox lighttpd ca-certificates libpam-runtime libpam-systemd login passwd util-linux mount bash dash
  coreutils base-files base-passwd netbase tzdata iputils-ping unbound tcpdump e2fsprogs less
)
if ! [ -e "$finish/reference.tar" ]; then
  use_private_apt
  say "making $finish/reference.tar: trixie with what an appliance needs, and the same as packages"
  rm -rf "$finish"
  mkdir -p "$finish"/{amd64,arm64}
  include=$(IFS=,; echo "${finished[*]}")
  SOURCE_DATE_EPOCH=1767225600 "${root[@]}" mmdebstrap --quiet --variant=essential --keyring="$keyring" \
    --include="$include" --aptopt='Apt::Install-Recommends "false"' trixie - "$mirror" >"$finish/reference.new"
  mapfile -t names < <(tar -xOf "$finish/reference.new" ./var/lib/dpkg/status | awk '/^Package:/ { print $2 }')
  (cd "$finish/amd64" && apt-get "${options[@]}" download "${names[@]/%/:amd64}")
  foreign=()
  for name in "${names[@]}"; do
    if compgen -G "$finish/amd64/${name}_*_all.deb" >/dev/null; then
      ln "$finish/amd64/${name}"_*_all.deb "$finish/arm64/"
    else
      foreign+=("$name:arm64")
    fi
  done
  (cd "$finish/arm64" && apt-get "${options[@]}" download "${foreign[@]}")
  mv "$finish/reference.new" "$finish/reference.tar"
fi
mkdir -p tests/recipes/appliance/inputs
ln -sfn "$finish"/{amd64,arm64} tests/recipes/appliance/inputs/
say "all is here"
