#!/usr/bin/env bash
# Damaged and foreign models: one sentence that names the file, exit code 1, nothing on stdout.
source tests/cli/common.sh "$@"
picture=$pictures/gradient_97x61.png
size=$(stat -c %s "$LINNET_MODEL")
header=$(od -An -tu8 -N8 "$LINNET_MODEL" | tr -d ' ')

# refused FILE
refused() {
  run 1 caption -m "$1" "$picture"
  silent out
  lines err 1
  says err "${1##*/}"
}

for part in 0 1 7 8 9 100 $((header / 2)) $((8 + header - 1)) $((8 + header)) $((8 + header + 1)) $((size / 2)) \
  $((size - 4)) $((size - 1)); do
  head -c "$part" "$LINNET_MODEL" >"$work/cut-$part"
  refused "$work/cut-$part"
  run 1 inspect "$work/cut-$part"
done
cp "$LINNET_MODEL" "$work/longer"
echo more >>"$work/longer"
refused "$work/longer"

# a NaN in the last value (f32, little-endian), an infinity in the first
cp "$LINNET_MODEL" "$work/nan"
printf '\x00\x00\xc0\x7f' | dd of="$work/nan" bs=1 seek=$((size - 4)) conv=notrunc status=none
refused "$work/nan"
says err "nan"
cp "$LINNET_MODEL" "$work/infinity"
printf '\x00\x00\x80\x7f' | dd of="$work/infinity" bs=1 seek=$((8 + header)) conv=notrunc status=none
refused "$work/infinity"

# a header that asks for more than the file has
{ printf '\xff\xff\xff\xff\xff\xff\xff\x7f' && tail -c +9 "$LINNET_MODEL"; } >"$work/giant"
refused "$work/giant"
# metadata and shapes that do not fit together; the header keeps its length
for change in 's/"linnet.image_size":"32"/"linnet.image_size":"-2"/' 's/"linnet.image_size":"32"/"linnet.image_size":"9x"/' \
  's/"linnet.image_grid":"2"/"linnet.image_grid":"9"/' 's/"visualrwkv"/"visualsomei"/' 's/bidirection/sidewaysing/' \
  's/proj.weight/prox.weight/' 's/rwkv.emb.weight/rwkv.emX.weight/'; do
  sed "$change" "$LINNET_MODEL" >"$work/changed"
  cmp -s "$work/changed" "$LINNET_MODEL" && problem "sed $change changed nothing"
  refused "$work/changed"
done

# files of other kinds
echo "a text" >"$work/text"
for file in "$picture" "$work/text" "$pictures/io.safetensors"; do refused "$file"; done
refused "$work/none"
says err "No such file"
mkdir "$work/folder"
run 1 caption -m "$work/folder" "$picture"
says err "model.safetensors"
run 1 inspect "$picture"
run 1 inspect "$work/text"
run 1 bench caption --runs 1 -m "$work/nan"
run 1 eval caption -m "$work/nan"
LINNET_MODEL=$work/none run 1 caption "$picture"
says err "$work/none"

# tensors that are no captioner can be looked at, PyTorch's too; what is left of a cut archive cannot
pth=tests/goldens/rwkv6/tiny-fp32/model.pth
refused "$pth"
run 0 inspect --tensors "$pth"
says out "blocks.0.att.time_maa_x"
says out "pth"
head -c 200000 "$pth" >"$work/cut.pth"
run 1 inspect "$work/cut.pth"
says err "cut short"
run 0 inspect --tensors "$pictures/io.safetensors"
says out "unknown"
run 0 inspect --tensors "$LINNET_MODEL"
says out "visualrwkv"
says out "language model"
says out "rwkv.emb.weight"
run 0 inspect --tensors --json "$LINNET_MODEL"
equal "sizes" "$("$json_check" system "sizes.language model.width" sizes.picture.size types.F32 <"$work/out" | paste -sd' ')" \
  "visualrwkv 32 32 $(grep -c '"dtype"' "$work/out")"
finish
