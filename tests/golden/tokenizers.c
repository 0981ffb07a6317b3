/* The World tokenizer on the published vocabulary: bytes to ids and back. Spec language-models 6.1. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/golden/vocabulary.h"

static const golden_rule rules[] = {{NULL, GIVEN, 0, 0, NULL}};

tokenizer *golden_world(golden_case *k) {
  static const char file[] = "rwkv_vocab_v20230424.txt";
  char path[4200];
  snprintf(path, sizeof path, "../shared/vocab/%s", file);
  if (access(path, R_OK)) snprintf(path, sizeof path, "%s/%s", golden_path(k, "../../../vocab"), file);
  if (access(path, R_OK)) {
    golden_skip(k, "needs the World vocabulary at ../shared/vocab/%s", file);
    return NULL;
  }
  tokenizer *t = tokenizer_open(path);
  if (!t) golden_error(k);
  return t;
}

/* Bytes from hexadecimal digits; NULL if they are none. */
static uint8_t *from_hex(const char *hex, size_t *n) {
  *n = strlen(hex) / 2;
  uint8_t *bytes = mem_alloc(*n, 1);
  for (size_t i = 0; bytes && i < *n; i++) {
    unsigned value;
    if (sscanf(hex + 2 * i, "%2x", &value) != 1) {
      free(bytes);
      return NULL;
    }
    bytes[i] = (uint8_t)value;
  }
  return bytes;
}

/* NULL if both directions are right. */
static const char *fault_of(const tokenizer *t, const json_t *entry) {
  const char *hex = json_string_value(json_object_get(entry, "hex"));
  const json_t *want = json_object_get(entry, "ids");
  size_t n, n_want = json_array_size(want), n_back = 0;
  uint8_t *bytes = hex && json_is_array(want) ? from_hex(hex, &n) : NULL;
  if (!bytes) return "the entry cannot be read";
  int32_t *ids = mem_alloc(n + n_want + 1, sizeof *ids);
  char *back = NULL;
  const char *fault = NULL;
  bool same = ids && tokenizer_encode(t, (const char *)bytes, n, ids, n) == n_want;
  for (size_t i = 0; same && i < n_want; i++) same = json_integer_value(json_array_get(want, i)) == ids[i];
  if (!same) fault = "other ids";
  for (size_t i = 0; ids && i < n_want; i++) ids[i] = (int32_t)json_integer_value(json_array_get(want, i));
  if (!fault && (tokenizer_decode(t, ids, n_want, &back, &n_back) || n_back != n || memcmp(back, bytes, n)))
    fault = "the ids do not give the bytes back";
  free(back), free(ids), free(bytes);
  return fault;
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  if (golden_mentions(k, "MIDI") || golden_mentions(k, "NeoX")) {
    golden_refuse(k, "this tokenizer is not built yet");
    return;
  }
  tokenizer *t = golden_world(k);
  if (!t) return;
  json_error_t error;
  json_t *cases = json_load_file(golden_path(k, "cases.json"), JSON_ALLOW_NUL, &error), *entry;
  size_t i;
  if (!json_array_size(cases))
    golden_check(k, false, "cases.json cannot be read: %s", cases ? "it is empty" : error.text);
  json_array_foreach(cases, i, entry) {
    const char *fault = fault_of(t, entry);
    golden_check(k, !fault, "cases.json: text %zu%s%s", i, fault ? ": " : "", fault ? fault : "");
  }
  json_decref(cases);
  tokenizer_free(t);
}

const golden_system golden_tokenizers = {"tokenizers", {NULL, NULL}, run};
