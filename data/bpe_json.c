/* Byte-level BPE from and to Hugging Face's tokenizer.json. See bpe.h and spec language-models 6.2.
 *
 * Strict: a file that asks for anything else than the steps of bpe.h is refused by the name of what it asks for; but
 * one whose words end in "</w>" is CLIP's (data/clip_bpe.h). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "data/bpe.h"
#include "data/byte_map.h"
#include "data/clip_bpe.h"
#include "data/unicode.h"

#define MOST_BRACKETS ((size_t)1 << 20) /* each costs a hundred times its own memory */

/* -- Reading: what the file asks for ------------------------------------------------------------------------------- */

/* A missing field and null are the same. */
static const json_t *field(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  return json_is_null(value) ? NULL : value;
}

/* The stage must be of the one type that can be done; an optional one may be missing. */
static status check_stage(const json_t *root, const char *stage, const char *type, bool optional) {
  const json_t *object = field(root, stage);
  if (!object && optional) return STATUS_OK;
  const char *found = json_string_value(json_object_get(object, "type"));
  if (!found) return fail(STATUS_UNSUPPORTED, "it has no %s, and only %s can be done", stage, type);
  if (strcmp(found, type) == 0) return STATUS_OK;
  return fail(STATUS_UNSUPPORTED, "its %s is %.40s, and only %s can be done", stage, found, type);
}

static status check_pipeline(const json_t *root) {
  status code = check_stage(root, "model", "BPE", false);
  if (!code) code = check_stage(root, "normalizer", "NFC", false);
  if (!code) code = check_stage(root, "pre_tokenizer", "ByteLevel", false);
  if (!code) code = check_stage(root, "post_processor", "ByteLevel", true);
  if (!code) code = check_stage(root, "decoder", "ByteLevel", false);
  if (code) return code;
  const json_t *split = json_object_get(root, "pre_tokenizer");
  if (!json_is_false(json_object_get(split, "add_prefix_space")))
    return fail(STATUS_UNSUPPORTED, "its pre_tokenizer does not say that add_prefix_space is false");
  if (field(split, "use_regex") && !json_is_true(json_object_get(split, "use_regex")))
    return fail(STATUS_UNSUPPORTED, "its pre_tokenizer does not split by GPT-2's pattern (use_regex)");
  static const char *const refused[] = {"truncation", "padding"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
    if (field(root, refused[i])) return fail(STATUS_UNSUPPORTED, "it asks for %s, which is not done", refused[i]);
  return STATUS_OK;
}

/* Options of the model that change its ids must be off: missing, null, false or "". */
static status check_model(const json_t *model) {
  static const char *const off[] = {
      "dropout",       "unk_token",    "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
      "byte_fallback", "ignore_merges"};
  for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
    const json_t *value = field(model, off[i]);
    if (value && !json_is_false(value) && !(json_is_string(value) && json_string_length(value) == 0))
      return fail(STATUS_UNSUPPORTED, "its model has the option %s, which is not done", off[i]);
  }
  return STATUS_OK;
}

/* -- Reading: tokens ----------------------------------------------------------------------------------------------- */

typedef struct {
  bpe *b;
  byte_map map;
  char *bytes; /* room for any string of the file */
} reader;

/* The tokens of "vocab" in the order of their ids, which are 0 to n - 1. */
static status read_vocabulary(reader *r, json_t *vocab) {
  const size_t n = json_object_size(vocab);
  if (n == 0) return fail(STATUS_FORMAT, "its model has no vocab");
  const char **token = mem_zero(n, sizeof *token), *key;
  if (!token) return STATUS_MEMORY;
  status code = STATUS_OK;
  json_t *value;
  json_object_foreach(vocab, key, value) {
    const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (id < 0 || (size_t)id >= n) {
      code = fail(STATUS_FORMAT, "the id of the token %.40s is not one of 0 to %zu, as there are %zu tokens", key,
                  n - 1, n);
    } else if (token[id]) {
      code = fail(STATUS_FORMAT, "the tokens %.40s and %.40s both have the id %zu", token[id], key, (size_t)id);
    }
    if (code) break;
    token[id] = key;
  }
  for (size_t i = 0; i < n && !code; i++) {
    size_t size;
    uint32_t id;
    if (!byte_map_read(&r->map, token[i], strlen(token[i]), r->bytes, &size) || size == 0) {
      code =
          fail(STATUS_FORMAT, "the token %.40s (id %zu) is not written as a byte-level BPE writes bytes", token[i], i);
    } else {
      code = intern_add(r->b->vocabulary, r->bytes, size, &id); /* other tokens are other bytes: the id is i */
    }
  }
  free(token);
  return code;
}

