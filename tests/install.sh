#!/usr/bin/env bash
# What `cmake --install` leaves under any prefix is complete: a program builds against it with pkg-config alone, as
# docs/library.md says, and the installed command finds an installed model.
#   install.sh BUILD_FOLDER COMPILER MAKE_TINY_MODEL      run in the source tree
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$1" --prefix "$work/prefix" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
pc=$(find "$work/prefix" -name linnet.pc)
[ -n "$pc" ] || { echo "no linnet.pc was installed"; exit 1; }
export PKG_CONFIG_PATH=${pc%/*}

mkdir -p "$work/prefix/share/linnet"
model=$work/prefix/share/linnet/captioner.gguf
picture=tests/goldens/clip-preprocess/public/gradient_97x61.png
"$3" "$model" 1
for example in caption chat classify; do
  # shellcheck disable=SC2046 # several words
  "$2" "apps/examples/$example.c" $(pkg-config --cflags --libs linnet) -o "$work/$example"
done
export LD_LIBRARY_PATH=$(pkg-config --variable=libdir linnet)
"$work/caption" "$model" "$picture" >"$work/said"
[ "$(wc -l <"$work/said")" = 1 ] || { echo "the example's output:"; cat "$work/said"; exit 1; }
printf 'a cat\nand a dog\n' | "$work/chat" "$model" >"$work/said"
[ "$(wc -l <"$work/said")" -ge 2 ] || { echo "the chat example's output:"; cat "$work/said"; exit 1; }
"$3" "$work/pair.gguf" 1 pair
"$work/classify" "$work/pair.gguf" "$picture" cat 'red bird' >"$work/said"
[ "$(wc -l <"$work/said")" = 2 ] || { echo "the classify example's output:"; cat "$work/said"; exit 1; }

shown=$(nm -D --defined-only "$LD_LIBRARY_PATH/liblinnet.so" | awk '$2 == "T" { print $3 }' | grep -v '^linnet_' || true)
[ -z "$shown" ] || { echo "the library shows what is not its interface: $shown"; exit 1; }

version=$("$work/prefix/bin/linnet" --version)
[ "$version" = "linnet $(pkg-config --modversion linnet)" ] || { echo "linnet.pc is not of $version"; exit 1; }
env -u LINNET_MODEL "$work/prefix/bin/linnet" caption "$picture" >"$work/said"
[ -s "$work/said" ] || { echo "the installed command says nothing"; exit 1; }
