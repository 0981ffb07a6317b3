#!/usr/bin/env bash
# `linnet-data audit` passes on the committed manifest, fails on doctored ones, and says why in one sentence.
#   test_audit.sh LINNET_DATA      run in the source tree
set -euo pipefail
data=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

expect() { # CODE WORDS COMMAND...: the exit code, and words that the output must hold
  local code=$1 words=$2 got=0
  shift 2
  "$@" >"$folder/output" 2>&1 || got=$?
  if [ "$got" != "$code" ] || ! grep -q -- "$words" "$folder/output"; then
    echo "expected exit code $code and '$words' of: $*; got $got and:" >&2
    cat "$folder/output" >&2
    exit 1
  fi
}

expect 0 '^passed$' "$data" audit --manifest data/objects.tsv

# A training picture by an author who made others of the same kind goes to the test split.
awk -F'\t' -v OFS='\t' '
  NR == FNR { if ($4 == "train") made[$2 "\t" $3]++; next }
  !done && $4 == "train" && made[$2 "\t" $3] > 1 { $4 = "test"; done = 1 }
  { print }' data/objects.tsv data/objects.tsv >"$folder/sibling.tsv"
expect 1 'by the same author' "$data" audit --manifest "$folder/sibling.tsv"

# A test picture gets the content hash of a training picture.
awk -F'\t' -v OFS='\t' '
  NR == FNR { if ($4 == "train") hash = $7; next }
  !done && $4 == "test" { $7 = hash; done = 1 }
  { print }' data/objects.tsv data/objects.tsv >"$folder/copy.tsv"
expect 1 'FAILED: .* have the same pixels' "$data" audit --manifest "$folder/copy.tsv"

# A held-out kind loses its flag.
awk -F'\t' -v OFS='\t' '!done && $4 == "1" { $4 = "0"; done = 1 } { print }' data/kinds.tsv >"$folder/kinds.tsv"
expect 1 'held out' "$data" audit --manifest data/objects.tsv --kinds "$folder/kinds.tsv"

head -c 5000 data/objects.tsv >"$folder/cut.tsv"
expect 1 'cut.tsv, line' "$data" audit --manifest "$folder/cut.tsv"
expect 1 'cannot open' "$data" audit --manifest "$folder/none.tsv"
expect 1 'is not an object pack' "$data" audit data/objects.tsv
expect 1 'train.jsonl' "$data" text --audit --out "$folder"
expect 2 'no such verb' "$data" polish
expect 2 'make no sense' "$data" audit --what
expect 2 'needs -o' "$data" sheet
