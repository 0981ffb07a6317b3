#!/usr/bin/env bash
# Recall from the command line: what it prints, ends early, refuses; and the sweep, which goes on where it was stopped.
source tests/cli/common.sh "$@"
small=(--length 16 --pairs 2 --width 16 --layers 1 --head-size 8 --batch 4 --steps 4 --test 10 --check 5)

run 0 train mqar --help
says out "--pairs"
cp "$work/out" "$work/help"
run 0 help train mqar
equal "help train mqar" "$(cat "$work/out")" "$(cat "$work/help")"
run 2 train mqar extra
run 2 train mqar --version 3
run 2 train mqar --rate nan
run 1 train mqar "${small[@]}" --pairs 5
says err "5 pairs in 16 tokens"
run 1 train mqar "${small[@]}" --head-size 5
says err "head size 5"

run 0 train mqar "${small[@]}" --seed 3 --check-every 2
lines out 1
says out "2 pairs in 16 tokens"
says err "step 2: loss"
run 0 train mqar "${small[@]}" --seed 3 --quiet --json --random-filler --check-every 1 --enough 0
silent err
equal "an early end" "$("$json_check" version seed random_filler most_steps steps test <"$work/out" | paste -sd' ')" \
  "6 3 true 4 1 10"
for version in 4 5 7; do
  run 0 train mqar "${small[@]}" --version $version --json
  equal "version" "$("$json_check" version <"$work/out")" $version
done

# the sweep with a command that says what it was asked for; width 64 does better at the second rate
cat >"$work/linnet" <<'EOF'
#!/usr/bin/env bash
[ "${12}" != 2 ] || [ ! -e "${0%/*}/break" ] || exit 1
accuracy=0.${12}
[ "${10}${14}" != 640.003 ] || accuracy=0.05
[ "$4" != 6 ] || accuracy=0.995
echo "{\"version\":$4,\"length\":$6,\"pairs\":$8,\"width\":${10},\"seed\":${12},\"rate\":${14},\"accuracy\":$accuracy}"
EOF
chmod +x "$work/linnet"
export LINNET=$work/linnet
touch "$work/break"
scripts/mqar 2 "$work/r.jsonl" >/dev/null 2>&1
equal "exit code of a sweep that fails" $? 1
rm "$work/break"
scripts/mqar 2 "$work/r.jsonl" >/dev/null
equal "exit code of the sweep" $? 0
equal "lines of results: two rates for versions 4 and 5 with seed 1, else one" "$(wc -l <"$work/r.jsonl")" 44
equal "runs done once" "$(sort -u "$work/r.jsonl" | wc -l)" 44
equal "the rate of seed 1" "$(grep -c '"version":5,.*"width":64,"seed":[23],"rate":0.01,' "$work/r.jsonl")" 4
equal "nothing left to do" "$(scripts/mqar 2 "$work/r.jsonl")" ""
equal "the table" "$(sed -n 1,3p "$work/r.tsv")" \
  "$(printf 'series\tx\ty\terr\nRWKV-4, 4 pairs in 64\t64\t0.20000\t0.10000\nRWKV-4, 4 pairs in 64\t128\t0.20000\t0.10000')"
equal "its rows" "$(wc -l <"$work/r.tsv")" 13
finish
