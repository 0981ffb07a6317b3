/* The tokenizers of text models on published vocabularies: texts to ids and back. Spec language-models 6. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/unicode.h"
#include "tests/golden/vocabulary.h"

static const golden_rule rules[] = {{NULL, GIVEN, 0, 0, NULL}};

tokenizer *golden_vocabulary(golden_case *k, const char *file) {
  char path[4200];
  snprintf(path, sizeof path, "../shared/vocab/%s", file);
  if (access(path, R_OK)) snprintf(path, sizeof path, "%s/%s", golden_path(k, "../../../vocab"), file);
  if (access(path, R_OK)) {
    golden_skip(k, "needs the vocabulary ../shared/vocab/%s", file);
    return NULL;
  }
  tokenizer *t = tokenizer_open(path);
  if (!t) golden_error(k);
  return t;
}

tokenizer *golden_world(golden_case *k) { return golden_vocabulary(k, "rwkv_vocab_v20230424.txt"); }

static tokenizer *open_case(golden_case *k) {
  if (golden_mentions(k, "NeoX")) return golden_vocabulary(k, "20B_tokenizer.json");
  if (!golden_mentions(k, "MIDI")) return golden_world(k);
  tokenizer *t = tokenizer_open(TOKENIZER_MIDI);
  if (!t) golden_error(k);
  return t;
}

/* The bytes of an entry: of its hexadecimal digits, or of its text. NULL if it has neither. */
static char *bytes_of(const json_t *entry, size_t *n) {
  const char *hex = json_string_value(json_object_get(entry, "hex"));
  const json_t *text = json_object_get(entry, "text");
  *n = hex ? strlen(hex) / 2 : json_string_length(text);
  if (!hex && !json_is_string(text)) return NULL;
  char *bytes = mem_alloc(*n + 1, 1);
  if (!bytes) return NULL;
  if (!hex) memcpy(bytes, json_string_value(text), *n);
  for (size_t i = 0; hex && i < *n; i++) {
    unsigned value;
    if (sscanf(hex + 2 * i, "%2x", &value) != 1) return free(bytes), NULL;
    bytes[i] = (char)value;
  }
  return bytes;
}

/* What n_ids ids decode to must be: for World the bytes; for byte BPE their normal form; for MIDI, which does not keep
 * blanks, capitals and unknown words, a text that gives the same ids. */
static bool gives_back(const tokenizer *t, const int32_t *ids, size_t n_ids, const char *bytes, size_t n) {
  char *back = NULL, *normal = NULL;
  int32_t *again = NULL;
  size_t n_back = 0, n_again = 0;
  bool same = tokenizer_decode(t, ids, n_ids, &back, &n_back) == STATUS_OK;
  if (same && tokenizer_kind_of(t) == TOKENIZER_KIND_MIDI) {
    same = tokenizer_ids(t, back, n_back, &again, &n_again) == STATUS_OK && n_again == n_ids;
    for (size_t i = 0; same && i < n_ids; i++) same = again[i] == ids[i];
  } else if (same) {
    if (tokenizer_kind_of(t) == TOKENIZER_KIND_BPE) same = unicode_nfc(bytes, n, &normal, &n) == STATUS_OK;
    same = same && n_back == n && !memcmp(back, normal ? normal : bytes, n);
  }
  free(back), free(normal), free(again);
  return same;
}

/* NULL if both directions are right. */
static const char *fault_of(const tokenizer *t, const json_t *entry) {
  const json_t *want = json_object_get(entry, "ids");
  size_t n, n_ids = 0;
  char *bytes = json_is_array(want) ? bytes_of(entry, &n) : NULL;
  if (!bytes) return "the entry cannot be read";
  int32_t *ids = NULL;
  const char *fault = NULL;
  bool same = tokenizer_ids(t, bytes, n, &ids, &n_ids) == STATUS_OK && n_ids == json_array_size(want);
  for (size_t i = 0; same && i < n_ids; i++) same = json_integer_value(json_array_get(want, i)) == ids[i];
  if (!same) {
    fault = "other ids";
  } else if (!gives_back(t, ids, n_ids, bytes, n)) {
    fault = "the ids do not give the text back";
  }
  free(ids), free(bytes);
  return fault;
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  tokenizer *t = open_case(k);
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

const golden_system golden_tokenizers = {"tokenizers", run};
