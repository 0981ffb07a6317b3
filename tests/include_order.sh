#!/usr/bin/env bash
# Holds every #include of the tree to the one-way order of the house:
#   apps -> linnet -> train -> fusion -> lm, vision -> data, weights -> kernels
# A file may include its own folder and those further right; lm and vision, data and weights stand side by side and do not
# include each other; tests may include anything. Quoted includes are written from the root.
# Usage: tests/include_order.sh [ROOT]. Prints each violation as file:line: reason; exit 0 none, 1 some, 2 misused.
set -u

# check ROOT: the includes of the tree under ROOT
check() {
  local folders=()
  for folder in apps train fusion lm vision data weights kernels; do
    [ -d "$1/$folder" ] && folders+=("$folder")
  done
  (
    cd "$1" || exit 2
    find "${folders[@]}" linnet.h linnet.c -type f \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \
      -o -name '*.inc' \) -print0 2>/dev/null | sort -z | xargs -0 -r awk '
      BEGIN {
        n = split("kernels=1 data=2 weights=2 lm=3 vision=3 fusion=4 train=5 linnet=6 apps=7", pairs, " ")
        for (i = 1; i <= n; i++) { split(pairs[i], p, "="); rank[p[1]] = p[2] }
      }
      # the room that a path lies in: its first folder, or linnet for the two files at the root
      function room(path) {
        if (path == "linnet.h" || path == "linnet.c") return "linnet"
        return index(path, "/") ? substr(path, 1, index(path, "/") - 1) : ""
      }
      /^[ \t]*#[ \t]*include[ \t]*["<]/ {
        target = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target)
        quoted = substr(target, 1, 1) == "\""
        target = substr(target, 2)
        sub(/[">].*/, "", target)
        from = room(FILENAME); to = room(target); why = ""
        if (!(to in rank)) {
          if (quoted) why = (to == "tests") ? "only tests include tests" : "not written from the root"
        } else if (!quoted) why = "a header of ours between angle brackets"
        else if (target ~ /(^|\/)\.\.?(\/|$)/) why = "not written from the root"
        else if (from != to && rank[to] >= rank[from]) why = from " must not include " to
        if (why != "") { printf "%s:%d: %s: %s\n", FILENAME, FNR, target, why; bad = 1 }
      }
      END { exit bad }' || exit 1
  )
}

# The check checks itself first: a tree without fault passes, and each planted fault is found where it is.
self_check() {
  local tree file text expected found
  tree=$(mktemp -d) || return 1
  trap 'rm -rf "$tree"' RETURN
  mkdir -p "$tree"/{apps,train,fusion,lm,vision,data,weights,kernels/cpu,tests/unit}
  printf '#include <stdio.h>\n#include "linnet.h"\n#include "train/t.h"\n' >"$tree/apps/a.c"
  printf '#include "apps/a.h"\n#include "kernels/k.h"\n#include "odd.h"\n' >"$tree/tests/unit/t.c"
  printf '#include "train/t.h"\n#include "lm/l.h"\n' >"$tree/linnet.c"
  printf '#include "lm/l.h"\n#include "vision/v.h"\n#include "data/d.h"\n' >"$tree/fusion/f.c"
  printf '#include "kernels/k.h"\n' | tee "$tree/data/d.c" "$tree/weights/w.h" "$tree/kernels/cpu/k.c" >"$tree/lm/l.h"
  if ! found=$(check "$tree") || [ -n "$found" ]; then
    printf 'self-check: a tree without fault is refused:\n%s\n' "$found"
    return 1
  fi
  while read -r file text; do
    printf '/* head */\n%s\n' "$text" >"$tree/$file"
    expected="$file:2: "
    found=$(check "$tree")
    if [ $? -ne 1 ] || [ "${found#"$expected"}" = "$found" ] || [ "$(printf '%s\n' "$found" | wc -l)" -ne 1 ]; then
      printf 'self-check: "%s" in %s is not found, or not alone: %s\n' "$text" "$file" "$found"
      return 1
    fi
    rm "$tree/$file"
  done <<'FAULTS'
kernels/x.c #include "weights/checkpoint.h"
kernels/cpu/x.cu #include "data/image.h"
data/x.c #include "weights/checkpoint.h"
weights/x.h #include "data/image.h"
weights/x.c   #  include "lm/rwkv6.h"
lm/x.c #include "vision/vit.h"
vision/x.c #include "lm/rwkv6.h"
lm/x.h #include "fusion/clip.h"
fusion/x.c #include "train/loop.h"
train/x.c #include "linnet.h"
train/x.cuh #include "apps/main.h"
linnet.h #include "apps/main.h"
lm/y.c #include "tests/support/golden.h"
lm/y.c #include "rwkv6.h"
lm/y.c #include "../vision/vit.h"
lm/y.c #include "data/../vision/vit.h"
lm/y.c #include <vision/vit.h>
FAULTS
}

[ $# -le 1 ] || { echo "usage: $0 [ROOT]" >&2; exit 2; }
root=${1:-$(dirname "$0")/..}
[ -d "$root/kernels" ] || { echo "$0: $root is not the root of the source tree" >&2; exit 2; }
self_check || exit 1
check "$root"
