#!/usr/bin/env bash
# scripts/plot draws every series of a table, whatever its name is, and refuses what is no table. Skipped without gnuplot.
set -u
command -v gnuplot >/dev/null || exit 77
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
problem() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

printf 'series\tx\ty\terr\n' >"$work/table.tsv"
for i in 1 2 4 8; do printf 'RWKV_6 "small"\t%s\t0.%s\t0.01\n$(date) `x`\t%s\t0.5\tnan\n' $i $i $i; done >>"$work/table.tsv"
for options in "" position-loss mqar "--points --log y" "--log xy --y-range 0.1:" "--y-range :3 --x tokens"; do
  # shellcheck disable=SC2086
  scripts/plot $options "$work/table.tsv" || problem "exit code of '$options'"
  for text in "<svg" "RWKV_6 small" "\$(date) \`x\`"; do
    grep -qF -e "$text" "$work/table.svg" || problem "'$options' draws no '$text'"
  done
done
grep -qF tokens "$work/table.svg" || problem "no label"
scripts/plot --title "a title" "$work/table.tsv" - | grep -qF "a title" || problem "no title on standard output"
scripts/plot "$work/table.tsv" "$work/other.svg" || problem "a picture's name"
[ -s "$work/other.svg" ] || problem "a picture elsewhere"

# refused CODE WORD ARGUMENT...
refused() {
  local code=$1 word=$2
  shift 2
  rm -f "$work/bad.svg"
  scripts/plot "$@" 2>"$work/err"
  [ $? -eq "$code" ] || problem "exit code of '$*'"
  grep -qF -e "$word" "$work/err" || problem "'$*' does not say '$word'"
  [ ! -e "$work/bad.svg" ] || problem "'$*' left a picture"
}
refused 2 "expected a table"
refused 2 "--colour" --colour red "$work/table.tsv"
refused 2 "--log" --log z "$work/table.tsv"
refused 2 "--y-range" --y-range '0:1]; !ls' "$work/table.tsv"
refused 2 "needs a value" --title
refused 1 "none" "$work/none"
printf 'series\tx\ty\terr\na\t1\t2\n' >"$work/bad.tsv"
refused 1 "line 2" "$work/bad.tsv"
printf 'series\tx\ty\terr\na\t1\tsystem("ls")\t0\n' >"$work/bad.tsv"
refused 1 "line 2" "$work/bad.tsv"
printf 'a\t1\t2\t0\n' >"$work/bad.tsv"
refused 1 "line 1" "$work/bad.tsv"
printf 'series\tx\ty\terr\n' >"$work/bad.tsv"
refused 1 "nothing to draw" "$work/bad.tsv"
[ $failures -eq 0 ] && echo "passed"
