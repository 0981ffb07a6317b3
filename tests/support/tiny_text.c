#include "tests/support/tiny_text.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

char *tiny_bytes_vocabulary(const char *const *words, int n) {
  enum { MOST = 64 };
  char bytes[256];
  vocabulary_entry entry[256 + MOST];
  assert_in_range(n, 0, MOST);
  for (int i = 0; i < 256; i++) {
    bytes[i] = (char)i;
    entry[i] = (vocabulary_entry){bytes + i, 1};
  }
  for (int i = 0; i < n; i++) entry[256 + i] = (vocabulary_entry){words[i], strlen(words[i])};
  char *text;
  size_t size;
  if (vocabulary_text(entry, (uint32_t)(256 + n), &text, &size)) fail_msg("%s", last_error());
  return text;
}

char *tiny_text_file(void **state, const char *name, const rwkv_config *k, uint64_t seed, const char *vocabulary) {
  tiny_rwkv m;
  char *path = scratch_path(state, name);
  const char *const own[1][2] = {{TEXT_VOCABULARY, vocabulary}};
  const params_file what = {.type = CHECKPOINT_F32, .n_metadata = vocabulary != NULL, .metadata = own};
  tiny_rwkv_new(&m, k, seed);
  if (params_save(&m.set, path, &what)) fail_msg("%s", last_error());
  tiny_rwkv_free(&m);
  return path;
}

text_model *tiny_text_model(void **state, const rwkv_config *k, uint64_t seed, char *vocabulary) {
  char *path = tiny_text_file(state, "model.safetensors", k, seed, vocabulary);
  text_model *m = text_model_open(path, NULL);
  if (!m) fail_msg("%s", last_error());
  free(vocabulary);
  free(path);
  return m;
}
