/* Fuzz target: tokenizer.json. The first byte chooses whether the input is the whole file, or four parts with '\n'
 * between them: entries of the vocabulary, merges, added tokens, which are put into a file that is sound without them
 * (few mutations would find its 256 bytes), and a text. What parses must encode the text to ids that it has, decode
 * them to a text in normal form that is the input's, and survive being written. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"
#include "data/unicode.h"
#include "tests/support/bpe_skeleton.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* `plain`: there are no added tokens. They may be written otherwise than in their normal form, and then decode so. */
static void check(const tokenizer *t, const char *text, size_t n, bool plain) {
  int32_t *ids, *again;
  size_t count, n_back, n_again, n_normal;
  char *back, *normal;
  assert(tokenizer_ids(t, text, n, &ids, &count) == STATUS_OK && count <= tokenizer_room(t, n));
  for (size_t i = 0; i < count; i++) assert(ids[i] >= 0 && (uint32_t)ids[i] < tokenizer_size(t));
  assert(tokenizer_decode(t, ids, count, &back, &n_back) == STATUS_OK);
  if (plain && utf8_valid(text, n)) {
    assert(unicode_nfc(text, n, &normal, &n_normal) == STATUS_OK);
    assert(n_back == n_normal && !memcmp(back, normal ? normal : text, n_back));
    free(normal);
  }
  if (plain) {
    assert(utf8_valid(back, n_back) && tokenizer_ids(t, back, n_back, &again, &n_again) == STATUS_OK);
    assert(n_again == count && !memcmp(again, ids, count * sizeof *ids));
    free(again);
  }
  free(back);
  free(ids);
}

static void check_text(const tokenizer *t) {
  char *canonical, *again;
  size_t n_canonical, n_again;
  assert(tokenizer_text(t, &canonical, &n_canonical) == STATUS_OK);
  tokenizer *same = tokenizer_parse(canonical, n_canonical, "canonical");
  assert(same && tokenizer_size(same) == tokenizer_size(t));
  assert(tokenizer_text(same, &again, &n_again) == STATUS_OK);
  assert(n_again == n_canonical && !memcmp(again, canonical, n_again));
  tokenizer_free(same);
  free(again);
  free(canonical);
}

/* Cuts the input at its first three newlines; returns the length of the last part. */
static size_t cut(char *input, size_t n, char *part[4]) {
  part[0] = input;
  for (int i = 1; i < 4; i++) {
    char *newline = memchr(part[i - 1], '\n', (size_t)(input + n - part[i - 1]));
    part[i] = newline ? newline + 1 : input + n;
    if (newline) *newline = '\0';
  }
  return (size_t)(input + n - part[3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  char *input = malloc(size), *json = malloc(BPE_SKELETON_ROOM + size), *part[4];
  const bool whole = *data & 1;
  size_t n = size - 1;
  memcpy(input, data + 1, n);
  input[n] = '\0';
  if (whole && n) *input = '{'; /* what begins otherwise is another kind's */
  const size_t n_text = whole ? 0 : cut(input, n, part);
  if (whole) {
    memcpy(json, input, n);
  } else {
    n = bpe_skeleton(part[0], part[1], part[2], json);
  }
  tokenizer *t = n ? tokenizer_parse(json, n, "fuzz") : NULL;
  if (t) {
    static const char some[] = "ab  a's 12\n<|endoftext|> \xc3\xa9";
    check(t, whole ? some : part[3], whole ? sizeof some : n_text, !whole && !*part[2]);
    check_text(t);
  }
  tokenizer_free(t);
  free(json);
  free(input);
  return 0;
}
