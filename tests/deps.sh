#!/usr/bin/env bash
# Every package of scripts/deps stands in the README's table with the same reason, and no other.
set -euo pipefail
cd "$(dirname "$0")/.."
want=$(scripts/deps --list | sed -E 's/^([a-z]+) +([^ ]+) +(.*)$/| \1 | `\2` | \3 |/')
have=$(grep -E '^\| [a-z]+ \| `' README.md)
if [ "$want" != "$have" ]; then
  echo "README.md's table of dependencies is not scripts/deps's:"
  diff <(echo "$want") <(echo "$have") || true
  exit 1
fi
