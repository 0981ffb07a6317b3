#!/usr/bin/env bash
# Indexes: what goes in and how, going on, changed and broken pictures, interruption, deleting, compacting, merging,
# other models, damaged and foreign files, misuse.
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
"$make_tiny_model" "$work/other.safetensors" 4 pair || exit 1
export LINNET_MODEL=$work/pair.safetensors
one=$pictures/photo_160x213_q92_444.jpg
two=$pictures/gradient_97x61.png
mkdir -p "$work/set/deep/er"
for i in $(seq -w 1 12); do cp "$(if [ $((10#$i % 2)) = 1 ]; then echo "$one"; else echo "$two"; fi)" "$work/set/$i.x"; done
cp "$pictures/gray_50x80.png" "$work/set/deep/er/grey.png"
head -c 900 "$one" >"$work/set/06.x"
a=$work/a.lidx

# counts INDEX: rows, deleted ones
counts() { "$linnet" index stats --json "$1" | "$json_check" rows deleted | paste -sd' '; }
# rows INDEX: all rows as text, by path
rows() { "$linnet" search "$1" anything -k 100000 --json | "$json_check" --lines $(seq -f '%g.path' 0 $(("$(counts "$1" | cut -d' ' -f1)" - 1))) | sort; }
# field INDEX PATH NAME: of the row of a path
field() { "$linnet" search "$1" anything --json --filter "path = '$2'" | "$json_check" --lines "0.$3"; }
# sums WHAT: added replaced unchanged failed, of the last summary
sums() { equal "$1" "$("$json_check" added replaced unchanged failed <"$work/out" | paste -sd' ')" "$2"; }

# a folder and those in it; a broken picture is named, the others are there
run 1 index build "$work/set" -o "$a" --json
says err "06.x"
says err "1 of 13 pictures failed"
sums "built" "12 0 0 1"
equal "rows" "$(counts "$a")" "12 0"
equal "width" "$(field "$a" "$work/set/01.x" metadata.width)" 160
equal "height" "$(field "$a" "$work/set/01.x" metadata.height)" 213
equal "bytes" "$(field "$a" "$work/set/01.x" metadata.bytes)" "$(stat -c %s "$one")"
equal "modified" "$(field "$a" "$work/set/01.x" metadata.modified | cut -c1-19)" \
  "$(date -u -r "$work/set/01.x" +%Y-%m-%dT%H:%M:%S)"
equal "deep ones" "$(field "$a" "$work/set/deep/er/grey.png" metadata.width)" 50
run 0 index verify "$a"
says out "sound"

# again: nothing to do but the broken one; mended, it comes in; changed, it is replaced
before=$(cksum <"$a")
run 1 index build "$work/set" -o "$a" --json
sums "again" "0 0 12 1"
equal "nothing is written" "$(cksum <"$a")" "$before"
cp "$two" "$work/set/06.x"
run 0 index add "$a" "$work/set" --json
sums "mended" "1 0 12 0"
cp "$two" "$work/set/01.x"
touch -d '2001-02-03 04:05:06 UTC' "$work/set/02.x"
run 0 index add "$a" "$work/set" --json
sums "changed" "0 2 11 0"
equal "one row a path" "$(counts "$a")" "13 2"
equal "its new size" "$(field "$a" "$work/set/01.x" metadata.width)" 97
equal "its new time" "$(field "$a" "$work/set/02.x" metadata.modified)" "2001-02-03T04:05:06.000Z"
run 0 index build --flat "$work/set" -o "$work/flat.lidx" --json
sums "--flat" "12 0 0 0"

# captions and metadata: tabs, JSON Lines, texts beside pictures
printf '01.x\ta first caption\tand another\n02.x\n' >"$work/set/list.tsv"
run 0 index build "$work/set/list.tsv" -o "$work/list.lidx"
equal "of a list" "$(field "$work/list.lidx" "$work/set/01.x" caption)" "a first caption; and another"
equal "none" "$(field "$work/list.lidx" "$work/set/02.x" caption)" ""
printf '{"file_name":"01.x","captions":["one","two"],"author":{"name":"A"},"tags":["x","y"],"bytes":1}\n{"image":"03.x"}\n' \
  >"$work/set/list.jsonl"
