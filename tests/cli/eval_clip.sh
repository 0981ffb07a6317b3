#!/usr/bin/env bash
# Pairs of towers and classifiers, scored from the command line: data of every kind, the project's own sets, misuse.
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
"$make_tiny_objects" "$work/pack" || exit 1
export LINNET_MODEL=$work/pair.safetensors
one=$(realpath "$pictures/photo_160x213_q92_444.jpg") two=$(realpath "$pictures/gradient_97x61.png")
own=(--objects "$work/pack")

# 18 pictures of 6 x 6 pixels, three of each value, labelled 0, 1, 2 by turns
idx=$work/t-images-idx3-ubyte
printf '\0\0\10\3\0\0\0\22\0\0\0\6\0\0\0\6' >"$idx"
printf '\0\0\10\1\0\0\0\22' >"$work/t-labels-idx1-ubyte"
for i in $(seq 0 17); do
  for _ in $(seq 36); do printf "\\$(printf %o $((i % 3 * 110 + i)))"; done
  printf "\\$((i % 3))" >&3
done >>"$idx" 3>>"$work/t-labels-idx1-ubyte"

mkdir -p "$work/folder/cat" "$work/folder/red disc"
cp "$one" "$work/folder/cat"
cp "$two" "$work/folder/red disc"
printf 'no picture' >"$work/folder/cat/README"
printf '%s\tcat\n%s\tred disc\n' "$one" "$two" >"$work/list.tsv"

# --- zero-shot
run 0 eval zeroshot --data "$work/folder"
says out "2 pictures of 2 classes"
says out "by chance         50.00 %"
top=$(grep top-1 "$work/out")
run 0 eval zeroshot --data "$work/list.tsv" --template 'a photo of a {}' --threads 1 --batch 1
equal "a list and the usual template" "$(grep top-1 "$work/out")" "$top"
run 0 eval zeroshot --data "$idx" --json
equal "IDX" "$("$json_check" 0.pictures 0.classes 0.skipped 0.top5 <"$work/out" | paste -sd' ')" "18 3 0 100"
run 0 eval zeroshot --data "$idx" --limit 7
says out "7 pictures of 3 classes"
printf 'cat\nring\nred disc\ta red disc\ta disc\n' >"$work/names"
run 0 eval zeroshot --data "$work/folder" --labels "$work/names"
says out "2 pictures of 3 classes"
printf 'cat\n' >"$work/few"
run 1 eval zeroshot --data "$work/folder" --labels "$work/few"
says err "'red disc' is not among"
run 1 eval zeroshot --data "$idx" --labels "$work/few"
printf '%s\tcat\n%s\tdog\n%s\tred disc\n' "$one" "$work/gone.png" "$two" >"$work/list.tsv"
run 1 eval zeroshot --data "$work/list.tsv" --json
says err "gone.png"
equal "one is skipped" "$("$json_check" 0.pictures 0.skipped 0.classes <"$work/out" | paste -sd' ')" "2 1 3"

run 0 eval zeroshot "${own[@]}"
says out "unseen: "
says out "kinds: "
run 0 eval zeroshot "${own[@]}" --set validation --json --template 'a {}'
equal "a set" "$("$json_check" 0.set 0.classes <"$work/out" | paste -sd' ')" "validation 3"
run 0 eval zeroshot "${own[@]}" --set unseen --classes 2
says out "of 2 classes"
run 1 eval zeroshot --objects "$work/none"

# --- retrieval
printf '{"image":"%s","captions":["a cat","a ring"]}\n{"image":"%s","captions":["a red disc"]}\n' "$one" "$two" \
  >"$work/pairs.jsonl"
run 0 eval retrieval --data "$work/pairs.jsonl" --json
equal "a list" "$("$json_check" 0.pictures 0.texts 0.prefix "0.image_to_text.R@5" <"$work/out" | paste -sd' ')" \
  "2 3 a photo of  100"
run 0 eval retrieval --data "$work/pairs.jsonl" --prefix 'a ' --quiet
says out "2 pictures, 3 texts"
run 0 eval retrieval "${own[@]}" --scenes 12
says out "scenes: 12 pictures, 12 texts"
says out "R@10"
run 0 eval retrieval "${own[@]}" --scenes 12 --set scenes --json
equal "no prefix" "$("$json_check" 0.prefix <"$work/out")" ""
run 0 eval retrieval "${own[@]}" --scenes 100000 --quiet --json # as many as are said differently
[ "$("$json_check" 0.pictures <"$work/out")" -lt 100000 ] || problem "too many scenes"
run 1 eval retrieval --data "$work/none"

# --- linear probes
run 0 eval linear-probe --train "$idx" --test "$idx" --hold 6
says out "18 pictures of 3 classes"
says out "learned from 12 pictures and 6 more"
run 0 eval linear-probe --train "$idx" --valid "$idx" --test "$idx" --limit 9 --json
equal "parts" "$("$json_check" 0.train 0.valid 0.pictures <"$work/out" | paste -sd' ')" "9 9 18"
run 0 eval linear-probe --train "$idx" --test "$idx" --strength 0.316 --json
equal "C as given" "$("$json_check" 0.C 0.valid_top1 0.valid <"$work/out" | paste -sd' ')" "0.316 null 0"
run 1 eval linear-probe --train "$idx" --test "$idx" --hold 18
run 1 eval linear-probe --train "$idx" --test "$work/folder" --hold 6
says err "is not among"

# --- classifiers
small=(--data "$idx" --image-size 6 --patch 3 --width 8 --depth 2 --hidden 8 --head-size 4 --rank-mix 2 --rank-decay 2
  --batch 6 --hold 6 --shift 1)
run 0 train classifier "${small[@]}" --out "$work/run" --steps 3 --check-every 2 --stop-after 2
says err "step 2: loss"
run 1 train classifier "${small[@]}" --out "$work/run" --steps 3
says err "a run is there already"
run 0 train classifier --data "$idx" --out "$work/run" --resume --quiet
silent err
run 0 eval classifier -m "$work/run/classifier.gguf" --data "$idx"
says out "18 pictures of 3 classes"
run 0 eval classifier -m "$work/run/classifier.gguf" --data "$idx" --json --batch 4
equal "a classifier" "$("$json_check" pictures skipped classes <"$work/out" | paste -sd' ')" "18 0 3"
run 1 eval classifier -m "$work/pair.safetensors" --data "$idx"
says err "not a classifier of pictures"
run 1 eval classifier -m "$work/run/classifier.gguf" --data "$work/folder"
run 1 train classifier --data "$work/none" --out "$work/other"
run 1 train classifier "${small[@]}" --head-size 3 --out "$work/other"

# --- misuse
for word in zeroshot retrieval linear-probe classifier; do
  run 0 eval $word --help
  cp "$work/out" "$work/help"
  run 0 help eval $word
  equal "help eval $word" "$(cat "$work/out")" "$(cat "$work/help")"
  run 2 eval $word extra
  run 2 eval $word --nonsense
  run 2 eval --json $word
  says err "comes before its options"
done
run 2 eval zeroshot --set moon
run 2 eval zeroshot --set unseen,
run 2 eval zeroshot --labels "$work/names"
run 2 eval retrieval --set moon
run 2 eval linear-probe --train "$idx" --test "$idx"
run 2 eval linear-probe --train "$idx"
run 2 eval classifier --data "$idx"
run 2 train classifier --out "$work/other"
run 2 train classifier --data "$idx"
run 2 train classifier --data "$idx" --out "$work/other" extra
run 2 train classifier --data "$idx" --out "$work/other" --smoothing 1
finish
