#!/usr/bin/env bash
# bench search on few vectors: what it prints, and that its results are right where that can be known.
source tests/cli/common.sh "$@"

# found PATH VALUE: of the JSON in $work/out
found() { equal "$1" "$("$json_check" "search.$1" <"$work/out")" "$2"; }

run 0 bench search --rows 3000 --width 40 --queries 20 -k 5 --runs 2 --json
found rows 3000
found width 40
found queries 20
found k 5
found types.f32.recall 1
found variants_equal true

# fewer rows than are asked for
run 0 bench search --rows 3 --width 1 --queries 2 -k 10 --runs 1
says out "the same bits from all instruction sets and thread counts: yes"
says out FAISS

# another index of FAISS, where its module is there
if ! grep -q 'was not measured' "$work/out"; then
  run 0 bench search --rows 3000 --width 16 --queries 20 -k 5 --runs 1 --faiss IVF8,Flat --effort nprobe=8 --json
  found faiss.index IVF8,Flat
  found faiss.recall 1
  run 1 bench search --rows 3000 --width 16 --runs 1 --faiss IVF8,Flat --effort efSearch=8
  run 1 bench search --rows 3000 --width 16 --runs 1 --faiss nonsense
fi

run 2 bench search "$pictures/gradient_97x61.png"
says err "takes no file"
run 2 bench search --width 100000
finish
