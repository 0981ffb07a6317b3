#!/usr/bin/env bash
# Searches: texts, pictures, several of them, more of this and less of that, filters, what is written, the engine for
# approximate search where it is built, other models, misuse.
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
"$make_tiny_model" "$work/other.safetensors" 4 pair || exit 1
export LINNET_MODEL=$work/pair.safetensors
one=$pictures/photo_160x213_q92_444.jpg
two=$pictures/gradient_97x61.png
a=$work/a.lidx
mkdir "$work/set"
for name in gray_50x80.png palette_90x60.png rgba_70x66.png tiny_3x5.png gradient_97x61.png photo_160x213_q92_444.jpg; do
  cp "$pictures/$name" "$work/set/"
done
printf '%s\ta grey thing\n' "$work/set/gray_50x80.png" >"$work/list"
find "$work/set" -type f ! -name 'gray_*' | sort >>"$work/list"
run 0 index build "$work/list" -o "$a"

# a text: best first, the caption behind the path
run 0 search "$a" 'a red disc'
lines out 6
silent err
equal "sorted" "$(cut -f1 "$work/out" | sort -rg | paste -sd' ')" "$(cut -f1 "$work/out" | paste -sd' ')"
equal "the caption" "$(grep gray_ "$work/out" | cut -f3)" "a grey thing"
disc=$(cat "$work/out")
run 0 search "$a" 'a red disc' -k 2
equal "-k" "$(cat "$work/out")" "$(echo "$disc" | head -2)"
run 0 search "$a" 'a red disc' --threads 1
equal "--threads" "$(cat "$work/out")" "$disc"
second=$(echo "$disc" | sed -n 2p | cut -f1)
run 0 search "$a" 'a red disc' --threshold "$(awk -v s="$second" 'BEGIN { print s - 0.0002 }')"
equal "--threshold" "$(cat "$work/out")" "$(echo "$disc" | head -2)"
run 0 search "$a" 'a red disc' --threshold 2
silent out

# several: the query comes first, in their order
run 0 search "$a" 'a red disc' 'a cat' -k 2
lines out 4
equal "queries" "$(cut -f1 "$work/out" | uniq | paste -sd,)" "a red disc,a cat"
equal "the first one's" "$(head -2 "$work/out" | cut -f2-)" "$(echo "$disc" | head -2)"
printf 'a red disc\n\n  a cat  \r\n' >"$work/queries"
several=$(cat "$work/out")
run 0 search "$a" --queries "$work/queries" -k 2
equal "--queries" "$(cat "$work/out")" "$several"
"$linnet" search "$a" --queries - -k 2 <"$work/queries" >"$work/out" 2>"$work/err"
equal "from standard input" "$(cat "$work/out")" "$several"
seq -f 'query %g' 1 1500 >"$work/queries"
run 0 search "$a" --queries "$work/queries" -k 1
lines out 1500
equal "the last one alone" "$(tail -1 "$work/out" | cut -f2-)" "$("$linnet" search "$a" 'query 1500' -k 1)"

# pictures: each is its own best
run 0 search "$a" --image "$one" --image "$two" -k 1 --json
equal "two queries" "$("$json_check" --lines 0.path 1.path <"$work/out" | xargs -n1 basename | paste -sd' ')" \
  "$(basename "$one") $(basename "$two")"
equal "their score is 1" "$("$json_check" --lines 0.score <"$work/out" | awk '{ print ($1 > 0.99999 && $1 < 1.00001) }')" 1
run 0 search "$a" 'a cat' --image "$one" -k 1 --json
equal "texts come first" "$("$json_check" --lines 0.query 1.query <"$work/out" | paste -sd' ')" "a cat $one"
equal "what there is" "$("$json_check" --lines 0.rank 1.id 1.caption <"$work/out" | wc -l)" 3
equal "metadata" "$("$json_check" --lines 1.metadata.width 1.metadata.height <"$work/out" | paste -sd' ')" "160 213"

