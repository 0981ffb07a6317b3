#!/usr/bin/env bash
# Every C file of the tree stands as clang-format lays it out (.clang-format). Versions differ in details, so that only
# Debian 12's is asked. Usage: tests/format.sh. Prints each file that differs; exit 0 none, 1 some, 77 skipped.
set -u
cd "$(dirname "$0")/.." || exit 1

version=14
tool=
for name in clang-format-$version clang-format; do
  if "$name" --version 2>/dev/null | grep -q "version $version\\."; then
    tool=$name
    break
  fi
done
if [ -z "$tool" ]; then
  echo "skipped: clang-format $version is not installed"
  exit 77
fi

differs() { ! "$tool" --dry-run -Werror "$1" >/dev/null 2>&1; }

# The check checks itself first: it accepts what clang-format wrote, and finds a line that it would not.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cp .clang-format "$work"
printf 'int one(void) { return 1; }\n' >"$work/good.c"
printf 'int one( void )\n{\n    return 1;\n}\n' >"$work/bad.c"
if differs "$work/good.c" || ! differs "$work/bad.c"; then
  echo "self-check: $tool does not tell a good file from a bad one"
  exit 1
fi

bad=0 files=0
while IFS= read -r -d '' file; do
  files=$((files + 1))
  if differs "$file"; then
    echo "$file: not formatted: run $tool -i $file"
    bad=1
  fi
done < <(find kernels weights data lm vision fusion train apps tests linnet.h linnet.c -name '*.[ch]' -type f -print0 | sort -z)
[ "$files" -gt 0 ] || { echo "no files found"; exit 1; }
exit $bad
