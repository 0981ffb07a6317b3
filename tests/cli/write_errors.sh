#!/usr/bin/env bash
# Results that cannot be written are a failure, not a silence.
source tests/cli/common.sh "$@"
picture=$pictures/gradient_97x61.png

# unwritten ARGUMENT...: exit code 1 and a sentence when the disk is full, the stream closed, the reader gone
unwritten() {
  "$linnet" "$@" >/dev/full 2>"$work/err"
  equal "linnet $* on a full disk" $? 1
  says err "could not be written"
  "$linnet" "$@" >&- 2>"$work/err"
  equal "linnet $* on a closed stream" $? 1
  says err "could not be written"
  # the reader is gone before anything is written
  mkfifo "$work/pipe"
  exec 3<>"$work/pipe" 4>"$work/pipe" 3<&-
  "$linnet" "$@" >&4 2>"$work/err"
  equal "linnet $* into a closed pipe" $? 1
  says err "could not be written"
  exec 4>&-
  rm "$work/pipe"
}
unwritten --version
unwritten help
unwritten help caption
unwritten devices
unwritten caption "$picture"
unwritten caption "$picture" "$picture"
unwritten caption --json "$picture"
unwritten caption --jsonl "$picture"
unwritten inspect "$LINNET_MODEL"
unwritten inspect --tensors --json "$LINNET_MODEL"
unwritten inspect --stats --verify "$LINNET_MODEL"
unwritten convert -q "$LINNET_MODEL" "$work/copy.gguf"
unwritten bench caption --runs 1
# a closed standard input or stderr is no reason to write into the wrong file
run 0 caption "$picture"
"$linnet" caption "$picture" <&- 2>&- >"$work/again"
equal "without stdin and stderr" "$(cat "$work/again")" "$(cat "$work/out")"
"$linnet" caption - <&- >"$work/out" 2>"$work/err"
equal "closed standard input" $? 1
says err "standard input"
finish
