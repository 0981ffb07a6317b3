#!/usr/bin/env bash
# Conversations: the format, lines of any kind, saved conversations, interrupts, and what is refused.
source tests/cli/common.sh "$@"

# talk CODE INPUT ARGUMENT...: INPUT is for printf
talk() {
  local code=$1 input=$2 found
  shift 2
  # shellcheck disable=SC2059
  printf "$input" | "$linnet" chat "$@" >"$work/out" 2>"$work/err"
  found=${PIPESTATUS[1]}
  checks=$((checks + 1))
  [ "$found" -eq "$code" ] || problem "chat $*: exit code $found, expected $code: $(head -c 300 "$work/err")"
}
json() { "$json_check" --lines "$1" <"$work/out"; }

# --- the format ------------------------------------------------------------------------------------------------------
# generate draws the same from the words of the format
same="--temp 1 --top-p 0.3 --presence-penalty 0.5 --frequency-penalty 0.5 --penalty-decay 0.996 -n 20"
talk 0 'a red apple\n' --json -n 20
text=$(json 0.text) tokens=$(json 0.tokens) asked=$(json 0.prompt_tokens)
# shellcheck disable=SC2086
run 0 generate $same --json --stop $'\n\n' -p $'User: a red apple\n\nAssistant:'
equal "the prompt" "$asked" "$("$json_check" prompt_tokens <"$work/out")"
equal "the tokens" "$tokens" "$("$json_check" tokens <"$work/out")"
equal "the reply" "$text" "$("$json_check" text <"$work/out" | sed '1s/^ *//')"
talk 0 'a red apple\n' --system 'two dogs' -n 20 --json
text=$(json 0.text)
# shellcheck disable=SC2086
run 0 generate $same --json --stop $'\n\n' -p $'System: two dogs\n\nUser: a red apple\n\nAssistant:'
equal "a system text" "$text" "$("$json_check" text <"$work/out" | sed '1s/^ *//')"

# --- lines -----------------------------------------------------------------------------------------------------------
talk 0 'a red apple\ntwo dogs\nthree green cars' -n 20 --json
silent err
lines out 3
three=$(cat "$work/out")
talk 0 '\n  a red apple \r\n\n \t\ntwo dogs\r\n\r\nthree green cars\n\n' -n 20 --json
equal "blanks and blank lines" "$(cat "$work/out")" "$three"
talk 0 'a red apple\n' -n 20 --temp 0 --logit-bias 98+1000 --presence-penalty 0 --frequency-penalty 0
equal "a reply is a line" "$(cat "$work/out")" aaaaaaaaaaaaaaaaaaaa
lines out 1
talk 0 '' --json
silent out
silent err
talk 0 '\0\377\376a\0\355\240\200\n\0\n' -n 20 --json --top-p 1
lines out 2
differ "any bytes" "$(json 0.text)" ""
head -c 17000000 /dev/zero | tr '\0' a | "$linnet" chat >"$work/out" 2>"$work/err"
equal "an endless line" "${PIPESTATUS[2]}" 1
says err "standard input: line 1 is longer than"
lines err 1
silent out
talk 0 'x\n' --logit-bias 1+1000 --json # the byte 0, for ever
equal "bounded" "$(json 0.tokens)" 1024
talk 0 'x\n' --logit-bias 0+1000 --json
equal "ended" "$(json 0.finish) $(json 0.tokens)" "end 0"

# --- saved conversations ---------------------------------------------------------------------------------------------
talk 0 'a red apple\n' -n 20 --json --state-save "$work/a.state"
equal "the first turn" "$(cat "$work/out")" "$(sed -n 1p <<<"$three")"
talk 0 'two dogs\nthree green cars\n' -n 20 --json --state-load "$work/a.state" --state-save "$work/a.state"
equal "the others" "$(cat "$work/out")" "$(sed -n 2,3p <<<"$three")"
talk 0 'x\n' --state-load "$work/a.state" -n 3
talk 0 '' --system 'two dogs' --state-save "$work/b.state"
talk 0 'a red apple\n' -n 20 --json --state-load "$work/b.state"
equal "a saved beginning" "$(json 0.text)" "$text"
talk 1 'x\n' --state-load "$work/a.state" --system 'two dogs'
says err "beginning"
silent out
lines err 1
"$make_tiny_model" "$work/other.safetensors" 2
talk 1 'x\n' -m "$work/other.safetensors" --state-load "$work/a.state"
says err "another model"
silent out
talk 1 'x\n' --state-load "$work/none"
talk 1 'x\n' --state-save "$work/none/a.state" -n 3
lines err 1

# --- misuse and other models -----------------------------------------------------------------------------------------
run 2 chat hello
LINNET_MODEL=$work/none run 1 chat
says err "none"
awk 'BEGIN { for (i = 0; i < 300; i++) printf "%d b\047%s\\x%02x\047 %d\n", i + 1, i < 256 ? "" : "z", i % 256, 1 + (i > 255) }' >"$work/large.txt"
talk 1 'x\n' --vocab "$work/large.txt"
says err "301 tokens"
says err "281"
run 1 chat -m "$pictures/gradient_97x61.png"
lines err 1

# --- interrupts ------------------------------------------------------------------------------------------------------
# interrupt FILE ARGUMENT...: talks with standard input left open, sends SIGINT when FILE has something in it
interrupt() {
  local file=$1 pid
  shift
  : >"$work/out"
  rm -f "$work/pipe"
  mkfifo "$work/pipe"
  "$linnet" chat "$@" >"$work/out" 2>"$work/err" <"$work/pipe" &
  pid=$!
  exec 3>"$work/pipe"
  echo "a red apple" >&3
  while [ ! -s "$file" ] && kill -0 "$pid" 2>"$work/kill"; do sleep 0.05; done
  [ "$file" = "$work/out" ] && sleep 0.2
  kill -INT "$pid"
  wait "$pid"
  code=$?
  exec 3>&-
}
interrupt "$work/out" -n -1 --logit-bias 0-inf --logit-bias 98+1000 --presence-penalty -100 --state-save "$work/c.state"
equal "while it speaks" "$code" 130
silent err
equal "the last line ends" "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" '\n'
talk 0 'x\n' --state-load "$work/c.state" -n 2
interrupt "$work/out" -n 3 --logit-bias 98+1000 --state-save "$work/d.state"
equal "while it listens" "$code" 130
lines out 1
talk 0 'two dogs\n' --state-load "$work/d.state" -n 2
finish