run 0 index build "$work/set/list.jsonl" -o "$work/lines.lidx"
equal "of JSON Lines" "$(field "$work/lines.lidx" "$work/set/01.x" caption)" "one; two"
equal "what else it says" "$(field "$work/lines.lidx" "$work/set/01.x" metadata.author.name)" A
differ "what is measured counts" "$(field "$work/lines.lidx" "$work/set/01.x" metadata.bytes)" 1
printf '  beside  \n\nand below\n' >"$work/set/03.txt"
run 0 index build "$work/set/03.x" "$work/set/04.x" -o "$work/beside.lidx"
equal "beside" "$(field "$work/beside.lidx" "$work/set/03.x" caption)" "beside; and below"
# who says nothing leaves what is known; who says something else replaces it
run 0 index add "$work/list.lidx" "$work/set/01.x" --json
sums "nothing new is said" "0 0 1 0"
equal "the caption stays" "$(field "$work/list.lidx" "$work/set/01.x" caption)" "a first caption; and another"
touch "$work/set/01.x"
run 0 index add "$work/list.lidx" "$work/set/01.x" --json
sums "touched" "0 1 0 0"
equal "the caption stays" "$(field "$work/list.lidx" "$work/set/01.x" caption)" "a first caption; and another"
run 0 index add "$work/list.lidx" "$work/set/list.jsonl" --json
sums "said otherwise" "1 1 0 0"
equal "the new caption" "$(field "$work/list.lidx" "$work/set/01.x" caption)" "one; two"
printf '{"path":"01.x"}\n{"caption":"of nothing"}\n' >"$work/set/broken.jsonl"
run 1 index build "$work/set/broken.jsonl" -o "$work/none.lidx"
says err "broken.jsonl: line 2"

# texts
printf 'a red disc\n\n  a cat \r\nthree rings' >"$work/texts"
run 0 index build --text "$work/texts" "$one" -o "$work/t.lidx" --json
sums "texts" "4 0 0 0"
equal "a text" "$(field "$work/t.lidx" "$work/texts:3" caption)" "a cat"
sed -i 's/cat/dog/' "$work/texts"
run 0 index add "$work/t.lidx" --text "$work/texts" --json
sums "a text changed" "0 1 2 0"
"$linnet" index add "$work/t.lidx" --text - <"$work/texts" >"$work/out" 2>"$work/err"
equal "standard input" "$(field "$work/t.lidx" "-:3" caption)" "a dog"

# types
for type in f32 f16 i8; do
  run 0 index build "$work/set" -o "$work/$type.lidx" --type $type
  equal "type" "$("$linnet" index stats --json "$work/$type.lidx" | "$json_check" type)" $type
  equal "same rows" "$(rows "$work/$type.lidx")" "$(rows "$a")"
done
run 1 index add "$work/i8.lidx" "$one" --model "$work/other.safetensors"
says err "is another model"
run 1 index build "$one" -o "$work/i8.lidx" --type f32
says err "is of type i8"

# Ctrl-C: what was done is there, and the same command goes on
mkdir "$work/many"
for i in $(seq 1 1500); do ln -s "$one" "$work/many/$i"; done
"$linnet" index build "$work/many" -o "$work/m.lidx" --commit-rows 20 --batch 1 >"$work/out" 2>"$work/err" &
pid=$!
for i in $(seq 1 400); do
  [ -e "$work/m.lidx" ] && [ "$(stat -c %s "$work/m.lidx")" -gt 30000 ] && break
  sleep 0.02
done
kill -INT $pid
wait $pid
equal "exit code of an interrupted build" $? 130
says err "interrupted"
run 0 index verify "$work/m.lidx"
done_before=$(counts "$work/m.lidx" | cut -d' ' -f1)
checks=$((checks + 1))
[ "$done_before" -ge 1 ] && [ "$done_before" -lt 1500 ] || problem "an interrupted build has $done_before rows"
run 0 index build "$work/many" -o "$work/m.lidx" --json
sums "goes on" "$((1500 - done_before)) 0 $done_before 0"
# killed at once: what was committed is there
"$linnet" index add "$work/m.lidx" "$work/set" --commit-rows 1 --batch 1 >"$work/out" 2>"$work/err" &
pid=$!
sleep 0.1
kill -KILL $pid
wait $pid 2>/dev/null
run 0 index verify "$work/m.lidx"
run 0 index add "$work/m.lidx" "$work/set"
equal "all of it" "$(counts "$work/m.lidx" | cut -d' ' -f1)" 1513

# deleting
run 1 index delete "$a" "$work/set/01.x" "$work/set/nothing" --json
says err "no row of the name $work/set/nothing"
equal "deleted, unknown" "$("$json_check" deleted unknown <"$work/out" | paste -sd' ')" "1 1"
run 0 index delete "$a" --filter "path ~ 'grey' or width = 97 and path ~ '/02.x'"
says out "2 deleted"
rm "$work/set/03.x"
run 0 index delete "$a" --missing
says out "1 deleted"
equal "what is left" "$(counts "$a")" "9 6"
run 0 index delete "$work/t.lidx" --missing
says out "0 deleted"
left=$(rows "$a")
run 1 index delete "$a" --filter 'width >'
says err "character 8"
run 0 index compact "$a"
equal "compact" "$(counts "$a")" "9 0"
equal "the same rows" "$(rows "$a")" "$left"
run 0 index verify "$a"
(
  cd "$work/set" || exit 1
  LINNET_MODEL=$work/pair.safetensors "$linnet" index build 04.x 05.x -o "$work/set/near.lidx"
) >"$work/out" 2>&1
mv "$work/set/05.x" "$work/set/gone"
run 0 index delete "$work/set/near.lidx" --missing
says out "1 deleted"
mv "$work/set/gone" "$work/set/05.x"

