#!/usr/bin/env bash
# Vectors in files: rows and their lines, types, parts, processes that share the work, interruption, other work.
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
"$make_tiny_model" "$work/other.safetensors" 4 pair || exit 1
export LINNET_MODEL=$work/pair.safetensors
one=$pictures/photo_160x213_q92_444.jpg
two=$pictures/gradient_97x61.png
mkdir "$work/set" "$work/o"
for i in $(seq -w 1 30); do ln -s "$(if [ $((10#$i % 2)) = 1 ]; then echo "$one"; else echo "$two"; fi)" "$work/set/$i.x"; done
head -c 900 "$one" >"$work/set/12.jpg"

# rows FILE: how many the header says
rows() { head -c 128 "$1" | tr -d '\0' | LC_ALL=C sed -n "s/.*'shape': (\([0-9]*\), 24).*/\1/p"; }
# same FILE FILE: equal bytes
same() {
  checks=$((checks + 1))
  cmp -s "$1" "$2" || problem "$1 and $2 differ"
}
# left STEM: what else than the two results is there
left() { find "$work/o" -name "$1.*" ! -name "$1.npy" ! -name "$1.jsonl" | wc -l; }

# one broken picture of 31: no row, but a line
run 1 embed --images "$work/set" -o "$work/o/a.npy" --json
says err "12.jpg"
says err "1 of 31 pictures failed"
equal "summary" "$("$json_check" pictures failed rows <"$work/out" | paste -sd' ')" "31 1 30"
equal "rows" "$(rows "$work/o/a.npy")" 30
equal "bytes" "$(wc -c <"$work/o/a.npy")" $((128 + 30 * 24 * 4))
equal "lines" "$(wc -l <"$work/o/a.jsonl")" 31
equal "what row 12 is" "$("$json_check" --lines 13.row 13.path 13.width 13.height <"$work/o/a.jsonl" | paste -sd' ')" \
  "12 $work/set/13.x 160 213"
equal "the broken one" "$("$json_check" --lines 11.path <"$work/o/a.jsonl")" "$work/set/12.jpg"
equal "has an error" "$("$json_check" --lines 11.error <"$work/o/a.jsonl" | grep -c 12.jpg)" 1
equal "parts are gone" "$(left a)" 0
rm "$work/set/12.jpg"
ln -s "$two" "$work/set/12.jpg"
# sums of several rows at a time may round otherwise, so that what is compared byte by byte is made one by one
run 0 embed "$work/set" -o "$work/o/all.npy" --batch 1
equal "rows" "$(rows "$work/o/all.npy")" 31

# in other parts, threads: the same
run 0 embed --images "$work/set" -o "$work/o/b.npy" --part-size 4 --batch 1 --threads 1
same "$work/o/b.npy" "$work/o/all.npy"
same "$work/o/b.jsonl" "$work/o/all.jsonl"
equal "parts are gone" "$(left b)" 0

# three processes, one after the other; the last one joins
for rank in 0 1; do
  run 0 embed --images "$work/set" -o "$work/o/c.npy" --batch 1 --part-size 5 --rank $rank --world-size 3
  says err "parts are yet to be made"
  checks=$((checks + 1))
  [ -e "$work/o/c.npy" ] && problem "c.npy is there before its parts are"
done
run 1 embed --join "$work/o/c.npy"
says err "2 of 7 parts are missing"
OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=3 run 0 embed --images "$work/set" -o "$work/o/c.npy" --batch 1
silent err
same "$work/o/c.npy" "$work/o/all.npy"
same "$work/o/c.jsonl" "$work/o/all.jsonl"
equal "parts are gone" "$(left c)" 0

# all at once
for rank in 0 1 2; do
  PMI_RANK=$rank PMI_SIZE=3 "$linnet" embed --images "$work/set" -o "$work/o/d.npy" --batch 1 --part-size 2 2>>"$work/err" &
done
wait
same "$work/o/d.npy" "$work/o/all.npy"
equal "parts are gone" "$(left d)" 0