# more and less: cosines of sums of unit vectors, of which the scores of the parts tell
scores() { "$linnet" search "$a" "$@" --json | "$json_check" --lines $(seq -f '%g.path' 0 5) $(seq -f '%g.score' 0 5) | paste -sd' ' |
  awk '{ for (i = 1; i <= 6; i++) print $i, $(i + 6) }' | sort | cut -d' ' -f2; }
run 0 search "$a" 'a cat' --minus 'a dog' --plus 'a house' -k 1 --json
equal "what it is called" "$("$json_check" --lines 0.query <"$work/out")" "a cat + a house - a dog"
paste <(scores 'a cat') <(scores 'a dog') <(scores 'a cat' --minus 'a dog' --weight 0.5) |
  awk '{ r = ($1 - 0.5 * $2) / $3; if (NR == 1) first = r; if (r < first * 0.999 || r > first * 1.001) bad = 1 }
    END { print (NR == 6 && !bad && first > 0) }' >"$work/ratio"
equal "text minus text" "$(cat "$work/ratio")" 1
run 1 search "$a" 'a cat' --minus 'a cat'
says err "no direction"
run 0 search "$a" 'cat' --template 'a red disc {}' --template '{}'
differ "--template" "$(cut -f1 "$work/out" | paste -sd' ')" "$("$linnet" search "$a" cat | cut -f1 | paste -sd' ')"
run 0 search "$a" cat --template 'a {}'
equal "one template" "$(cat "$work/out")" "$("$linnet" search "$a" 'a cat')"

# filters: the rows that are left, in the same order
run 0 search "$a" 'a red disc' --filter 'width >= 90 and not path ~ "PHOTO"'
equal "--filter" "$(cat "$work/out")" "$(echo "$disc" | grep -e palette_90 -e gradient_97)"
run 0 search "$a" 'a red disc' --filter 'caption'
equal "a caption" "$(cat "$work/out")" "$(echo "$disc" | grep gray_)"
run 0 search "$a" 'a red disc' --filter 'width > 1000'
silent out
says err "no row"
run 1 search "$a" 'a red disc' --filter 'width > > 3'
says err "character 9"
run 0 index delete "$a" "$work/set/gray_50x80.png"
run 0 search "$a" 'a red disc'
equal "deleted ones are not found" "$(cat "$work/out")" "$(echo "$disc" | grep -v gray_)"
run 0 search "$a" 'a red disc' --filter 'caption'
silent out

# other types find the same
for type in f16 i8; do
  run 0 index build "$work/list" -o "$work/$type.lidx" --type $type
  run 0 search "$work/$type.lidx" --image "$one" -k 1
  equal "$type" "$(cut -f2 "$work/out")" "$work/set/$(basename "$one")"
done

# a contact sheet: everything in one file
run 0 search "$a" 'a <red> disc' 'a cat' --html "$work/sheet.html"
lines out 10
equal "pictures" "$(grep -c '<img src="data:image/png;base64,' "$work/sheet.html")" 10
equal "headings" "$(grep -c '<h2>a &lt;red&gt; disc</h2>\|<h2>a cat</h2>' "$work/sheet.html")" 2
run 0 search "$a" 'a cat' --filter 'width > 1000' --html "$work/sheet.html"
equal "nothing found" "$(grep -c 'Nothing was found' "$work/sheet.html")" 1
run 1 search "$a" 'a cat' --html "$work/none/sheet.html"

