#!/usr/bin/env bash
# Captions: every way in and every way out agree, and draws depend on the seed only.
source tests/cli/common.sh "$@"
one=$pictures/photo_160x213_q92_444.jpg
two=$pictures/gradient_97x61.png

# text INDEX: a caption of the JSON array in $work/out
text() { "$json_check" "$1.captions.${2:-0}.text" <"$work/out"; }

run 0 caption "$one"
lines out 1
silent err
plain=$(cat "$work/out")
differ "an empty caption" "$plain" ""
run 0 caption --beam 1 --threads 1 "$one"
equal "one thread" "$(cat "$work/out")" "$plain"
run 0 caption --json "$one"
equal "the path in JSON" "$("$json_check" 0.picture <"$work/out")" "$one"
run 0 caption "$one" "$two"
lines out 2
equal "path, tab, caption" "$(head -n 1 "$work/out" | cut -f1)" "$one"
differ "captions of two pictures" "$(sed -n 1p "$work/out" | cut -f2)" "$(sed -n 2p "$work/out" | cut -f2)"
cp "$work/out" "$work/several"

# standard input
"$linnet" caption - <"$one" >"$work/out" 2>"$work/err"
equal "exit code of -" $? 0
equal "standard input" "$(cat "$work/out")" "$plain"
"$linnet" caption --json - <"$one" >"$work/out" 2>"$work/err"
equal "its name" "$("$json_check" 0.picture <"$work/out")" "-"

# several captions, best first
run 0 caption --num 3 --temp 1 --seed 5 "$one"
lines out 3
cp "$work/out" "$work/first"
run 0 caption --num 3 --temp 1 --seed 5 "$one"
equal "the same seed" "$(cat "$work/out")" "$(cat "$work/first")"
run 0 caption --num 3 --temp 1 --seed 6 "$one"
differ "another seed" "$(cat "$work/out")" "$(cat "$work/first")"
run 0 caption --num 3 --beam 4 --max-tokens 6 --json "$one"
equal "three of a beam of four" "$("$json_check" 0.captions <"$work/out")" "array 3"
best=$("$json_check" 0.captions.0.log_probability 0.captions.0.tokens 0.captions.2.log_probability 0.captions.2.tokens \
  <"$work/out" | paste -sd' ')
equal "order of $best" "$(echo "$best" | awk '{ print ($1 / $2 >= $3 / $4) }')" 1
run 0 caption --temp 1 --top-p 0.000001 --json "$one"
cold=$(text 0)
run 0 caption --json "$one"
equal "the narrowest top-p is greedy" "$cold" "$(text 0)"
run 0 caption --max-tokens 3 --json "$one"
equal "longest caption" "$("$json_check" 0.captions.0.tokens <"$work/out")" 3

# folders: pictures by content, sorted, and only with -r those below
mkdir -p "$work/folder/below" "$work/empty"
cp "$one" "$work/folder/b.txt"
cp "$two" "$work/folder/a"
cp "$two" "$work/folder/below/c.png"
echo "no picture, only words about one" >"$work/folder/notes.png"
ln -s . "$work/folder/loop"
run 0 caption "$work/folder"
lines out 2
equal "sorted" "$(cut -f1 "$work/out" | paste -sd' ')" "$work/folder/a $work/folder/b.txt"
equal "the same captions" "$(cut -f2 "$work/out" | sort)" "$(cut -f2 "$work/several" | sort)"
run 0 caption -r "$work/folder/"
lines out 3
says out "below/c.png"
run 1 caption "$work/empty"
says err "no picture"

# more than one batch, as an array and as lines
for i in $(seq -w 1 35); do ln -s "$(if [ $((10#$i % 2)) = 1 ]; then echo "$one"; else echo "$two"; fi)" "$work/many-$i.x"; done
run 0 caption --json "$work"/many-*
equal "all are there" "$("$json_check" < <(cat "$work/out") && "$json_check" "" <"$work/out")" "array 35"
equal "the last is a" "$(text 34)" "$(text 0)"
differ "the one before is b" "$(text 33)" "$(text 0)"
run 0 caption --jsonl "$work"/many-*
lines out 35
equal "lines of JSON" "$("$json_check" --lines 34.picture <"$work/out")" "$work/many-35.x"

# the library gives what the command gives
"$example" "$LINNET_MODEL" "$two" "$two" >"$work/example" 2>"$work/err"
equal "the example's exit code" $? 0
run 0 caption --json "$two"
equal "the example of the library" "$(sed -n 2p "$work/example")" "$(text 0)"
"$example" "$LINNET_MODEL" "$work/none.png" 2>"$work/err"
equal "the example's failure" $? 1
says err "none.png"

# what the terminal gets: a name with controls is escaped
cp "$two" "$work/"$'esc\e[31m\n.png'
run 0 caption "$work/"$'esc\e[31m\n.png' "$two"
says out 'esc\x1b[31m\n.png'
lines out 2
run 1 caption "$work/"$'none\e[31m.png'
says err '[31m.png'
checks=$((checks + 1))
grep -q $'\e' "$work/err" && problem "a control character reaches the terminal"
finish
