#!/usr/bin/env bash
# convert, quantize and inspect: there and back without a bit changed, types by name, checksums, and what is refused.
source tests/cli/common.sh "$@"
picture=$pictures/gradient_97x61.png
pth=tests/goldens/rwkv6/tiny-fp32/model.pth

# same A B: the same bytes
same() {
  checks=$((checks + 1))
  cmp -s "$1" "$2" || problem "${1##*/} and ${2##*/} differ"
}

# round FILE NAME: FILE to GGUF and safetensors and back again
round() {
  run 0 convert -q "$1" "$work/$2.gguf"
  says out "tensors"
  silent err
  run 0 convert -q "$work/$2.gguf" "$work/$2.safetensors"
  run 0 convert -q "$work/$2.safetensors" "$work/$2-again.gguf"
  run 0 convert -q "$work/$2-again.gguf" "$work/$2-again.safetensors"
  same "$work/$2.gguf" "$work/$2-again.gguf"
  same "$work/$2.safetensors" "$work/$2-again.safetensors"
  for file in "$work/$2.gguf" "$work/$2.safetensors"; do
    run 0 inspect --verify "$file"
    says out "the checksums are right"
  done
}
round "$LINNET_MODEL" captioner
round "$pth" rwkv6
round tests/goldens/rwkv6/head64-bf16/model.pth bf16
run 0 inspect "$pth"
says out "RWKV-6"
says out "layers 2"
run 0 inspect --verify "$pth"
says out "the checksums are right"
run 0 inspect --stats "$work/rwkv6.gguf"
says out "deviation"

# a captioner says the same whatever its container
run 0 caption "$picture"
said=$(cat "$work/out")
for file in captioner.gguf captioner.safetensors; do
  run 0 caption -m "$work/$file" "$picture"
  equal "the caption of $file" "$(cat "$work/out")" "$said"
done

# types
run 0 convert -q --type bf16 "$pth" "$work/narrow.gguf"
run 0 inspect --json "$work/narrow.gguf"
equal "types" "$("$json_check" types.BF16 <"$work/out")" 62
run 0 quantize -q tests/goldens/rwkv6/head64-bf16/model.pth "$work/small.gguf" q8_0
run 0 inspect --json "$work/small.gguf"
equal "types" "$("$json_check" types.Q8_0 types.BF16 <"$work/out" | paste -sd' ')" "18 44"
run 0 convert -q "$work/small.gguf" "$work/wide.safetensors"
run 0 inspect --json "$work/wide.safetensors"
equal "types" "$("$json_check" types.F32 types.BF16 <"$work/out" | paste -sd' ')" "18 44"
run 0 quantize -q --tensor-type 'head.*=keep,emb.*=f16,blocks.?.ffn.key.weight=Q6_K' \
  tests/goldens/rwkv6/head64-bf16/model.pth "$work/mixed.gguf" Q4_K
run 0 inspect --tensors "$work/mixed.gguf"
says out "head.weight	BF16"
says out "emb.weight	F16"
says out "blocks.1.ffn.key.weight	Q8_0" # rows of 128 do not hold blocks of 256
says out "blocks.1.att.key.weight	Q5_0"
says out "blocks.1.att.time_maa_w1	BF16"
run 0 quantize -q --json "$LINNET_MODEL" "$work/small.gguf" Q5_1
equal "tensors" "$("$json_check" tensors <"$work/out")" "$("$linnet" inspect "$LINNET_MODEL" --json | "$json_check" types.F32)"

# interleaved or not, the same tensors; and a model says the same, whether its weights are mapped or not
run 0 convert -q --type bf16 "$LINNET_MODEL" "$work/own.gguf"
says out "interleaved"
run 0 convert -q --type bf16 --plain "$LINNET_MODEL" "$work/plain.gguf"
equal "interleaved" "$(grep -c interleaved "$work/out")" 0
run 0 convert -q --plain "$work/own.gguf" "$work/plain-again.gguf"
same "$work/plain.gguf" "$work/plain-again.gguf"
run 0 convert -q "$work/plain.gguf" "$work/own-again.gguf"
same "$work/own.gguf" "$work/own-again.gguf"
run 0 inspect --tensors --verify "$work/own.gguf"
says out "the checksums are right"
says out "for use where they lie"
run 0 inspect --json "$work/plain.gguf"
equal "interleaved tensors" "$("$json_check" interleaved <"$work/out")" 0
run 0 caption -m "$work/own.gguf" "$picture"
said=$(cat "$work/out")
run 0 caption -m "$work/plain.gguf" "$picture"
equal "the caption of plain.gguf" "$(cat "$work/out")" "$said"