# FAISS, if its module is there; else a sentence
"$linnet" index export "$a" "$work/a.index" --faiss Flat >"$work/out" 2>"$work/err"
if [ -e "$work/a.index" ]; then
  run 0 search "$a" 'a red disc' --approximate "$work/a.index"
  equal "FAISS finds the same" "$(cat "$work/out")" "$(echo "$disc" | grep -v gray_)"
  run 0 search "$a" 'a red disc' --approximate "$work/a.index" --filter 'width >= 90'
  equal "with a filter" "$(cat "$work/out")" "$("$linnet" search "$a" 'a red disc' --filter 'width >= 90')"
  run 0 index delete "$a" "$work/set/tiny_3x5.png"
  run 0 search "$a" 'a red disc' --approximate "$work/a.index"
  equal "without what is deleted" "$(cat "$work/out")" "$(echo "$disc" | grep -v -e gray_ -e tiny_)"
  run 0 index merge "$work/faiss.lidx" "$work/a.index"
  equal "its rows come back" "$("$linnet" index stats --json "$work/faiss.lidx" | "$json_check" rows)" 5
  run 0 search "$work/faiss.lidx" --image "$one" -k 1 --json
  equal "their names" "$("$json_check" --lines 0.path <"$work/out")" \
    "$work/a.index:$("$linnet" search "$a" --image "$one" -k 1 --json | "$json_check" --lines 0.id)"
  run 0 index export "$a" "$work/ivf.index" --faiss IVF1,Flat
  run 0 search "$a" 'a red disc' --approximate "$work/ivf.index" --effort nprobe=1 -k 2
  equal "IVF" "$(cat "$work/out")" "$(echo "$disc" | grep -v -e gray_ -e tiny_ | head -2)"
  run 1 index export "$a" "$work/x.index" --faiss Nonsense7
  run 1 search "$a" 'a red disc' --approximate "$one"
else
  says err "faiss"
  lines err 1
fi

# PostgreSQL with pgvector, if a test has one (a URL); else a sentence
if [ -n "${LINNET_TEST_POSTGRES:-}" ]; then
  case $LINNET_TEST_POSTGRES in *\?*) url="$LINNET_TEST_POSTGRES&table=linnet_test_cli" ;; *) url="$LINNET_TEST_POSTGRES?table=linnet_test_cli" ;; esac
  run 0 index export "$a" "$url" --json
  equal "exported" "$("$json_check" rows <"$work/out")" "$("$linnet" index stats --json "$a" | "$json_check" rows)"
  run 0 search "$url" 'a red disc' --exact
  equal "the server finds the same" "$(cat "$work/out")" "$("$linnet" search "$a" 'a red disc')"
  run 0 search "$url" 'a red disc' 'a cat' -k 2 --effort 100
  equal "by its HNSW index" "$(cat "$work/out")" "$("$linnet" search "$a" 'a red disc' 'a cat' -k 2)"
  run 0 search "$url" 'a red disc' --filter 'width >= 90 and path ~ "GRADIENT"'
  equal "with a filter" "$(cut -f2 "$work/out")" "$work/set/gradient_97x61.png"
  run 0 search "$url" 'a red disc' --filter '{"width": 97}' --html "$work/sheet.html"
  equal "with the server's" "$(cut -f2 "$work/out")" "$work/set/gradient_97x61.png"
  run 1 search "$url" 'a red disc' --model "$work/other.safetensors"
  says err "is another model"
  run 1 search "$url" 'a red disc' --effort efSearch=64
else
  echo "no PostgreSQL: LINNET_TEST_POSTGRES is not set"
  run 1 search 'postgres://nobody@127.0.0.1:1/none' 'a red disc'
  lines err 1
  run 1 index export "$a" 'postgres://nobody@127.0.0.1:1/none'
  lines err 1
fi
run 2 search 'postgres://nobody@127.0.0.1:1/none' 'a cat' --approximate "$work/a.index"
run 2 search "$a" 'a cat' --exact
run 2 index export "$a" 'postgres://nobody@127.0.0.1:1/none' --faiss Flat

# what cannot be
run 1 search "$work/none.lidx" 'a cat'
says err "none.lidx"
run 1 search "$one" 'a cat'
lines err 1
run 1 search "$a" 'a cat' --model "$work/other.safetensors"
says err "is another model"
says err "pair.safetensors"
run 1 search "$a" --image "$work/list"
run 1 search "$a" --image "$work/nothing.png"
says err "nothing.png"
run 1 search "$a" 'a cat' --template 'without a place'
: >"$work/empty"
run 1 search "$a" --queries "$work/empty"
says err "nothing to search for"
run 2 search
run 2 search "$a"
run 2 search "$a" --minus 'a cat'
run 2 search "$a" 'a cat' -k 0
run 2 search "$a" 'a cat' --effort nprobe=1
finish
