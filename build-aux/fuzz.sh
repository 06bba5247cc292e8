#!/bin/bash
# fuzz.sh SECONDS [TARGET…]: runs each fuzz target for so long, as many at once as there are cores,
# beginning with fuzz/seeds, with what the servers of tests/scripts say, and with what earlier runs
# have found. What fails is kept under
# $CARGO_TARGET_DIR/fuzz and printed as base64; `TARGET FILE` runs it again.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:?fuzz.sh SECONDS [TARGET…]}
shift
if [ $# -eq 0 ]; then
    set -- $(cd targets && ls -- *.rs | sed 's/\.rs$//')
fi
cargo=${CARGO:-cargo}
host=$(rustc -vV | sed -n 's/^host: //p')
target=$(realpath -m "${CARGO_TARGET_DIR:-../target}")/fuzz

# The counters that libFuzzer looks at. The compiler passes need no nightly toolchain; a sanitizer
# would, and finds nothing where there is no unsafe code. --target keeps them out of build scripts.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares ${RUSTFLAGS:-}" \
    CARGO_TARGET_DIR="$target" \
    "$cargo" build --quiet --locked --release --target "$host" --bins

scripts=$target/scripts
rm -rf "$scripts"
mkdir -p "$scripts"/{sdp,stream,client,headers}
# Byte by byte: awk need not know what a character is.
LC_ALL=C awk -v out="$scripts" -f ../build-aux/seeds.awk ../tests/scripts/*/*.rtsp

run() {
    local name=$1 corpus=$target/corpus/$1
    local seeds=("seeds/$name")
    mkdir -p "$corpus"
    [ ! -d "$scripts/$name" ] || seeds+=("$scripts/$name")
    if ! "$target/$host/release/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len=16384 -print_final_stats=1 -artifact_prefix="$target/$name-" \
        "$corpus" "${seeds[@]}" >"$target/$name.log" 2>&1; then
        tail -n 40 "$target/$name.log" >&2
        echo "fuzz: $name failed" >&2
        return 1
    fi
    local runs cover
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target/$name.log")
    cover=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$target/$name.log" | tail -n 1)
    echo "fuzz: $name: $runs runs, $cover places reached"
}
export -f run
export seconds target host scripts
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'run "$1"' _ {}