# parts: indexes, and vectors that were made elsewhere
run 0 index build "$work/set/04.x" "$work/set/05.x" -o "$work/p.lidx"
run 0 index build "$work/set/05.x" "$work/set/07.x" -o "$work/q.lidx" --type f16
run 0 index merge "$work/pq.lidx" "$work/p.lidx" "$work/q.lidx" --json
equal "merged" "$("$json_check" parts rows <"$work/out" | paste -sd' ')" "2 4"
equal "the rows" "$(rows "$work/pq.lidx" | xargs -n1 basename | paste -sd' ')" "04.x 05.x 07.x"
for rank in 0 1; do run 0 embed "$work/set/04.x" "$work/set/05.x" "$work/set/07.x" -o "$work/e.npy" --part-size 1 --rank $rank --world-size 2; done
run 0 index merge "$work/e.lidx" "$work/e.npy"
equal "the rows" "$(rows "$work/e.lidx")" "$(rows "$work/pq.lidx")"
equal "scores" "$("$linnet" search "$work/e.lidx" 'a cat' | sort | head -2)" \
  "$("$linnet" search "$work/pq.lidx" 'a cat' | sort | head -2)"
run 0 embed --text "$work/texts" -o "$work/te.npy"
run 0 index merge "$work/e.lidx" "$work/te.npy"
equal "a text's row" "$(field "$work/e.lidx" "$work/te.npy:3" caption)" "three rings"
run 0 index export "$work/lines.lidx" "$work/x.npy"
run 0 index merge "$work/x.lidx" "$work/x.npy"
equal "there and back" "$(field "$work/x.lidx" "$work/set/01.x" metadata.author.name)" A
equal "the caption" "$(field "$work/x.lidx" "$work/set/01.x" caption)" "one; two"
rm "$work/x.jsonl"
run 0 index merge "$work/y.lidx" "$work/x.npy"
equal "without lines" "$(rows "$work/y.lidx" | head -1)" "$work/x.npy:0"
# a model under another name is the same; another model is not
cp "$work/pair.safetensors" "$work/renamed.safetensors"
run 0 index build "$work/set/08.x" -o "$work/r.lidx" --model "$work/renamed.safetensors"
run 0 index merge "$work/pq.lidx" "$work/r.lidx"
run 0 index build "$work/set/09.x" -o "$work/o.lidx" --model "$work/other.safetensors"
before=$(rows "$work/pq.lidx")
run 1 index merge "$work/pq.lidx" "$work/x.lidx" "$work/o.lidx"
equal "all or nothing" "$(rows "$work/pq.lidx")" "$before"
run 1 index merge "$work/new.lidx" "$work/p.lidx" "$work/o.lidx"
checks=$((checks + 1))
[ -e "$work/new.lidx" ] && problem "a merge that failed leaves an index"
printf '{"row":7,"path":"x"}\n' >"$work/x.jsonl"
run 1 index merge "$work/z.lidx" "$work/x.npy"
says err "x.jsonl: line 1"

# files that are no index, or a damaged one
head -c 5000 "$a" >"$work/cut.lidx"
: >"$work/empty.lidx"
for file in "$work/cut.lidx" "$work/empty.lidx" "$one" "$work/pair.safetensors" "$work/none-such.lidx" "$work"; do
  for what in stats verify compact; do
    run 1 index $what "$file"
    lines err 1
  done
done
cp "$a" "$work/flipped.lidx"
printf '\377' | dd of="$work/flipped.lidx" bs=1 conv=notrunc status=none \
  seek="$(grep -abo "$work/set/04.x" "$a" | head -1 | cut -d: -f1)"
run 1 index verify "$work/flipped.lidx"
says err "flipped.lidx"
lines err 1
run 1 index add "$work/none-such.lidx" "$one"
run 1 index build "$one" -o "$work/none/a.lidx"

# misuse
run 2 index
run 2 index sort "$a"
says err "sort"
run 2 index build "$one"
run 2 index build -o "$work/z.lidx"
run 2 index add
run 2 index add "$a"
run 2 index delete "$a"
run 2 index stats
run 2 index stats "$a" "$a"
run 2 index merge "$a"
run 2 index export "$a"
run 2 index export "$a" "$work/z.txt"
run 1 index build "$one" -o "$work/z.lidx" --type f64
says err "f64"
run 1 index build - -o "$work/z.lidx"
says err "standard input"
for what in build add delete stats verify compact merge export; do
  run 0 help index $what
  says out "Usage: linnet index $what"
done
run 0 help index
says out "compact"
finish
