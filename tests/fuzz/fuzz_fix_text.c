/* Fuzz target: the repairs of a text and CLIP's tokenizer on them. Whatever the bytes are, the repaired text is valid,
 * no longer than is promised, and the ids are of the vocabulary. */
#include <assert.h>
#include <stdlib.h>

#include "data/clip_bpe.h"
#include "data/fix_text.h"
#include "data/mojibake.h"
#include "data/unicode.h"
#include "kernels/utf8.h"
#include "tests/support/clip_skeleton.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_valid(const char *text, size_t n) {
  char *out;
  size_t size;
  assert(mojibake_repair(text, n, &out, &size) == STATUS_OK);
  assert(!out || (utf8_valid(out, size) && size <= n + n / 2));
  free(out);
  assert(fix_text(text, n, &out, &size) == STATUS_OK);
  assert(!out || utf8_valid(out, size));
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static tokenizer *words;
  if (!words) words = tokenizer_parse(CLIP_SKELETON, sizeof CLIP_SKELETON - 1, "skeleton");
  const char *text = (const char *)data;
  char *valid, *clean;
  size_t n, n_clean, count;
  assert(unicode_repair(text, size, &valid, &n) == STATUS_OK);
  check_valid(valid ? valid : text, n);
  free(valid);
  int32_t *ids, row[CLIP_CONTEXT];
  assert(clip_clean(text, size, &clean, &n_clean) == STATUS_OK && utf8_valid(clean, n_clean));
  assert(n_clean <= tokenizer_room(words, size));
  assert(clip_ids(words, CLIP_SPELT_OPENCLIP, text, size, &ids, &count) == STATUS_OK && count <= n_clean);
  for (size_t i = 0; i < count; i++) assert(ids[i] >= 0 && ids[i] <= CLIP_SKELETON_END);
  bool cut;
  assert(clip_context(words, CLIP_SPELT_OPENCLIP, text, size, row, CLIP_CONTEXT, &cut) == STATUS_OK);
  assert(cut == (count > CLIP_CONTEXT - 2) && row[0] == CLIP_SKELETON_START);
  assert(row[cut ? CLIP_CONTEXT - 1 : count + 1] == CLIP_SKELETON_END);
  free(ids);
  free(clean);
  return 0;
}
