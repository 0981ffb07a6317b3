# What the tests of the command share. Each is called in the source tree, with the paths of linnet, make_tiny_model,
# make_tiny_objects, json_check and example_caption; `source` this, check, end with `finish`.
set -u
linnet=$(realpath "$1") make_tiny_model=$(realpath "$2") make_tiny_objects=$(realpath "$3") json_check=$(realpath "$4")
example=$(realpath "$5")
pictures=$PWD/tests/goldens/clip-preprocess/public
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LINNET_MODEL=$work/model.safetensors OMP_NUM_THREADS=2
failures=0 checks=0
"$make_tiny_model" "$LINNET_MODEL" 1 || exit 1

problem() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# run CODE ARGUMENT...: runs the command, keeps what it writes in $work/out and $work/err, checks the exit code
run() {
  local code=$1 found
  shift
  "$linnet" "$@" >"$work/out" 2>"$work/err" </dev/null
  found=$?
  checks=$((checks + 1))
  [ "$found" -eq "$code" ] && return
  problem "linnet $*: exit code $found, expected $code"
  head -c 600 "$work/err"
}

# says FILE WORD: $work/out or $work/err holds the word
says() {
  checks=$((checks + 1))
  grep -qF -e "$2" "$work/$1" && return
  problem "std$1 does not say '$2':"
  head -c 600 "$work/$1"
}

silent() {
  checks=$((checks + 1))
  [ -s "$work/$1" ] || return
  problem "std$1 should be empty:"
  head -c 600 "$work/$1"
}

# lines FILE COUNT
lines() {
  local found
  found=$(wc -l <"$work/$1")
  checks=$((checks + 1))
  [ "$found" -eq "$2" ] || problem "std$1 has $found lines, expected $2"
}

# equal WHAT ONE OTHER
equal() {
  checks=$((checks + 1))
  [ "$2" = "$3" ] || problem "$1: '$2' is not '$3'"
}

differ() {
  checks=$((checks + 1))
  [ "$2" != "$3" ] || problem "$1: both are '$2'"
}

finish() {
  echo "$checks checks, $failures failed"
  [ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
  exit
}