/* The two parts of a merge: "left right" or ["left", "right"]. */
static bool merge_parts(const json_t *merge, const char *part[2], size_t n[2]) {
  if (json_is_string(merge)) {
    const char *text = json_string_value(merge), *space = strchr(text, ' ');
    if (!space) return false;
    part[0] = text;
    n[0] = (size_t)(space - text);
    part[1] = space + 1;
    n[1] = json_string_length(merge) - n[0] - 1;
    return true;
  }
  for (size_t i = 0; i < 2; i++) {
    const json_t *item = json_array_get(merge, i);
    if (!(part[i] = json_string_value(item))) return false;
    n[i] = json_string_length(item);
  }
  return json_array_size(merge) == 2;
}

static status read_merge(reader *r, const json_t *json, size_t rank) {
  const char *part[2];
  size_t n[2], size[2];
  if (!merge_parts(json, part, n)) return fail(STATUS_FORMAT, "merge %zu is not a pair of tokens", rank);
  uint32_t id[3] = {INTERN_NONE, INTERN_NONE, INTERN_NONE};
  char *second = r->bytes;
  for (int i = 0; i < 2; i++) {
    char *bytes = i ? second : r->bytes;
    if (byte_map_read(&r->map, part[i], n[i], bytes, size + i)) id[i] = intern_find(r->b->vocabulary, bytes, size[i]);
    if (id[i] == INTERN_NONE)
      return fail(STATUS_FORMAT, "merge %zu joins %.*s, which is no token", rank, (int)(n[i] < 40 ? n[i] : 40),
                  part[i]);
    second = r->bytes + size[0];
  }
  id[2] = intern_find(r->b->vocabulary, r->bytes, size[0] + size[1]);
  if (id[2] == INTERN_NONE) return fail(STATUS_FORMAT, "merge %zu makes no token of the vocabulary", rank);
  r->b->merges[rank] = (bpe_merge){(int32_t)id[0], (int32_t)id[1], (int32_t)id[2]};
  return STATUS_OK;
}

static status read_merges(reader *r, const json_t *merges) {
  const size_t n = json_array_size(merges);
  if (!json_is_array(merges)) return fail(STATUS_FORMAT, "its model has no list of merges");
  if (!(r->b->merges = mem_alloc(n, sizeof *r->b->merges))) return STATUS_MEMORY;
  r->b->n_merges = (uint32_t)n; /* no more than the bytes of the file */
  status code = STATUS_OK;
  for (size_t rank = 0; rank < n && !code; rank++) code = read_merge(r, json_array_get(merges, rank), rank);
  return code;
}

/* -- Reading: added tokens ----------------------------------------------------------------------------------------- */

/* Checks an added token and finds its place: contents[id - n_vocabulary], if the vocabulary does not have it. */
static status read_added(const bpe *b, const json_t *json, const json_t **contents, size_t n_added, bpe_added *added) {
  static const char *const off[] = {"single_word", "lstrip", "rstrip"};
  const uint32_t n_vocabulary = intern_count(b->vocabulary);
  const json_t *id = json_object_get(json, "id"), *content = json_object_get(json, "content");
  const json_int_t value = json_integer_value(id);
  const char *text = json_string_value(content);
  if (!text || !*text) return fail(STATUS_FORMAT, "an added token has no content");
  for (size_t i = 0; i < sizeof off / sizeof *off; i++)
    if (!json_is_false(json_object_get(json, off[i])))
      return fail(STATUS_UNSUPPORTED, "the added token %.40s does not say that %s is false", text, off[i]);
  if (!json_is_boolean(json_object_get(json, "normalized")))
    return fail(STATUS_FORMAT, "the added token %.40s does not say whether it is normalized", text);
  if (!json_is_integer(id) || value < 0 || (size_t)value >= n_vocabulary + n_added)
    return fail(STATUS_FORMAT, "the id of the added token %.40s does not follow those of the vocabulary", text);
  *added = (bpe_added){(int32_t)value, json_is_true(json_object_get(json, "normalized"))};
  if ((uint32_t)value < n_vocabulary) {
    size_t n;
    const char *bytes = intern_bytes(b->vocabulary, (uint32_t)value, &n);
    if (n == json_string_length(content) && !memcmp(bytes, text, n)) return STATUS_OK;
    return fail(STATUS_FORMAT, "the added token %.40s has the id of another token, %d", text, (int)value);
  }
  const json_t **place = contents + (value - n_vocabulary);
  if (*place) return fail(STATUS_FORMAT, "two added tokens have the id %d", (int)value);
  *place = content;
  return STATUS_OK;
}

