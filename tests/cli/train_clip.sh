#!/usr/bin/env bash
# Training a pair from the command line: scenes and lists, going on, stopping by signal, what it refuses.
source tests/cli/common.sh "$@"
pack=$work/objects.pack
"$make_tiny_objects" "$pack" || exit 1
small=(--batch 4 --chunk 2 --image-size 16 --patch 8 --image-width 16 --image-depth 2 --image-hidden 32 --text-width 16
  --text-depth 2 --text-hidden 32 --head-size 8 --rank-mix 2 --rank-decay 2 --context 12 --vocabulary 300)

run 2 train clip
says err "--out"
run 2 train clip --out "$work/x" extra
run 2 train clip --out "$work/x" --batch 1
run 2 train clip --out "$work/x" --resume --init y
run 2 train clip --out "$work/x" --resume --init-image y
run 2 train --out "$work/x" clip
says err "train clip"
run 0 train clip --help
says out "--chunk"
cp "$work/out" "$work/help"
run 0 help train clip
equal "help train clip" "$(cat "$work/out")" "$(cat "$work/help")"
run 1 train clip --data "$work/none.pack" --out "$work/x"
says err "none.pack"
run 1 train clip --data "$pack" "${small[@]}" --out "$work/x" --head-size 5
run 1 train clip --data "$pack" "${small[@]}" --out "$work/none" --resume

# scenes
run 0 train clip --data "$pack" "${small[@]}" --out "$work/whole" --steps 4 --seed 3 --check 8 --check-every 2
silent out
says err "step 2: of"
says err "top-1"
run 0 train clip --data "$pack" "${small[@]}" --out "$work/parts" --steps 4 --seed 3 --stop-after 2
run 0 train clip --data "$pack" --out "$work/parts" --resume --quiet
silent err
checks=$((checks + 1))
cmp -s "$work/whole/clip.gguf" "$work/parts/clip.gguf" ||
  problem "going on from step 2 does not give what 4 steps in one go give"
run 0 train clip --data "$pack" "${small[@]}" --out "$work/other" --steps 4 --seed 4 --check 0
checks=$((checks + 1))
cmp -s "$work/whole/clip.gguf" "$work/other/clip.gguf" && problem "the seed makes no difference"
run 0 train clip --data "$pack" --out "$work/warm" --init "$work/whole/clip.gguf" --steps 2 --batch 4 --check 0
run 0 train clip --data "$pack" "${small[@]}" --out "$work/tower" --init-image "$work/whole/clip.gguf" --steps 2 --check 0
run 1 train clip --data "$pack" "${small[@]}" --out "$work/wide" --init-image "$LINNET_MODEL" --text-width 8
run 0 inspect "$work/whole/clip.gguf"
says out "RWKV-CLIP"

# a signal: exit code 130, and the checkpoint is there to go on from
"$linnet" train clip --data "$pack" "${small[@]}" --out "$work/stopped" --steps 1000000 --check 0 >"$work/out" 2>"$work/err" &
process=$!
for _ in $(seq 200); do
  sleep 0.1
  [ -d "$work/stopped" ] && break
done
sleep 0.5
kill -TERM $process
wait $process
equal "exit code after a signal" $? 130
says err "resume"

# lists of all four kinds
mkdir "$work/set"
i=0
for picture in "$pictures"/*.png; do
  i=$((i + 1))
  cp "$picture" "$work/set/$i.png"
  echo "picture number $i" >"$work/set/$i.txt"
  printf '%s\t%s\n' "set/$i.png" "picture number $i" >>"$work/list.tsv"
  echo "{\"image\": \"set/$i.png\", \"captions\": [\"picture number $i\", \"number $i\"]}" >>"$work/list.jsonl"
  [ $i -lt 6 ] || break
done
tar -C "$work/set" -cf "$work/shard.tar" $(for k in $(seq $i); do echo "$k.png" "$k.txt"; done)
for list in list.tsv list.jsonl set shard.tar; do
  run 0 train clip --list "$work/$list" --validation "$work/list.jsonl" "${small[@]}" --out "$work/of-$list" --steps 2 --seed 1
  says err "step 2: of $i pictures"
done
checks=$((checks + 1))
cmp -s "$work/of-set/clip.gguf" "$work/of-shard.tar/clip.gguf" || problem "a folder and its shard do not give the same"
run 1 train clip --list "$work/list.jsonl" --out "$work/of-list.tsv" --resume --steps 4
says err "other pairs"
printf 'set/1.png\tone\nset/2.png\n' >"$work/bad.tsv"
run 1 train clip --list "$work/bad.tsv" --out "$work/x"
says err "bad.tsv: line 2"
head -c 700 "$work/shard.tar" >"$work/cut.tar"
run 1 train clip --list "$work/cut.tar" --out "$work/x"
says err "cut.tar"
echo broken >"$work/set/1.png"
run 0 train clip --list "$work/list.tsv" "${small[@]}" --out "$work/holes" --steps 4 --seed 1
says err "set/1.png"
finish
