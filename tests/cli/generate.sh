#!/usr/bin/env bash
# Text that goes on: every way in, draws by seed, stop texts, saved texts, many prompts, interrupts, and what is refused.
source tests/cli/common.sh "$@"
goldens=$PWD/tests/goldens

json() { "$json_check" "$1" <"$work/out"; }

# --- ways in ---------------------------------------------------------------------------------------------------------
run 0 generate -p "A red apple" -n 12
silent err
plain=$(cat "$work/out")
differ "an empty text" "$plain" ""
run 0 generate --prompt "A red apple" --n-predict 12 --threads 1
equal "one thread" "$(cat "$work/out")" "$plain"
printf 'A red apple' >"$work/prompt"
run 0 generate -f "$work/prompt" -n 12
equal "from a file" "$(cat "$work/out")" "$plain"
for way in "" "-f -"; do
  # shellcheck disable=SC2086
  "$linnet" generate $way -n 12 <"$work/prompt" >"$work/out" 2>"$work/err"
  equal "standard input, $way" "$(cat "$work/out")" "$plain"
done
run 0 generate -p "A red apple" -n 12 --json
equal "tokens" "$(json tokens) $(json finish)" "12 length"
run 0 generate -n 12 --json # nothing on standard input
equal "no prompt" "$(json prompt_tokens)" 0
run 0 generate -p x -n 0
silent out
run 0 generate -p x -n 0 --json
equal "no text" "$(json text)" ""

# any bytes are a prompt, and the text is UTF-8 (json_check reads no other)
printf '\0\377\376a\0\355\240\200' >"$work/bytes"
run 0 generate -f "$work/bytes" -n 40 --temp 1 --top-p 1 --json
differ "tokens of any bytes" "$(json prompt_tokens)" 0
head -c 5000 "$pictures/gradient_97x61.png" >"$work/bytes"
run 0 generate -f "$work/bytes" -n 2

# a long prompt is read in pieces, which nothing shows
for i in $(seq 1 4000); do echo "$i red apples and $((i * 7 % 13)) dogs on a table"; done >"$work/long"
run 0 generate -p "$(cat "$work/long" | head -c 100000)x" -n 12 --json
cp "$work/out" "$work/whole"
printf '%sx' "$(head -c 100000 "$work/long")" >"$work/prompt"
run 0 generate -f "$work/prompt" -n 12 --json
equal "a long file" "$(cat "$work/out")" "$(cat "$work/whole")"
(head -c 1000 "$work/prompt"; sleep 0.2; tail -c +1001 "$work/prompt") | "$linnet" generate -n 12 --json >"$work/out"
equal "a long pipe" "$(cat "$work/out")" "$(cat "$work/whole")"

# --- draws -----------------------------------------------------------------------------------------------------------
draws() { run 0 generate -p "A red apple" -n 24 --json "$@" && json text; }
equal "the same seed" "$(draws --seed 5)" "$(draws --seed 5)"
differ "another seed" "$(draws --seed 5)" "$(draws --seed 6)"
greedy=$(draws --temp 0)
differ "a greedy text" "$greedy" ""
equal "greedy knows no seed" "$(draws --temp 0 --seed 6)" "$greedy"
equal "the likeliest of one" "$(draws --top-k 1)" "$greedy"
equal "the narrowest top-p" "$(draws --top-p 0.000001)" "$greedy"
differ "without penalties" "$(draws --temp 0 --presence-penalty 0 --frequency-penalty 0)" \
  "$(draws --temp 0 --presence-penalty 100)"
equal "decay of no counts" "$(draws --temp 0 --frequency-penalty 0 --penalty-decay 0.5)" \
  "$(draws --temp 0 --frequency-penalty 0)"

