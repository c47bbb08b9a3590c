#!/bin/sh
# A RUSTC_WRAPPER for the stable toolchain: compiles our own crates with the coverage that libFuzzer needs, and leaves
# the dependencies as they are.
rustc=$1
shift
name=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && name=$argument
    previous=$argument
done
case $name in
creamery | creamery_plugin | creamery_fuzz) ;;
safetensors | index | rows | template | config | model_config | descriptor | outputs | messages) ;;
*) exec "$rustc" "$@" ;;
esac
# A dependency has the name of a target.
case " $* " in
*/registry/*) exec "$rustc" "$@" ;;
esac
exec "$rustc" "$@" --cfg fuzzing -Clink-dead-code -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
