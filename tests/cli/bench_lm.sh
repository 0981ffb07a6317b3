#!/usr/bin/env bash
# bench lm on a tiny made-up model: what it counts, the forms of its results, the files it makes, and misuse.
source tests/cli/common.sh "$@"
tiny=(--synthetic 2x128x256x512)

# found PATH VALUE: of the JSON in $work/out
found() { equal "$1" "$("$json_check" "lm.$1" <"$work/out")" "$2"; }

run 0 bench lm "${tiny[@]}" -p 20,0,3 -n 2 -r 3 --json
found parameters 578048
found type Q8_0
found interleaved true
found token_bytes 895112 # every tensor but the table of embeddings, of which a row
found token_operations 884736
found logits_operations 131072
found rounds 3
found tests "array 3"
found tests.0.test pp20
found tests.1.n_prompt 3
found tests.2.test tg2
found tests.2.samples_ts "array 3"
found tests.2.limit_of "reading memory"
found model "RWKV-6 1M Q8_0"

# what a test reaches is the work of its products, or the bytes of its tokens, by its time
close() { # close WHAT ONE OTHER: json_check prints six digits
  checks=$((checks + 1))
  awk -v a="$2" -v b="$3" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (1e-4 * a) ^ 2) }' || problem "$1: $2 is not $3"
}
value() { "$json_check" "lm.$1" <"$work/out"; }
close reading "$(value tests.2.reached)" "$(awk -v r="$(value tests.2.median_ts)" 'BEGIN { printf "%.12g", r * 895112 }')"
close arithmetic "$(value tests.1.reached)" \
  "$(awk -v r="$(value tests.1.median_ts)" 'BEGIN { printf "%.12g", r * (3 * 884736 + 131072) / 3 }')"

run 0 bench lm "${tiny[@]}" --type f32 -p 4 -n 0 -r 1 --output csv
lines out 2
says out '"RWKV-6 1M F32",2312192,578048,F32,'
says out ,pp4,
run 0 bench lm "${tiny[@]}" --type Q4_K -p 0 -n 3 -r 2 # rows of 128 are no blocks of 256: Q5_0
says out "RWKV-6 1M Q5_0"
says out tg3

# files: the same bytes every time, in both layouts, and models like any other
run 0 bench lm "${tiny[@]}" --keep "$work/own.gguf" -p 2 -n 0 -r 1
run 0 bench lm "${tiny[@]}" --keep "$work/again.gguf" -p 2 -n 0 -r 1
equal "two files" "$(cksum <"$work/own.gguf")" "$(cksum <"$work/again.gguf")"
run 0 bench lm "${tiny[@]}" --layout llama --keep "$work/llama.gguf" -p 0 -n 0
equal "what is left over" "$(ls "$work"/llama*)" "$work/llama.gguf"
for file in own llama; do
  run 0 generate -m "$work/$file.gguf" --n-predict 4 --seed 1 --prompt hello
  cp "$work/out" "$work/said-$file"
  run 0 bench lm "$work/$file.gguf" -p 3 -n 2 -r 1 --chunk 2 --threads 1
done
equal "what both say" "$(cat "$work/said-own")" "$(cat "$work/said-llama")"
run 0 inspect --verify "$work/own.gguf"

# nothing is left in the folder for temporary files, after a failure neither
mkdir "$work/tmp"
export TMPDIR=$work/tmp
run 0 bench lm "${tiny[@]}" -p 2 -n 0 -r 1
run 1 bench lm "${tiny[@]}" -p nonsense
equal "what is left in \$TMPDIR" "$(ls "$work/tmp")" ""

run 1 bench lm
says err "needs a model's file"
run 1 bench lm --synthetic moon
says err "rwkv6-1b6"
run 1 bench lm --synthetic 2x100
says err "not a multiple of the head size"
run 1 bench lm --synthetic 2x128x256x100
says err "too small"
run 1 bench lm "${tiny[@]}" --type I8
says err "'I8'"
run 1 bench lm "${tiny[@]}" --layout moon
run 1 bench lm "$work/own.gguf" --type Q8_0
says err "for --synthetic"
run 1 bench lm "$work/own.gguf" "${tiny[@]}"
run 1 bench lm "$work/own.gguf" -n -1
run 1 bench lm "$pictures/gradient_97x61.png"
run 2 bench lm "$work/own.gguf" --output xml
finish
