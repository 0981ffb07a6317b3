#!/usr/bin/env bash
# Damaged pictures: one sentence names the file and the cause, the others are captioned, the exit code is 1.
source tests/cli/common.sh "$@"
good=$pictures/gradient_97x61.png
bad=$work/bad
mkdir "$bad"

size=$(stat -c %s "$good")
for part in 8 20 33 $((size / 2)) $((size - 20)); do head -c "$part" "$good" >"$bad/cut-$part.png"; done
head -c 2000 "$pictures/photo_160x213_q92_444.jpg" >"$bad/cut-header.jpg"
head -c 4 "$pictures/photo_160x213_q92_444.jpg" >"$bad/cut-4.jpg"
: >"$bad/empty.png"
echo "this is a text, whatever its name" >"$bad/text.png"
# a PNG header that claims 30000 x 20767 pixels, and one of width 0; the sums are right
printf '\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x75\x30\x00\x00\x51\x1f\x08\x02\x00\x00\x00\x24\x4d\xc5\x81' \
  >"$bad/huge.png"
printf '\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x00\x00\x00\x00\x05\x08\x02\x00\x00\x00\xe4\x24\x7a\xf6' \
  >"$bad/zero.png"
for file in huge zero; do printf '\x00\x00\x00\x00IDAT\x35\xaf\x06\x1e' >>"$bad/$file.png"; done
printf 'P6\n0 5\n255\n' >"$bad/zero.ppm"
printf 'P6\n100000 100000\n255\nabc' >"$bad/huge.ppm"
mkdir "$bad/folder.png"

for file in "$bad"/*; do
  run 1 caption "$file"
  silent out
  says err "${file##*/}"
  lines err 1
  run 1 caption "$file" "$good"
  lines out 1
  says out "$good"
done
run 1 caption "$bad/huge.png"
says err "30000 x 20767"
run 1 caption "$bad/empty.png"
says err "empty"
run 1 caption "$bad/none.png"
says err "No such file"
run 1 caption - # standard input is empty
says err "standard input"
run 1 caption ""

if [ "$(id -u)" -ne 0 ]; then
  cp "$good" "$bad/secret.png"
  chmod 0 "$bad/secret.png"
  run 1 caption "$bad/secret.png"
  says err "secret.png: cannot open"
  mkdir -m 0 "$work/closed"
  run 1 caption "$work/closed"
  lines err 1
  says err "closed: cannot read"
fi

# small and odd ones are no mistake
printf 'P6\n6 2\n255\n0123456789abcdef0123456789abcdefABCD' >"$work/six.ppm"
printf 'P5\n1 300\n255\n' >"$work/thin.pgm"
head -c 300 /dev/zero >>"$work/thin.pgm"
run 0 caption "$work/six.ppm" "$work/thin.pgm"
lines out 2

# a folder of all of them, in JSON: each has captions or an error
cp "$good" "$bad/zz-good.png"
ln -s nowhere "$bad/link"
run 1 caption --json "$bad"
says out "link: cannot open"
"$json_check" "" <"$work/out" >"$work/count" || problem "no JSON"
n=$(($(cut -d' ' -f2 "$work/count") - 1))
equal "the good one has its caption" "$("$json_check" "$n.captions" <"$work/out")" "array 1"
equal "the first names its mistake" "$("$json_check" 0.error <"$work/out" | grep -c "${bad##*/}/cut-")" 1
run 1 caption "$bad"
lines out 1
finish
