#!/usr/bin/env bash
# Scores of text models from the command line: every task, its forms of output, interrupts, and what is refused.
source tests/cli/common.sh "$@"

json() { "$json_check" "$1" <"$work/out"; }

for i in 1 2 3 4 5; do
  echo "{\"text\": \"a red apple number $i to the left of two green pears\", \"source\": \"x\"}"
done >"$work/texts.jsonl"
printf 'a red apple to the left of a dog\nand two cats' >"$work/text.txt"
cat >"$work/lambada.jsonl" <<'END'
{"text": "a red apple and a blue apple"}
{"text": "two dogs to the left of a cat"}
END
cat >"$work/choices.jsonl" <<'END'
{"context": "a red", "choices": ["apple", "to", "left of", "a"], "answer": 0}
{"query": "two ", "choices": ["apples", "a"], "gold": 0}
{"context": "a", "choices": ["dog", "dogs"], "answer": 0}
END

# --- perplexity ------------------------------------------------------------------------------------------------------
run 0 eval lm -d "$work/texts.jsonl"
says out "documents                     5"
says out "perplexity"
says out "bits a byte"
says out "+/-"
silent err
run 0 eval lm -d "$work/texts.jsonl" --json --quiet
tokens=$(json tokens)
equal "documents" "$(json documents)" 5
equal "bytes" "$(json bytes)" 255
equal "words" "$(json words)" 60
whole=$(json perplexity.value)
differ "an error" "$(json perplexity.error)" null
run 0 eval lm -d "$work/texts.jsonl" --json --batch 1
equal "tokens, one at a time" "$(json tokens)" "$tokens"
equal "perplexity, one at a time" "$(json perplexity.value | cut -c1-6)" "$(printf %s "$whole" | cut -c1-6)"
run 0 eval lm -d "$work/texts.jsonl" --json --threads 1
equal "perplexity of one thread" "$(json perplexity.value | cut -c1-6)" "$(printf %s "$whole" | cut -c1-6)"
run 0 eval lm -d "$work/texts.jsonl" --json --limit 2
equal "the first two" "$(json documents)" 2
run 0 eval lm -d "$work/texts.jsonl" --json --stream
equal "a stream's tokens" "$(json tokens)" $((tokens + 4))
equal "a stream has no other" "$(json bits_per_byte.error)" null
run 0 eval lm -d "$work/texts.jsonl" --json --context 8
equal "windows" "$(json tokens)" $(((tokens + 4) / 8 * 3))
equal "windows are not texts" "$(json bits_per_byte.value)" null
run 0 eval lm -d "$work/texts.jsonl" --json --prefix newline
differ "another prefix" "$(json perplexity.value)" "$whole"
run 0 eval lm -d "$work/text.txt"
says out "documents                     1"
"$linnet" eval lm -d - <"$work/text.txt" >"$work/other" 2>"$work/err"
equal "standard input" "$(cat "$work/other")" "$(cat "$work/out")"

# --- questions -------------------------------------------------------------------------------------------------------
run 0 eval lm --task lambada -d "$work/lambada.jsonl"
says out "passages                      2"
says out "accuracy %"
run 0 eval lm --task lambada -d "$work/lambada.jsonl" --json
equal "task" "$(json task)" lambada
equal "passages" "$(json questions)" 2
run 0 eval lm --task multiple-choice -d "$work/choices.jsonl"
says out "by bytes %"
run 0 eval lm --task multiple-choice -d "$work/choices.jsonl" --json --batch 3
equal "choices" "$(json questions) $(json choices)" "3 8"
run 0 eval lm --task multiple-choice -d "$work/choices.jsonl" --no-space

