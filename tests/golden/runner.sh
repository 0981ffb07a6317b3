#!/usr/bin/env bash
# The runner of golden cases on cases that are elsewhere, changed and damaged: runner.sh GOLDEN, in the source tree.
set -u
golden=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

problem() {
  echo "FAILED: $*"
  tail -n 3 "$work/out"
  failures=$((failures + 1))
}

# expect CODE LINE DIR...: the exit code, and a line of the output (a pattern)
expect() {
  local code=$1 line=$2 found
  shift 2
  "$golden" "$@" >"$work/out" 2>"$work/err"
  found=$?
  [ "$found" -eq "$code" ] || problem "$*: exit code $found, expected $code"
  grep -qE -e "$line" "$work/out" || problem "$*: nothing is like '$line'"
  tail -n 1 "$work/out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || problem "$*: no last line"
}

# copy CASE DIR
copy() {
  rm -rf "$2"
  mkdir -p "$2"
  cp tests/goldens/"$1"/* "$2"
  chmod -R u+w "$2"
}

# changed CASE SED: the case with its header changed; the change keeps its length
changed() {
  copy "$1" "$work/${1%/*}/changed"
  local file=$work/${1%/*}/changed/io.safetensors
  LC_ALL=C sed -i "$2" "$file"
  cmp -s "$file" "tests/goldens/$1/io.safetensors" && problem "sed $2 changed nothing"
}

# under another name and elsewhere, where the checkpoint says of which system it is
for case in rwkv6/tiny-fp32 visualrwkv/v60-scan-modes rwkv-clip/tiny-cls; do
  expect 0 '^[1-9][0-9]* passed, 0 failed$' "tests/goldens/$case"
  all=$(tail -n 1 "$work/out")
  copy "$case" "$work/${case%/*}/another"
  expect 0 "^$all\$" "$work/${case%/*}/another"
  copy "$case" "$work/elsewhere/another"
  expect 0 "^$all\$" "$work/elsewhere/another"
done
copy rwkv6/kernel "$work/elsewhere/kernel"
expect 1 'says of which system' "$work/elsewhere/kernel"

# a tensor of an unknown name, one without its name, a value, a shape that breaks an assertion
changed rwkv6/tiny-fp32 's/"act\.0\.att"/"art.0.att"/'
expect 1 'FAIL +io/art\.0\.att +no rule' "$work/rwkv6/changed"
changed rwkv6/tiny-fp32 's/"logits_rnn"/"logits_run"/'
expect 1 'FAIL +io/logits_run +not computed' "$work/rwkv6/changed"
copy rwkv6/tiny-fp32 "$work/rwkv6/changed"
printf '\x7f' | dd of="$work/rwkv6/changed/io.safetensors" bs=1 conv=notrunc status=none \
  seek=$(($(stat -c %s "$work/rwkv6/changed/io.safetensors") - 1))
expect 1 'FAIL +io/' "$work/rwkv6/changed"
changed rwkv6/kernel 's/\("r": {"dtype": "F32", "shape": \[\)\([0-9]*\), \([0-9]*\),/\1\3, \2,/'
expect 1 'FAIL .*broke off' "$work/rwkv6/changed" tests/goldens/rwkv6/sampling
grep -q '^rwkv6/sampling$' "$work/out" || problem "the case after one that broke off did not run"

# cut short, empty, absent
for bytes in 0 7 100 5000; do
  copy rwkv6/kernel "$work/rwkv6/cut"
  truncate -s $bytes "$work/rwkv6/cut/io.safetensors"
  expect 1 'FAIL' "$work/rwkv6/cut"
done
mkdir "$work/rwkv6/empty"
expect 1 'FAIL' "$work/rwkv6/empty"
expect 1 'FAIL' "$work/rwkv6/none"
expect 1 'FAIL' ''
"$golden" >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || problem "without a folder"
[ "$failures" -eq 0 ]
