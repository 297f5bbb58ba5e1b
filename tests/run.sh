#!/usr/bin/env bash
# The tests: set-up, format, lints, documentation, dependencies, tests. `--full` adds the long ones.
# Runs every step even where one fails, and says at the end which did.
set -uo pipefail
cd "$(dirname "$0")/.."
features=() long=
case "${1-}" in
  "") ;;
  --full) features=(--features graven-tests/full) long=1 ;;
  *) echo "usage: tests/run.sh [--full]" >&2; exit 2 ;;
esac

tests/setup.sh "$@" || exit 3

failed=()
started=$SECONDS
step() {
  local name=$1 since=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  if "$@"; then
    printf '== %s: good, %d s\n' "$name" $((SECONDS - since))
  else
    printf '== %s: FAILED, %d s\n' "$name" $((SECONDS - since))
    failed+=("$name")
  fi
}

deny() {
  command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; return 1; }
  cargo deny --all-features --log-level error check --hide-inclusion-graph bans licenses sources || return 1
  # Advisories need their database; without a network it may be old or absent, and that is no fault of this tree.
  if timeout 60 cargo deny fetch >/dev/null 2>&1; then
    cargo deny --all-features --log-level error check --hide-inclusion-graph advisories
  else
    echo "the advisory database cannot be reached: advisories not checked"
  fi
}

# The program is built in one go with its tests, which ask for it one after the other.
run_tests() {
  cargo build --workspace --locked --bins --tests "$@" || return 1
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --tests --no-fail-fast --status-level slow --final-status-level fail "$@" || return 1
  else
    cargo test --workspace --locked --tests --no-fail-fast "$@" || return 1
  fi
  cargo test --workspace --locked --quiet --doc
}

# What has instructions of its own there, emulated.
on_arm64() {
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="qemu-aarch64 -cpu max" \
    cargo test -p graven-verity --locked --quiet --target aarch64-unknown-linux-musl --lib -- hash fec
}

step format cargo fmt --all --check
step lints cargo clippy --workspace --all-targets --locked "${features[@]}" -- -D warnings
# With the examples, dependencies have the features that they had for the lints, and are not checked once more.
step documentation env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet --lib --bins --examples
step dependencies deny
step tests run_tests "${features[@]}"
if [ -n "$long" ]; then
  # Hundreds of random devices against veritysetup and fsverity, every bit of an image flipped.
  step tests-of-hashes cargo test -p graven-verity --locked --quiet -- --ignored
  step hashes-on-arm64 on_arm64
  # Fails where something takes more instructions than it is allowed.
  step instructions cargo bench -p graven-verity --locked --quiet --bench instructions
fi
# The initramfs program is a workspace of its own.
step stage0-format cargo fmt --manifest-path boot/stage0/Cargo.toml --check
step stage0-lints cargo clippy --manifest-path boot/stage0/Cargo.toml --all-targets --locked -- -D warnings
step stage0-tests cargo test --manifest-path boot/stage0/Cargo.toml --locked --quiet

if [ ${#failed[@]} -gt 0 ]; then
  printf '\ntests/run.sh: FAILED after %d s: %s\n' $((SECONDS - started)) "${failed[*]}"
  exit 1
fi
printf '\ntests/run.sh: all good, %d s\n' $((SECONDS - started))