/* The bytes of all tokens: the vocabulary's, then the added ones. */
static status fill_bytes(bpe *b, const json_t *const *contents, uint32_t n_contents) {
  const uint32_t n_vocabulary = intern_count(b->vocabulary), size = n_vocabulary + n_contents;
  size_t total = 0, n;
  for (uint32_t id = 0; id < n_vocabulary; id++) intern_bytes(b->vocabulary, id, &n), total += n;
  for (uint32_t i = 0; i < n_contents; i++) total += json_string_length(contents[i]);
  tokenizer *t = &b->base; /* the total is less than the file: a string is never longer than it is written */
  t->bytes = mem_alloc(total, 1);
  t->start = mem_zero((size_t)size + 1, sizeof *t->start);
  if (!t->bytes || !t->start) return STATUS_MEMORY;
  for (uint32_t id = 0; id < size; id++) {
    const char *bytes;
    if (id < n_vocabulary) {
      bytes = intern_bytes(b->vocabulary, id, &n);
    } else {
      bytes = json_string_value(contents[id - n_vocabulary]);
      n = json_string_length(contents[id - n_vocabulary]);
    }
    memcpy(t->bytes + t->start[id], bytes, n);
    t->start[id + 1] = t->start[id] + (uint32_t)n;
  }
  t->size = size;
  return STATUS_OK;
}

/* The trie of the added tokens that are, or are not, matched on normal text; in that case by their normal forms. */
static trie *make_trie(const bpe *b, bool normal) {
  trie_word *words = mem_zero(b->n_added, sizeof *words);
  char **forms = mem_zero(b->n_added, sizeof *forms);
  uint32_t n = 0;
  status code = words && forms ? STATUS_OK : STATUS_MEMORY;
  for (uint32_t i = 0; i < b->n_added && !code; i++) {
    size_t size;
    const char *bytes = tokenizer_bytes(&b->base, b->added[i].id, &size);
    if (b->added[i].normal != normal) continue;
    if (normal) code = unicode_nfc(bytes, size, forms + n, &size);
    words[n] = (trie_word){forms[n] ? forms[n] : bytes, (uint32_t)size, b->added[i].id};
    n++;
  }
  int32_t equal[2];
  trie *t = NULL;
  if (!code && !trie_sort(words, n, equal)) {
    fail(STATUS_FORMAT, "the added tokens with the ids %d and %d are the same", equal[0], equal[1]);
  } else if (!code) {
    t = trie_new(words, n);
  }
  for (uint32_t i = 0; forms && i < n; i++) free(forms[i]);
  free(forms), free(words);
  return t;
}

static status read_all_added(bpe *b, const json_t *list) {
  const size_t n = json_array_size(list);
  const json_t **contents = mem_zero(n, sizeof *contents);
  b->added = mem_alloc(n, sizeof *b->added);
  status code = contents && b->added ? STATUS_OK : STATUS_MEMORY;
  for (; b->n_added < n && !code; b->n_added++)
    code = read_added(b, json_array_get(list, b->n_added), contents, n, b->added + b->n_added);
  size_t n_contents = 0, last = 0;
  for (size_t i = 0; i < n && !code; i++)
    if (contents[i]) n_contents++, last = i + 1;
  if (!code && n_contents != last) code = fail(STATUS_FORMAT, "the ids of the added tokens have a gap");
  if (!code) code = fill_bytes(b, contents, (uint32_t)n_contents);
  free(contents);
  if (!code && !(b->raw = make_trie(b, false))) code = last_status();
  if (!code && !(b->normal = make_trie(b, true))) code = last_status();
  return code;
}

/* -- The whole file ------------------------------------------------------------------------------------------------ */

/* CLIP's file says of its steps only what its fast reimplementation does: they are those of clip_bpe.h. */
static status read_clip(reader *r, const json_t *model) {
  clip_bpe_make(r->b);
  status code = read_vocabulary(r, json_object_get(model, "vocab"));
  if (!code) code = read_merges(r, json_object_get(model, "merges"));
  return code ? code : clip_bpe_finish(r->b);
}

static status read_root(reader *r, const json_t *root) {
  const json_t *model = json_object_get(root, "model"), *added = field(root, "added_tokens");
  const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
  if (suffix && !strcmp(suffix, CLIP_SUFFIX)) return read_clip(r, model);
  status code = check_pipeline(root);
  if (!code) code = check_model(model);
  if (!code) code = read_vocabulary(r, json_object_get(model, "vocab"));
  if (!code) code = read_merges(r, json_object_get(model, "merges"));
  if (!code) code = bpe_prepare(r->b);
  return code ? code : read_all_added(r->b, added);
}

