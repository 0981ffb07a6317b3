/* Fuzz target: vocabulary files. The first byte chooses whether the input stands alone or follows the 256 single bytes
 * (few mutations would find those); what parses must encode and decode the input exactly and survive being written. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const tokenizer *t, const char *text, size_t n) {
  int32_t *ids = malloc((n + 1) * sizeof *ids);
  char *back, *canonical, *again;
  size_t n_back, n_canonical, n_again, count = tokenizer_encode(t, text, n, ids, n);
  assert(count <= n && tokenizer_decode(t, ids, count, &back, &n_back) == STATUS_OK);
  assert(n_back == n && !memcmp(back, text, n));
  assert(tokenizer_text(t, &canonical, &n_canonical) == STATUS_OK);
  tokenizer *same = tokenizer_parse(canonical, n_canonical, "canonical");
  assert(same && tokenizer_size(same) == tokenizer_size(t));
  assert(tokenizer_text(same, &again, &n_again) == STATUS_OK);
  assert(n_again == n_canonical && !memcmp(again, canonical, n_again));
  tokenizer_free(same);
  free(again);
  free(canonical);
  free(back);
  free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  const size_t room = 256 * 16;
  const bool alone = *data++ & 1;
  size--;
  char *text = malloc(room + size);
  size_t n = 0;
  for (unsigned b = 0; b < 256 && !alone; b++) n += (size_t)snprintf(text + n, room - n, "%u b'\\x%02x' 1\n", b + 1, b);
  memcpy(text + n, data, size);
  tokenizer *t = tokenizer_parse(text, n + size, "fuzz");
  if (t && tokenizer_kind_of(t) == TOKENIZER_KIND_WORLD) check(t, text + n, size); /* alone it may be another kind's */
  tokenizer_free(t);
  free(text);
  return 0;
}
