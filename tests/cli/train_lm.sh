#!/usr/bin/env bash
# Training text models from the command line: the files it leaves, going on, stopping by signal, what it refuses.
source tests/cli/common.sh "$@"
mkdir "$work/text"
for i in 1 2 3 4; do
  echo "{\"text\": \"the cat number $i sat on the mat\", \"source\": \"cats\"}"
done >"$work/text/train.jsonl"
head -n 1 "$work/text/train.jsonl" >"$work/text/validation.jsonl"
small=(--data "$work/text" --batch 2 --context 16 --width 16 --layers 1 --head-size 8 --vocabulary 270 --warmup 1)

run 2 train lm
says err "--out"
run 2 train lm --out "$work/x" extra
run 2 train lm --out "$work/x" --version 8
run 2 train lm --out "$work/x" --resume --init y
run 2 train lm --out "$work/x" --resume --vocab y
run 2 train --out "$work/x" lm
says err "train lm"
run 0 train lm --help
says out "--context"
cp "$work/out" "$work/help"
run 0 help train lm
equal "help train lm" "$(cat "$work/out")" "$(cat "$work/help")"
run 2 help train lm more

run 1 train lm --data "$work/none" --out "$work/x"
says err "none"
mkdir "$work/nothing"
run 1 train lm --data "$work/nothing" --out "$work/x"
says err "train.jsonl"
says err "*.txt"
echo '{"text": 1}' >"$work/bad.jsonl"
run 1 train lm --data "$work/bad.jsonl" --out "$work/x"
says err "bad.jsonl: line 1"
: >"$work/empty.jsonl"
run 1 train lm --data "$work/empty.jsonl" --out "$work/x"
says err "empty.jsonl"
run 1 train lm "${small[@]}" --out "$work/none" --resume
run 1 train lm "${small[@]}" --out "$work/empty.jsonl"
run 1 train lm "${small[@]}" --out "$work/x" --head-size 5
checks=$((checks + 1))
[ -e "$work/x" ] && problem "what failed before the first step left a folder"

run 0 train lm "${small[@]}" --out "$work/whole" --steps 4 --seed 3 --eval-every 2
silent out
says err "step 2: validation"
says err "step 4: validation"
run 0 train lm "${small[@]}" --out "$work/parts" --steps 4 --seed 3 --stop-after 2
run 1 train lm "${small[@]}" --out "$work/parts"
says err "already"
run 0 train lm --data "$work/text" --out "$work/parts" --resume --quiet
silent err
checks=$((checks + 1))
cmp -s "$work/whole/lm.gguf" "$work/parts/lm.gguf" ||
  problem "going on from step 2 does not give what 4 steps in one go give"
run 0 train lm "${small[@]}" --out "$work/other" --steps 4 --seed 4
checks=$((checks + 1))
cmp -s "$work/whole/lm.gguf" "$work/other/lm.gguf" && problem "the seed makes no difference"
run 0 train lm --data "$work/text" --out "$work/warm" --init "$work/whole/lm.gguf" --steps 2 --batch 2 --context 8
for version in 4 5 7; do
  run 0 train lm "${small[@]}" --out "$work/v$version" --steps 1 --version $version
  run 0 inspect "$work/v$version/lm.gguf"
  says out "version      $version"
done

# plain texts: a file of any bytes, and a folder of files
head -c 3000 "$LINNET_MODEL" >"$work/bytes"
run 0 train lm "${small[@]}" --data "$work/bytes" --out "$work/bytes-out" --steps 1
mkdir "$work/plain"
printf 'One document.\n' >"$work/plain/a.txt"
printf 'Another one.\n' >"$work/plain/b.txt"
cp "$work/plain/a.txt" "$work/plain/validation.txt"
run 0 train lm "${small[@]}" --data "$work/plain" --out "$work/plain-out" --steps 1
says err "validation loss"

# states that are carried on, and what a frozen model learns; each run in two parts
again() { # folder, file for use, options
  local folder=$1 file=$2
  shift 2
  run 0 train lm "${small[@]}" --out "$work/$folder" --steps 4 "$@"
  run 0 train lm "${small[@]}" --out "$work/$folder-parts" --steps 4 --stop-after 2 "$@"
  run 0 train lm --data "$work/text" --out "$work/$folder-parts" --resume --quiet
  checks=$((checks + 1))
  cmp -s "$work/$folder/$file" "$work/$folder-parts/$file" || problem "$*: going on gives something else"
}
again carried lm.gguf --carry
again states states.gguf --init "$work/whole/lm.gguf" --train states
run 0 inspect "$work/states/states.gguf"
says out "state tuning"
run 0 generate -m "$work/whole/lm.gguf" --states "$work/states/states.gguf" -p a -n 8
run 1 generate -m "$work/whole/lm.gguf" --states "$work/v4/lm.gguf" -p a -n 8
says err "v4/lm.gguf"
again lora lora.safetensors --init "$work/whole/lm.gguf" --train lora --rank 2 --alpha 3
run 0 inspect "$work/lora/lm.gguf"
says out "version      6"
run 2 train lm --out "$work/x" --train head
says err "states, lora"
run 1 train lm "${small[@]}" --out "$work/x" --train lora
says err "--init"
run 1 train lm "${small[@]}" --out "$work/x" --rank 4
run 1 train lm "${small[@]}" --out "$work/x" --init "$work/whole/lm.gguf" --train states --carry
run 1 train lm "${small[@]}" --out "$work/x" --init "$work/v4/lm.gguf" --train states
says err "RWKV-4"

# a signal: exit code 130, and the checkpoint is there to go on from
"$linnet" train lm "${small[@]}" --out "$work/stopped" --steps 100000000 >"$work/out" 2>"$work/err" &
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
run 0 inspect "$work/stopped/checkpoint.safetensors"
says out "version      6"
finish
