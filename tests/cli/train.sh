#!/usr/bin/env bash
# Training and scoring from the command line: the files it leaves, going on, stopping by signal, what it refuses.
source tests/cli/common.sh "$@"
pack=$work/objects.pack
"$make_tiny_objects" "$pack" || exit 1
small=(--data "$pack" --batch 2 --image-size 16 --patch 8 --image-grid 2 --tower-width 16 --tower-depth 1 --tower-hidden 32
  --lm-width 16 --lm-depth 1 --lm-hidden 32 --head-size 8 --rank-mix 2 --rank-decay 2 --vocabulary 300 --warmup 1)

run 1 train caption --data "$work/none.pack" --out "$work/x"
says err "none.pack"
run 1 train caption --data "$LINNET_MODEL" --out "$work/x"
says err "model.safetensors"
run 1 train caption "${small[@]}" --out "$work/none" --resume
run 1 train caption "${small[@]}" --out "$pack"

run 0 train caption "${small[@]}" --out "$work/whole" --steps 4 --seed 3
silent out
run 0 train caption "${small[@]}" --out "$work/parts" --steps 4 --seed 3 --stop-after 2
run 0 train caption --data "$pack" --out "$work/parts" --resume --quiet
silent err
checks=$((checks + 1))
cmp -s "$work/whole/captioner.gguf" "$work/parts/captioner.gguf" ||
  problem "going on from step 2 does not give what 4 steps in one go give"
run 0 train caption "${small[@]}" --out "$work/other" --steps 4 --seed 4
checks=$((checks + 1))
cmp -s "$work/whole/captioner.gguf" "$work/other/captioner.gguf" && problem "the seed makes no difference"
run 0 train caption --data "$pack" --out "$work/warm" --init "$work/whole/captioner.gguf" --steps 2 --batch 2

# a signal: exit code 130, and the checkpoint is there to go on from
"$linnet" train caption "${small[@]}" --out "$work/stopped" --steps 1000000 >"$work/out" 2>"$work/err" &
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
says out "visualrwkv"

# what was trained can be used
run 0 inspect "$work/whole/captioner.gguf"
run 0 caption -m "$work/whole/captioner.gguf" "$pictures/gradient_97x61.png"
run 0 eval caption -m "$work/whole/captioner.gguf" --data "$pack" --limit 4
for word in scenes: unseen: kinds: model blank frequent; do says out "$word"; done
run 0 eval caption -m "$work/whole/captioner.gguf" --data "$pack" --limit 4 --set scenes,kinds --json --pairs
equal "the sets" "$("$json_check" 0.set 1.set 0.scenes 0.pairs <"$work/out" | paste -sd' ')" "scenes kinds 4 array 4"
run 0 eval caption -m "$work/whole/captioner.gguf" --data "$pack" --limit 4 --set kinds --pairs
checks=$((checks + 1))
grep -qP '^(a|two|three|one).*diamond.*\t' "$work/out" || problem "no pair of the held-out kind: $(head -n 3 "$work/out")"
run 1 eval caption -m "$work/whole/captioner.gguf" --data "$work/none.pack"
says err "none.pack"
run 0 bench caption -m "$work/whole/captioner.gguf" --runs 2 --json
"$json_check" caption.milliseconds.token <"$work/out" >"$work/token" || problem "no time of a token"
finish
