#!/usr/bin/env bash
# The contact sheet as a browser sees it: every thumbnail is there and is a picture, text is text, nothing is fetched.
chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
  echo "SKIPPED: there is no Chromium to open the contact sheet with (scripts/deps browser)"
  exit 77
}
source tests/cli/common.sh "$@"
"$make_tiny_model" "$work/pair.safetensors" 3 pair || exit 1
export LINNET_MODEL=$work/pair.safetensors

# names and captions that would break a page that took them for HTML
odd="$work/set/<b onclick='x'>&\"quoted\" 100%.png"
mkdir -p "$work/set/deep"
cp "$pictures/rgba_70x66.png" "$odd"
printf 'a <script>document.title="broken"</script> & \303\244 "caption" \377\n' >"${odd%.png}.txt"
cp "$pictures/photo_160x213_q92_444.jpg" "$pictures/palette_90x60.png" "$pictures/gray16_40x56.png" \
  "$pictures/tiny_3x5.png" "$work/set/"
cp "$pictures/gradient_97x61.png" "$work/set/deep/gone.png"
printf 'a text that is found like a picture <i>\n' >"$work/texts"
run 0 index build "$work/set" --text "$work/texts" -o "$work/a.lidx"
rm "$work/set/deep/gone.png"
run 0 search "$work/a.lidx" 'a <red> car' 'a boat & "sea"' -k 20 --html "$work/sheet.html"
equal "nothing else is left" "$(find "$work" -name '*.tmp' | wc -l)" 0

# What the browser knows once the page is loaded, written into the page by a script of the test's own. It has no way to
# a network: what is not in the file is missing.
sed 's|</body>||; s|</html>||' "$work/sheet.html" >"$work/asked.html"
cat >>"$work/asked.html" <<'END'
<pre id="answer"></pre>
<script>
addEventListener("load", () => {
  const images = [...document.querySelectorAll("img")];
  document.getElementById("answer").textContent = [
    "images " + images.length,
    "seen " + images.filter(i => i.complete && i.naturalWidth > 0 && i.naturalHeight > 0).length,
    "longest " + Math.max(...images.map(i => Math.max(i.naturalWidth, i.naturalHeight))),
    "inside " + images.filter(i => i.src.startsWith("data:image/png;base64,")).length,
    "figures " + document.querySelectorAll("figure").length,
    "headings " + [...document.querySelectorAll("h2")].map(h => h.textContent).join("|"),
    "scripts " + document.querySelectorAll("script").length,
    "title " + document.title,
    "links " + [...document.querySelectorAll("a")].filter(a => a.href.startsWith("file:///")).length,
    "odd " + [...document.querySelectorAll("a")].filter(a => decodeURIComponent(new URL(a.href).pathname).endsWith(
      "<b onclick='x'>&\"quoted\" 100%.png")).length,
    "captions " + [...document.querySelectorAll(".said")].filter(c => c.textContent.includes(
      'a <script>document.title="broken"<' + '/script> & \u00e4 "caption" \ufffd')).length,
    "fetched " + performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length,
  ].map(line => "answer: " + line).join("\n");
});
</script></body></html>
END
HOME=$work timeout 120 "$chromium" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
  --proxy-server=127.0.0.1:9 --dump-dom "file://$work/asked.html" >"$work/dom" 2>"$work/chromium.err"
# ask NAME: what the browser said
ask() { sed -n "s/.*answer: $1 //p" "$work/dom" | sed 's|</pre>.*||' | head -1; }
if [ -z "$(ask images)" ]; then
  problem "Chromium did not answer"
  tail -5 "$work/chromium.err"
fi
equal "pictures" "$(ask images)" 12
equal "pictures that are seen" "$(ask seen)" 12
equal "the longest side" "$(ask longest)" 160
equal "pictures in the file" "$(ask inside)" 12
equal "results, texts among them" "$(ask figures)" 14
equal "headings" "$(ask headings)" 'a &lt;red&gt; car|a boat &amp; "sea"'
equal "no script but the test's" "$(ask scripts)" 1
equal "the title" "$(ask title)" "$work/a.lidx"
equal "links to files" "$(ask links)" 10
equal "a link with odd characters" "$(ask odd)" 2
equal "captions" "$(ask captions)" 2
equal "nothing is fetched" "$(ask fetched)" 0
finish