static status read_json(bpe *b, const char *text, size_t n) {
  size_t brackets = 0;
  for (size_t i = 0; i < n; i++) brackets += text[i] == '{' || text[i] == '[';
  if (brackets > MOST_BRACKETS) return fail(STATUS_FORMAT, "it has %zu brackets, which no tokenizer has", brackets);
  json_error_t error;
  json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
  if (!root) return fail(STATUS_FORMAT, "line %d: %s", error.line, error.text);
  reader r = {b, byte_map_make(), mem_alloc(n, 1)};
  status code = STATUS_MEMORY;
  if (r.bytes && (b->vocabulary = intern_new())) code = read_root(&r, root);
  free(r.bytes);
  json_decref(root);
  return code;
}

void bpe_free(tokenizer *t) {
  bpe *b = (bpe *)t;
  intern_free(b->vocabulary);
  free(b->whole);
  free(b->merges);
  free(b->slots);
  free(b->added);
  trie_free(b->raw);
  trie_free(b->normal);
}

tokenizer *bpe_parse(const char *json, size_t n) {
  static const tokenizer_class class = {TOKENIZER_KIND_BPE, UNICODE_NFC_GROWTH, 0, bpe_encode, bpe_text, bpe_free};
  bpe *b = mem_zero(1, sizeof *b);
  if (!b) return NULL;
  b->base.class = &class;
  b->suffix = "";
  if (read_json(b, json, n) == STATUS_OK) return &b->base;
  tokenizer_free(&b->base);
  return NULL;
}

/* -- Writing ------------------------------------------------------------------------------------------------------- */

static json_t *added_json(const bpe *b) {
  json_t *list = json_array();
  for (uint32_t i = 0; i < b->n_added; i++) {
    size_t n;
    const char *content = tokenizer_bytes(&b->base, b->added[i].id, &n);
    const bool normal = b->added[i].normal;
    json_array_append_new(list, json_pack("{si ss% sb sb sb sb sb}", "id", (int)b->added[i].id, "content", content, n,
                                          "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", normal, "special",
                                          !normal));
  }
  return list;
}

/* `text` has room for two of the longest token and a space. */
static json_t *model_json(const bpe *b, char *text) {
  const byte_map map = byte_map_make();
  json_t *vocab = json_object(), *merges = json_array();
  size_t n, written;
  for (uint32_t id = 0; id < intern_count(b->vocabulary); id++) {
    const char *bytes = intern_bytes(b->vocabulary, id, &n);
    text[byte_map_write(&map, bytes, n, text)] = '\0';
    json_object_set_new(vocab, text, json_integer(id));
  }
  for (uint32_t rank = 0; rank < b->n_merges; rank++) {
    const char *left = intern_bytes(b->vocabulary, (uint32_t)b->merges[rank].left, &n);
    written = byte_map_write(&map, left, n, text);
    text[written++] = ' ';
    const char *right = intern_bytes(b->vocabulary, (uint32_t)b->merges[rank].right, &n);
    written += byte_map_write(&map, right, n, text + written);
    json_array_append_new(merges, json_stringn(text, written));
  }
  return json_pack("{ss sn sn sn sn sb so so}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", 0, "vocab", vocab, "merges", merges);
}

static json_t *byte_level_json(void) {
  return json_pack("{ss sb sb}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1);
}

/* Whether all has been kept: an allocation that failed leaves something out. */
static bool is_complete(const bpe *b, const json_t *root) {
  const json_t *model = json_object_get(root, "model");
  return json_array_size(json_object_get(root, "added_tokens")) == b->n_added &&
         json_object_size(json_object_get(model, "vocab")) == intern_count(b->vocabulary) &&
         json_array_size(json_object_get(model, "merges")) == b->n_merges;
}

status bpe_text(const tokenizer *t, char **out, size_t *n) {
  const bpe *b = (const bpe *)t;
  size_t longest = 0, size;
  for (uint32_t id = 0; id < intern_count(b->vocabulary); id++) {
    intern_bytes(b->vocabulary, id, &size);
    if (size > longest) longest = size;
  }
  char *text = mem_alloc(2 * longest + 1, 2);
  if (!text) return STATUS_MEMORY;
  json_t *root =
      json_pack("{ss sn sn so s{ss} so so so so}", "version", "1.0", "truncation", "padding", "added_tokens",
                added_json(b), "normalizer", "type", "NFC", "pre_tokenizer", byte_level_json(), "post_processor",
                byte_level_json(), "decoder", byte_level_json(), "model", model_json(b, text));
  *out = root && is_complete(b, root) ? json_dumps(root, JSON_COMPACT) : NULL;
  json_decref(root);
  free(text);
  if (!*out) return fail(STATUS_MEMORY, "no memory for the text of a vocabulary of %u tokens", t->size);
  *n = strlen(*out);
  return STATUS_OK;
}
