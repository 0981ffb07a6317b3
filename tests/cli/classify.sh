#!/usr/bin/env bash
# Labels: every way to give them, templates, what is written, broken pictures, misuse.
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
export LINNET_MODEL=$work/pair.safetensors
one=$pictures/photo_160x213_q92_444.jpg
two=$pictures/gradient_97x61.png

run 0 classify --labels 'cat, red disc,ring' "$one" "$two"
lines out 2
silent err
equal "the path" "$(sed -n 2p "$work/out" | cut -f1)" "$two"
plain=$(cat "$work/out")
likely=$(sed -n 1p "$work/out" | cut -f2)

# the same labels in other ways
run 0 classify --label cat --label 'red disc' --label ring --threads 1 "$one" "$two"
equal "--label" "$(cat "$work/out")" "$plain"
printf 'cat\n\nred disc\r\nring\n' >"$work/labels.txt"
run 0 classify --labels-file "$work/labels.txt" --batch 1 "$one" "$two"
equal "--labels-file" "$(cat "$work/out")" "$plain"
run 0 classify --labels 'cat,red disc,ring' --template 'a photo of a {}' "$one" "$two"
equal "the usual template" "$(cat "$work/out")" "$plain"
printf 'a photo of a {}\n' >"$work/templates.txt"
run 0 classify --labels 'cat,red disc,ring' --templates-file "$work/templates.txt" "$one" "$two"
equal "--templates-file" "$(cat "$work/out")" "$plain"
printf 'cat\ta photo of a cat\nred disc\ta photo of a red disc\nring\ta photo of a ring\n' >"$work/prompts.txt"
run 0 classify --labels-file "$work/prompts.txt" --template 'two {}' "$one" "$two"
equal "a label's own prompts" "$(cat "$work/out")" "$plain"
run 0 classify --labels 'cat,red disc,ring' --template 'two {}' --template '{}' --top-k 3 "$one"
differ "an ensemble" "$(cut -f3 "$work/out" | paste -sd' ')" "$(run 0 classify --labels 'cat,red disc,ring' --top-k 3 "$one" && cut -f3 "$work/out" | paste -sd' ')"

# several labels a picture: best first, all of them sum to 1
run 0 classify --labels 'cat,red disc,ring' --top-k 9 "$one"
lines out 3
equal "the best first" "$(sed -n 1p "$work/out" | cut -f2)" "$likely"
equal "sorted" "$(cut -f3 "$work/out" | sort -rg | paste -sd' ')" "$(cut -f3 "$work/out" | paste -sd' ')"
equal "they sum to 1" "$(cut -f3 "$work/out" | awk '{ s += $1 } END { print (s > 0.999 && s < 1.001) }')" 1
top=$(sed -n 1p "$work/out" | cut -f3)
run 0 classify --labels 'cat,red disc,ring' --top-k 9 --threshold "$(awk -v p="$top" 'BEGIN { print p - 0.0001 }')" "$one"
differ "a threshold" "$(wc -l <"$work/out")" 0
run 0 classify --labels 'cat,red disc,ring' --threshold 1 "$one"
silent out

# JSON
run 0 classify --labels 'cat,red disc,ring' --top-k 2 --jsonl "$one" "$two"
lines out 2
equal "a line a picture" "$("$json_check" --lines 1.picture <"$work/out")" "$two"
equal "its label" "$("$json_check" --lines 0.labels.0.label <"$work/out")" "$likely"
equal "two of them" "$("$json_check" --lines 0.labels <"$work/out")" "array 2"
run 0 classify --labels 'cat,red disc,ring' --json "$one" "$two"
equal "results" "$("$json_check" results <"$work/out")" "array 2"
equal "counts" "$("$json_check" summary.pictures summary.failed <"$work/out" | paste -sd' ')" "2 0"
for key in seconds pictures_per_second user_seconds system_seconds; do
  differ "summary.$key" "$("$json_check" summary.$key <"$work/out")" ""
done

# many pictures stay in their order; folders, lists, standard input
for i in $(seq -w 1 40); do ln -s "$(if [ $((10#$i % 2)) = 1 ]; then echo "$one"; else echo "$two"; fi)" "$work/many-$i.x"; done
run 0 classify --labels 'cat,red disc,ring' --batch 3 "$work"/many-*
lines out 40
equal "in order" "$(cut -f1 "$work/out" | sort)" "$(cut -f1 "$work/out")"
equal "odd ones agree" "$(sed -n '1~2p' "$work/out" | cut -f2-3 | sort -u)" "$(echo "$plain" | sed -n 1p | cut -f2-3)"
mkdir "$work/folder"
cp "$one" "$work/folder/b"
cp "$two" "$work/folder/a"
run 0 classify --labels 'cat,red disc,ring' "$work/folder"
equal "a folder" "$(cut -f1 "$work/out" | paste -sd' ')" "$work/folder/a $work/folder/b"
printf 'folder/b\n%s\r\n\n' "$two" >"$work/list"
run 0 classify --labels 'cat,red disc,ring' "$work/list"
equal "a list" "$(cut -f1 "$work/out" | paste -sd' ')" "$work/folder/b $two"
"$linnet" classify --labels 'cat,red disc,ring' - <"$one" >"$work/out" 2>"$work/err"
equal "standard input" "$(cut -f2-3 "$work/out")" "$(echo "$plain" | sed -n 1p | cut -f2-3)"

# broken pictures are named and counted; the others are there
head -c 900 "$one" >"$work/cut.jpg"
echo "no picture" >"$work/words.png"
run 1 classify --labels 'cat,red disc,ring' "$one" "$work/cut.jpg" "$work/words.png" "$work/none.png" "$two"
equal "the others" "$(cat "$work/out")" "$plain"
for name in cut.jpg words.png none.png; do says err "$name"; done
says err "3 of 5 pictures failed"
run 1 classify --labels 'cat,red disc' --jsonl "$work/words.png" "$two"
equal "an error in JSON" "$("$json_check" --lines 0.error <"$work/out" | grep -c words.png)" 1
run 1 classify --labels 'cat,red disc,ring' "$work/none"
says err "$work/none"

# misuse
run 2 classify "$one"
says err "labels"
run 2 classify --labels cat
says err "no picture"
run 2 classify --labels cat --json --jsonl "$one"
run 2 classify --labels cat - -
run 1 classify --labels 'cat,,dog' "$one"
says err "without a name"
run 1 classify --labels cat --template 'a photo' "$one"
says err "{}"
run 1 classify --labels cat --model "$work/none.gguf" "$one"
says err "none.gguf"
"$make_tiny_model" "$work/captioner.gguf" 1
run 1 classify --labels cat --model "$work/captioner.gguf" "$one"
says err "expected a pair of towers"
run 2 classify --labels cat --top-k 0 "$one"
finish
