#!/usr/bin/env bash
# Fuzzes one target, or each in turn: tests/fuzz/run.sh [TARGET] [SECONDS]   (all; 60), SECONDS of processor time each.
# Works with a stable compiler: libFuzzer's coverage comes from a pass of LLVM. What is found new stays in corpus/TARGET,
# what breaks a promise in artifacts/TARGET. `tests/tests/fuzz_corpus.rs` runs the corpus with every run of the tests.
set -euo pipefail
cd "$(dirname "$0")"
targets=(${1:-$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | grep -vx graven-fuzz)})
seconds=${2:-60}
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# With a target named, build scripts and macros are not instrumented.
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --locked --target "$host" --bins
# Processor seconds of all that was run from here.
used() { awk '{ print int(($16 + $17) / 100) }' "/proc/$$/stat"; }
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  started=$(used)
  # libFuzzer goes by the clock, which on a busy machine runs ahead.
  while left=$((seconds - $(used) + started)); [ $left -gt 0 ]; do
    RAYON_NUM_THREADS=1 "target/$host/release/$target" -max_total_time="$left" -timeout=120 -rss_limit_mb=1024 \
      -max_len=4096 -artifact_prefix="artifacts/$target/" -print_final_stats=1 "corpus/$target"
  done
  echo "run.sh: $target: no finding in $(($(used) - started)) processor seconds"
done
