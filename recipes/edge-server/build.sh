#!/bin/sh
# From a fresh Debian machine with a Rust toolchain to a signed server: installs what is missing, compiles Graven, makes an
# SSH key where the recipe has none, carves. For qemu-x86_64, unless --target says another one.
set -eu
cd "$(dirname "$0")/../.."

# To compile, to make file systems and keys, to check Debian's signatures, to boot.
packages="gcc libc6-dev e2fsprogs openssh-client debian-archive-keyring ca-certificates qemu-system-x86 ovmf"
missing=
for package in $packages; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing$missing"
  $sudo apt-get -qq update
  # shellcheck disable=SC2086 # words
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $missing >/dev/null
fi
# What runs in the image's initramfs is linked statically.
if command -v rustup >/dev/null; then rustup -q target add x86_64-unknown-linux-musl; fi

cargo build --release --locked -p graven

key=out/admin
keys=recipes/edge-server/keys/admin.pub
if ! [ -e "$keys" ]; then
  mkdir -p out
  # A key without its other half is what an interrupted run left.
  [ -e "$key.pub" ] || { rm -f "$key"; ssh-keygen -q -t ed25519 -N "" -C admin -f "$key"; }
  cp "$key.pub" "$keys.new"
  mv "$keys.new" "$keys"
fi
case " $* " in
  *" --target "* | *" --target="*) ;;
  *) set -- --target qemu-x86_64 "$@" ;;
esac
target/release/graven build recipes/edge-server "$@"
cat <<'END'
  its ports  target/release/graven run --writable IMAGE -- -nic user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:8080-:80
             curl http://127.0.0.1:8080/
END
if cmp -s "$key.pub" "$keys"; then
  echo "             ssh -p 2222 -i $key admin@127.0.0.1"
fi