# --- loss against position -------------------------------------------------------------------------------------------
run 0 eval lm --task position-loss -d "$work/texts.jsonl"
says out "5 texts, $tokens tokens"
run 0 eval lm --task position-loss --join --positions 16 -d "$work/texts.jsonl" --json
equal "rows" "$(json rows)" $(((tokens + 4 + 15) / 16))
equal "the last bucket" "$(json buckets.4.from) $(json buckets.4.to)" "16 31"
run 0 eval lm --task position-loss --tsv -d "$work/texts.jsonl"
equal "names" "$(head -n 1 "$work/out")" "$(printf 'series\tx\ty\terr')"
equal "the first point" "$(sed -n 2p "$work/out" | cut -f 1,2)" "$(printf 'model.safetensors\t1')"
run 0 eval lm --task position-loss --tsv --name "a b" -d "$work/texts.jsonl"
equal "a name" "$(sed -n 2p "$work/out" | cut -f 1)" "a b"

# --- misuse ----------------------------------------------------------------------------------------------------------
run 0 eval lm --help
says out "--task"
cp "$work/out" "$work/help"
run 0 help eval lm
equal "help eval lm" "$(cat "$work/out")" "$(cat "$work/help")"
run 0 help eval
says out "eval lm"
run 2 eval
says err "lm"
run 2 eval lm extra
run 2 eval lm --task nothing
says err "nothing"
run 2 eval lm --prefix x
run 2 eval lm --context 8 --stream
run 2 eval lm --context 2
run 2 eval lm --tsv
says err "--tsv does not belong to --task perplexity"
run 2 eval lm --task lambada --join
run 2 eval lm --task position-loss --tsv --json
LINNET_MODEL=$work/none run 1 eval lm
says err "none"

# --- bad input: one sentence, exit code 1, nothing on stdout ---------------------------------------------------------
refused() { # WORD TASK FILE ARGUMENT...
  local word=$1 task=$2 file=$3
  shift 3
  run 1 eval lm --task "$task" -d "$file" "$@"
  says err "$word"
  says err "${file##*/}"
  lines err 1
  silent out
}
refused none perplexity "$work/none"
refused "" perplexity "$work"
refused "not JSON" lambada "$work/text.txt"
: >"$work/empty"
for task in perplexity lambada multiple-choice position-loss; do refused "there is no" $task "$work/empty"; done
printf '{"text": "a b"}\n{"text": "a \377"}\n' >"$work/bad.jsonl"
for task in perplexity lambada; do refused "line 2" $task "$work/bad.jsonl"; done
printf '{"text": "a b\0"}\n' >"$work/bad.jsonl"
refused "line 1" perplexity "$work/bad.jsonl"
head -c 3000000 /dev/zero | tr '\0' '[' >"$work/bad.jsonl"
for task in perplexity lambada multiple-choice; do refused "line 1" $task "$work/bad.jsonl"; done
for bad in '"choices": ["a", "b"], "answer": 2' '"choices": ["a", "b"], "answer": -1' '"choices": ["a", "b"]' \
  '"choices": ["a", "b"], "answer": 99999999999999999999' '"choices": [], "answer": 0' '"choices": ["a", ""], "answer": 0' \
  '"answer": 0'; do
  printf '{"context": "x", "choices": ["a", "b"], "answer": 1}\n{"context": "x", %s}\n' "$bad" >"$work/bad.jsonl"
  refused "line 2" multiple-choice "$work/bad.jsonl"
done
refused "less than a window" perplexity "$work/text.txt" --context 500
run 1 eval lm -m "$work/none" -d "$work/text.txt"
lines err 1
# bytes of any kind are a text
head -c 5000 "$pictures/gradient_97x61.png" >"$work/any"
run 0 eval lm -d "$work/any"

# --- interrupts ------------------------------------------------------------------------------------------------------
head -c 1000000 /dev/zero | tr '\0' a >"$work/long.txt"
"$linnet" eval lm -d "$work/long.txt" --batch 1 >"$work/out" 2>"$work/err" &
process=$!
sleep 1
kill -INT $process
wait $process
equal "exit code after a signal" $? 130
silent out
says err "there is no result"
finish