equal "the narrowest min-p" "$(draws --min-p 1)" "$greedy"
equal "no min-p" "$(draws --seed 5 --min-p 0)" "$(draws --seed 5)"
differ "all but the rarest" "$(draws --seed 5 --top-p 1 --temp 3)" "$(draws --seed 5 --top-p 1 --temp 3 --min-p 0.5)"
bias() { run 0 generate -p x -n 3 --temp 0 --presence-penalty 0 --frequency-penalty 0 --json "$@" && json text; }
equal "a favoured token" "$(bias --logit-bias 98+1000)" aaa # a vocabulary begins with the bytes
equal "a forbidden one" "$(bias --logit-bias 98+1000 --logit-bias 99+900.5 --logit-bias=98-inf)" bbb
equal "a disfavoured one" "$(bias --logit-bias 98+1000 --logit-bias 99+1000 --logit-bias 98-1e3)" bbb
for wrong in 98 +1 98+ 98+x 98+inf 98-nan -1+2 98++1 1e3+1 99999999999+1 "98+1 "; do
  run 2 generate -p x --logit-bias "$wrong"
  says err "--logit-bias"
done
run 1 generate -p x --logit-bias 281+1
says err "token 281"
lines err 1
run 2 generate -p x --min-p 1.5

# --- ends ------------------------------------------------------------------------------------------------------------
said() { run 0 generate -p x -n 200 --temp 0 --presence-penalty -100 --json "$@"; } # one token for ever
said
token=$(json text | cut -c1-1)
said --stop "never said" --stop "$token$token$token"
equal "finish" "$(json finish)" stop
equal "nothing of the stop text" "$(json text)" ""

# --- saved texts -----------------------------------------------------------------------------------------------------
whole=$(draws --seed 5)
run 0 generate -p "A red apple" -n 9 --seed 5 --state-save "$work/a.state" --json
first=$(json text)
run 0 generate -n 15 --seed 5 --state-load "$work/a.state" --json
equal "continued" "$(json prompt_tokens)" 0
case "$whole" in
"$first"*) ;;
*) problem "'$whole' does not begin with '$first'" ;;
esac
run 0 generate -p "A red apple" -n 0 --state-save "$work/b.state"
run 0 generate -n 24 --seed 5 --state-load "$work/b.state" --json
equal "after a prompt that was saved" "$(json text)" "$whole"
cp "$work/b.state" "$work/kept"
run 0 generate --state-load "$work/b.state" -p " and" -n 3
equal "a loaded file stays" "$(cmp "$work/kept" "$work/b.state" && echo same)" same
"$make_tiny_model" "$work/other.safetensors" 2
run 1 generate -m "$work/other.safetensors" --state-load "$work/a.state" -n 3
says err "another model"
silent out
head -c 100 "$work/a.state" >"$work/cut.state"
for bad in "$work/cut.state" "$work/prompt" "$work/none" "$work"; do
  run 1 generate --state-load "$bad" -n 3
  says err "$bad"
  silent out
  lines err 1
done
run 1 generate -p x -n 1 --state-save "$work/none/a.state"
lines err 1

# --- many prompts ----------------------------------------------------------------------------------------------------
cat >"$work/many.jsonl" <<'EOF'
"A red apple"
{"prompt": "two dogs", "seed": 7, "id": [1]}

""
{"prompt": "A red apple"}
  "a \u00e9\u0000 zero"
"two dogs on a blue table and three green cars and a cat and a red apple"
EOF
alone() { run 0 generate -n 9 --seed 3 --json "$@" && echo "$(json text) $(json tokens) $(json prompt_tokens) $(json finish)"; }
{
  alone -p "A red apple"
  alone -p "two dogs" --seed 7
  alone
  alone -p "A red apple"
  printf 'a \303\251\0 zero' >"$work/zero"
  alone -f "$work/zero"
  alone -p "two dogs on a blue table and three green cars and a cat and a red apple"
} >"$work/want"
for batch in 1 2 8; do
  run 0 generate --prompts "$work/many.jsonl" --batch-size $batch -n 9 --seed 3
  silent err
  lines out 6
  for i in 0 1 2 3 4 5; do
    "$json_check" --lines $i.text $i.tokens $i.prompt_tokens $i.finish <"$work/out" | paste -sd ' '
  done >"$work/found"
  equal "$batch at a time" "$(cat "$work/found")" "$(cat "$work/want")"
  equal "the prompt" "$("$json_check" --lines 1.prompt <"$work/out")" "two dogs"