# interrupted work goes on: parts that are there are kept as they are
run 0 embed --images "$work/set" -o "$work/o/e.npy" --batch 1 --part-size 4 --rank 0 --world-size 2
rm "$work/o/e.part-00002.npy"
stamp=$(stat -c %i "$work/o/e.part-00004.npy")
SLURM_PROCID=0 SLURM_NTASKS=2 run 0 embed --images "$work/set" -o "$work/o/e.npy" --batch 1 --json
equal "only what is missing" "$("$json_check" pictures joined <"$work/out" | paste -sd' ')" "4 false"
equal "the others are as before" "$(stat -c %i "$work/o/e.part-00004.npy")" "$stamp"

# a part of other work is not taken for one's own; other work is refused
cp "$work/o/e.part-00000.npy" "$work/o/e.part-00001.npy"
sed 's/[0-9a-f]\{32\}/00000000000000000000000000000000/' "$work/o/e.part-00000.jsonl" >"$work/o/e.part-00001.jsonl"
run 1 embed --images "$work/set" -o "$work/o/e.npy" --model "$work/other.safetensors"
says err "belongs to other work"
run 1 embed --images "$work/set" -o "$work/o/e.npy" --raw
says err "belongs to other work"
run 1 embed --images "$work/set" "$one" -o "$work/o/e.npy"
says err "belongs to other work"
run 0 embed --images "$work/set" -o "$work/o/e.npy" --batch 1
same "$work/o/e.npy" "$work/o/all.npy"
run 1 embed --join "$work/o/e.npy"
says err "e.plan.json"

# a signal: exit code 130, nothing half done, and the same command ends it
for i in $(seq 1 2000); do ln -s "$one" "$work/set/x$i"; done
"$linnet" embed --images "$work/set" -o "$work/o/f.npy" --part-size 16 --batch 1 2>"$work/err" &
pid=$!
for i in $(seq 1 200); do
  [ -e "$work/o/f.part-00000.npy" ] && break
  sleep 0.02
done
kill -INT $pid
wait $pid
equal "exit code of an interrupted run" $? 130
says err "interrupted"
checks=$((checks + 1))
[ -e "$work/o/f.npy" ] && problem "f.npy is there although the run was interrupted"
equal "no temporary file" "$(find "$work/o" -name '*.tmp' | wc -l)" 0
run 0 embed --images "$work/set" -o "$work/o/f.npy"
equal "rows" "$(rows "$work/o/f.npy")" 2031
equal "parts are gone" "$(left f)" 0

# texts, and other numbers
printf 'a red disc\nthree white rings\r\n\na cat' >"$work/texts"
run 0 embed --text "$work/texts" -o "$work/o/t.npy"
equal "rows" "$(rows "$work/o/t.npy")" 4
equal "what they are" "$("$json_check" --lines 1.text 3.row <"$work/o/t.jsonl" | paste -sd' ')" "three white rings 3"
"$linnet" embed --text - -o "$work/o/u.npy" <"$work/texts"
same "$work/o/u.npy" "$work/o/t.npy"
run 0 embed --text "$work/texts" -o "$work/o/half.npy" --type f16
equal "f16" "$(wc -c <"$work/o/half.npy")" $((128 + 4 * 24 * 2))
run 0 embed --text "$work/texts" -o "$work/o/raw.npy" --raw
differ "--raw" "$(cksum <"$work/o/raw.npy")" "$(cksum <"$work/o/t.npy")"
printf 'a text of so many characters that nobody would read it\n' >"$work/long"
run 0 embed --text "$work/long" -o "$work/o/long"
says err "too long"
equal "it is said" "$("$json_check" --lines 0.cut <"$work/o/long.jsonl")" true

# misuse
run 2 embed -o "$work/o/z.npy"
run 2 embed --images "$work/set"
run 2 embed --images "$work/set" --text "$work/texts" -o "$work/o/z.npy"
run 2 embed --text "$work/texts" -o "$work/o/z.npy" --type f64
says err "f64"
run 2 embed --text "$work/texts" -o "$work/o/z.npy" --rank 2 --world-size 2
run 2 embed --join "$work/o/z.npy" --text "$work/texts"
run 1 embed - -o "$work/o/z.npy"
says err "standard input"
run 1 embed --text "$work/none" -o "$work/o/z.npy"
run 1 embed --text "$work/texts" -o "$work/none/z.npy"
says err "$work/none/z"
: >"$work/empty"
run 1 embed --text "$work/empty" -o "$work/o/z.npy"
equal "nothing is left" "$(left z)" 0
finish