# flip FILE PLACE: one bit of a byte
flip() {
  local byte
  byte=$(tail -c +$(($2 + 1)) "$1" | head -c 1 | od -An -tu1)
  printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
cp "$work/captioner.gguf" "$work/flipped.gguf"
flip "$work/flipped.gguf" $(($(stat -c %s "$work/flipped.gguf") - 40))
run 1 inspect --verify "$work/flipped.gguf"
silent out
says err "flipped.gguf"
says err "checksum"

# of an archive with a damaged entry the rest is described
cp "$pth" "$work/flipped.pth"
flip "$work/flipped.pth" $(($(stat -c %s "$pth") / 4))
run 1 inspect --stats "$work/flipped.pth"
says out "deviation"
lines err 1
says err "damaged"

# what is refused leaves what was there
echo precious >"$work/old.gguf"
for words in "--type q9 $pth $work/old.gguf" "--type q8_0 $pth $work/old.gguf" "--layout sideways $pth $work/old.gguf" \
  "--vocab x $pth $work/old.gguf" "--tensor-type head.* $pth $work/old.gguf" "--tensor-type head.*=q9 $pth $work/old.gguf" \
  "$pth" "$pth $work/old.gguf more"; do
  run 2 convert $words
  silent out
done
run 2 quantize "$pth" "$work/old.gguf" f33
run 2 quantize "$pth" "$work/old.gguf"
for words in "--tensor-type nothing.*=f16 $pth $work/old.gguf" "--dict ema2 $pth $work/old.gguf" "$work/none $work/old.gguf" \
  "$picture $work/old.gguf" "$pth $work/out.txt" "$pth $work/none/out.gguf" \
  "--layout llama $LINNET_MODEL $work/old.gguf" "--layout llama $pth $work/out.safetensors" \
  "--tensor-type head.weight=Q8_0 $pth $work/out.safetensors"; do
  run 1 convert -q $words
  silent out
  lines err 1
done
run 1 quantize -q "$pth" "$work/out.safetensors" Q8_0
says err "safetensors cannot hold"
(
  ulimit -f 8
  "$linnet" convert -q "$pth" "$work/old.gguf" >"$work/out" 2>"$work/err"
)
equal "a file beyond ulimit -f" $? 1
says err "old.gguf"
equal "the old file" "$(cat "$work/old.gguf")" precious
equal "temporary files" "$(find "$work" -name '*.tmp' | wc -l)" 0

# bench files
run 0 bench files --runs 2 --json "$work/captioner.gguf"
equal "tensors" "$("$json_check" files.tensors <"$work/out")" "$("$linnet" inspect "$LINNET_MODEL" --json | "$json_check" types.F32)"
run 0 bench files --runs 1 "$work/captioner.gguf"
says out "opening it"
mkdir "$work/folder"
cp "$work/rwkv6.safetensors" "$work/folder/model.safetensors"
run 0 bench files --runs 1 "$work/folder"
run 1 bench files "$picture"
cp "$work/captioner.gguf" "$work/shrinking.gguf"
"$linnet" bench files --runs 10000 "$work/shrinking.gguf" >"$work/out" 2>"$work/err" &
sleep 0.3
truncate -s 4096 "$work/shrinking.gguf"
wait $!
equal "a file that is cut short while it is read" $? 1
lines err 1
says err "cut short"
mkfifo "$work/pipe"
for file in "$work/pipe" /dev/zero; do
  run 1 bench files --runs 1 "$file"
  says err "not a regular file"
done
finish
