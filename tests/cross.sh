#!/usr/bin/env bash
# The kernels compile for 64-bit ARM, and their tests pass there: cross-compiled, and run by an emulator. Skipped without
# Debian's compiler for it or the emulator (`scripts/deps cross` installs both).
#   cross.sh BUILD_FOLDER      run in the source tree; the folder is made, or brought up to date
set -euo pipefail
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
  if ! command -v $tool >/dev/null; then
    echo "skipped: $tool is not installed"
    exit 77
  fi
done
build=$1 jobs=$(nproc)
mkdir -p "$build"
{
  cmake -S . -B "$build" -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64.cmake" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DLINNET_KERNELS_ONLY=ON -DLINNET_WERROR=ON
  cmake --build "$build" -j "$jobs"
} >"$build/log" 2>&1 || { cat "$build/log"; exit 1; }
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$jobs"
