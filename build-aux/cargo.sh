#!/bin/sh
# What meson runs to build the plugin: cargo.sh SOURCE BUILD PROFILE FOLDER OUTPUT
set -eu
source=$1 build=$2 profile=$3 folder=$4 output=$5

export CARGO_TARGET_DIR="$build/target"
cargo build --locked --manifest-path "$source/Cargo.toml" --profile "$profile" --lib
cp -f "$build/target/$folder/$(basename "$output")" "$output"
