#!/usr/bin/env bash
# Help of every verb begins with an example; every misuse has exit code 2, a sentence and a hint, and nothing on stdout.
source tests/cli/common.sh "$@"

run 0 --version
says out "linnet "
run 0 --help
for verb in $(sed -n 's/^  \([a-z]*\)  .* .*/\1/p' "$work/out"); do
  verbs="${verbs:-} $verb"
  run 0 help "$verb"
  equal "example of $verb" "$(sed -n 3p "$work/out" | cut -c1-$((9 + ${#verb})))" "  linnet $verb"
  silent err
  cp "$work/out" "$work/help"
  run 0 "$verb" --help
  equal "help $verb and $verb --help" "$(cat "$work/out")" "$(cat "$work/help")"
done
equal "the verbs" "$verbs" " caption classify embed index search generate chat inspect convert quantize train eval bench devices help"
run 0 devices
for name in cpu: blas: threads:; do says out "$name"; done
OMP_NUM_THREADS=3 run 0 devices
says out "threads: 3 of"

# misuse HINT ARGUMENT...: exit code 2, the hint
misuse() {
  local hint=$1
  shift
  run 2 "$@"
  says err "linnet: "
  says err "Try: linnet help$hint"
  silent out
}
run 2
says err "Usage"
misuse "" frobnicate
misuse "" help frobnicate
misuse "" ""
misuse " help" help caption inspect
misuse " caption" caption
misuse " caption" caption --no-such-flag x.png
misuse " caption" caption -Z x.png
misuse " caption" caption x.png -qZ
says err "no option -Z"
misuse " caption" caption --jso=yes x.png
misuse " caption" caption x.png --recursive=yes
says err "recursive takes no value"
misuse " caption" caption --help=yes
misuse " caption" caption x.png --num
says err "--num needs a value"
misuse " caption" caption x.png -m
misuse " caption" caption --model "" x.png
misuse " caption" caption --json --jsonl x.png
misuse " caption" caption - -
for bad in 0 -1 257 x 1x 1.5 "" " 1" 99999999999999999999 nan; do misuse " caption" caption --num "$bad" x.png; done
for bad in -0.1 nan NaN inf 101 1e9999 x 1x "" " 1"; do misuse " caption" caption --temp "$bad" x.png; done
for bad in 0 -1 1.01 nan inf; do misuse " caption" caption --top-p "$bad" x.png; done
for bad in -1 18446744073709551616 x " 1" ""; do misuse " caption" caption --seed "$bad" x.png; done
misuse " caption" caption --max-tokens 0 x.png
misuse " caption" caption --beam 0 x.png
misuse " caption" caption --threads 1025 x.png
misuse " generate" generate "a prompt"
misuse " generate" generate -p a -f b
for bad in -2 x 1.5 ""; do misuse " generate" generate -p a -n "$bad"; done
for bad in -0.1 nan inf 101; do misuse " generate" generate -p a --temp "$bad"; done
for bad in 0 1.01 nan; do misuse " generate" generate -p a --top-p "$bad"; done
for bad in -1 x; do misuse " generate" generate -p a --top-k "$bad"; done
for bad in 1.01 -0.1 nan; do misuse " generate" generate -p a --penalty-decay "$bad"; done
misuse " generate" generate -p a --stop ""
misuse " generate" generate -p a $(printf -- '--stop x %.0s' $(seq 33))
says err "more than 32"
misuse " inspect" inspect
misuse " inspect" inspect a b
misuse " train" train
misuse " train" train dog
misuse " train" train caption extra
misuse " train" train caption --out "$work/o" --steps 0
misuse " train" train caption --out "$work/o" --rate nan
misuse " train" train caption --out "$work/o" --resume --init x
misuse " eval" eval
misuse " eval" eval dog
misuse " eval" eval caption --set moon
misuse " eval" eval caption --set "scenes,"
misuse " eval" eval caption --limit -1
misuse " bench" bench caption a b
misuse " bench" bench moon
misuse " bench" bench training x.png
misuse " devices" devices x
finish