done
cp "$work/out" "$work/kept"
"$linnet" generate --prompts - -n 9 --seed 3 <"$work/many.jsonl" >"$work/out"
equal "from standard input" "$(cat "$work/out")" "$(cat "$work/kept")"
run 0 generate --prompts "$work/many.jsonl" -n 9 --state-load "$work/b.state" --seed 3
alone --state-load "$work/b.state" -p "two dogs" --seed 7 >"$work/want"
run 0 generate --prompts "$work/many.jsonl" -n 9 --state-load "$work/b.state" --seed 3
equal "after a saved text" "$("$json_check" --lines 1.text <"$work/out")" "$(cut -d ' ' -f 1 "$work/want")"
run 0 generate --prompts /dev/null
silent out
for bad in '["a"]' '{"prompt": 3}' '{"text": "a"}' 'a red apple' '{"prompt": "a", "seed": -1}' '{"prompt": "a", "seed": "b"}' '"a' '7'; do
  printf '"good"\n\n%s\n' "$bad" >"$work/bad.jsonl"
  run 1 generate --prompts "$work/bad.jsonl"
  says err "bad.jsonl: line 3"
  silent out
  lines err 1
done
run 1 generate --prompts "$work/none"
run 2 generate --prompts "$work/many.jsonl" -p x
run 2 generate --prompts "$work/many.jsonl" -f "$work/prompt"
run 2 generate --prompts "$work/many.jsonl" --state-save "$work/c.state"
run 2 generate --prompts "$work/many.jsonl" --batch-size 0

# --- other models ----------------------------------------------------------------------------------------------------
awk 'BEGIN { for (i = 0; i < 256; i++) printf "%d b\047\\x%02x\047 1\n", i + 1, i }' >"$work/bytes.txt"
run 0 generate --vocab "$work/bytes.txt" -p "A red apple" -n 2 --json
equal "a token a byte" "$(json prompt_tokens)" 11
for model in "$goldens"/rwkv[4567]/*fp32/model.pth; do
  run 1 generate -m "$model" -p hello
  says err "--vocab"
  run 1 generate -m "$model" --vocab "$work/bytes.txt" -p hello
  says err "257 tokens"
  says err "256"
  lines err 1
done
run 1 generate -m "$goldens/vrwkv6/none.pth" -p x
run 1 generate -m "$pictures/gradient_97x61.png" -p x
lines err 1
run 1 generate --vocab "$work/none" -p x
says err "$work/none"
LINNET_MODEL=$work/none run 1 generate -p x
says err "none"

# --- interrupts: what was said stands, and is saved ------------------------------------------------------------------
# interrupt FILE ARGUMENT...: sends SIGINT when FILE has something in it; exit code in $code
interrupt() {
  local file=$1 pid
  shift
  : >"$work/out"
  "$linnet" generate "$@" >"$work/out" 2>"$work/err" </dev/null &
  pid=$!
  while [ ! -s "$file" ] && kill -0 "$pid" 2>"$work/kill"; do sleep 0.05; done
  kill -INT "$pid"
  wait "$pid"
  code=$?
}
rm -f "$work/a.state"
interrupt "$work/out" -p x -n -1 --temp 0 --presence-penalty -100 --state-save "$work/a.state"
equal "exit code" "$code" 130
silent err
equal "the last line ends" "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" '\n'
run 0 generate --state-load "$work/a.state" -n 2
mkfifo "$work/pipe" # and while the prompt is read, nothing is
"$linnet" generate --state-save "$work/d.state" <"$work/pipe" >"$work/out" 2>"$work/err" &
reader=$!
exec 3>"$work/pipe"
head -c 200000 "$work/long" >&3 # more than a pipe holds: it reads already
kill -INT "$reader"
wait "$reader"
equal "exit code" "$?" 130
exec 3>&-
says err "interrupted while the prompt was read"
silent out
[ ! -e "$work/d.state" ] || problem "half a prompt was saved"
for i in $(seq 1 500); do echo '"A red apple"'; done >"$work/many.jsonl"
interrupt "$work/out" --prompts "$work/many.jsonl" -n 3000 --batch-size 1 --logit-bias 0-inf
equal "exit code" "$code" 130
silent err
said=$("$json_check" --lines 0.tokens <"$work/out")
equal "the first text is whole" "$said" 3000
[ "$(wc -l <"$work/out")" -lt 500 ] || problem "all was done before the interrupt"
finish
