#!/usr/bin/env bash
# A whole caption run leaks nothing and touches no wrong memory, as valgrind sees it.
#   leaks.sh LINNET MAKE_TINY_MODEL
set -euo pipefail
if ! command -v valgrind >/dev/null; then
  echo "skipped: valgrind is not installed"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$2" "$work/model.safetensors" 1
check() {
  if ! OMP_NUM_THREADS=1 valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=9 \
      "$@" >"$work/out" 2>"$work/err"; then
    echo "valgrind: $*"
    cat "$work/err"
    exit 1
  fi
}
check "$1" caption -m "$work/model.safetensors" tests/goldens/clip-preprocess/public/rgba_70x66.png
[ "$(wc -l <"$work/out")" = 1 ] || { echo "expected one line, found:"; cat "$work/out"; exit 1; }
check "$1" caption -m "$work/model.safetensors" --jsonl --beam 3 --num 2 tests/goldens/clip-preprocess/public
