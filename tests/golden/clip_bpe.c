/* CLIP's tokenizer: texts as they are cleaned, and their ids in both spellings of start and end. Spec rwkv-clip 7. */
#include <stdlib.h>
#include <string.h>

#include "data/clip_bpe.h"
#include "tests/golden/vocabulary.h"

#define VOCABULARY "bpe_simple_vocab_16e6.txt.gz"
static const char needed[] = "the vocabulary ../shared/vocab/" VOCABULARY;

static const golden_rule rules[] = {{"io/text_*", GIVEN, 0, 0, NULL},
                                    {"io/ftfy_level", GIVEN, 0, 0, NULL},
                                    {"io/*", SAME, 0, 0, NULL},
                                    {NULL, GIVEN, 0, 0, NULL}};
static const golden_rule rules_of_texts[] = {{"io/text_*", GIVEN, 0, 0, NULL},
                                             {"io/ftfy_level", GIVEN, 0, 0, NULL},
                                             {"io/cleaned_*", SAME, 0, 0, NULL},
                                             {"io/*", NOT_BUILT, 0, 0, needed},
                                             {NULL, GIVEN, 0, 0, NULL}};

/* The texts of a case: text i is bytes[off[i]] to bytes[off[i + 1]]. */
typedef struct {
  const char *bytes;
  const int32_t *off;
  size_t n;
} texts;

static bool read_texts(golden_case *k, texts *t) {
  golden_shape bytes;
  t->bytes = (const char *)golden_bytes(k, "io/text_utf8", &bytes);
  const tensor *off = golden_ids(k, "io/text_off");
  if (!t->bytes || !off) return false;
  t->off = i32(off);
  t->n = (size_t)tensor_count(off) - 1;
  bool sound = tensor_count(off) > 0 && t->off[0] >= 0 && (size_t)t->off[t->n] <= bytes.n;
  for (size_t i = 0; sound && i < t->n; i++) sound = t->off[i] <= t->off[i + 1];
  golden_check(k, sound, "io/text_off: offsets of %zu bytes", bytes.n);
  return sound;
}

/* Values of all texts one after the other, as the case has them. */
typedef struct {
  int32_t *values, *off;
  size_t n;
} joined;

static bool join(joined *j, size_t i, const int32_t *values, size_t n) {
  int32_t *grown = mem_grow(j->values, j->n + n, sizeof *grown);
  if (!grown) return false;
  j->values = grown;
  if (n) memcpy(j->values + j->n, values, n * sizeof *values);
  j->n += n;
  j->off[i + 1] = (int32_t)j->n;
  return true;
}

static void offer_joined(golden_case *k, joined *j, size_t n, const char *values, const char *off) {
  golden_offer_ids(k, j->values, j->n, "%s", values);
  golden_offer_ids(k, j->off, n + 1, "%s", off);
  free(j->values), free(j->off);
}

/* Whether a cleaned text is the case's own; the rows as a whole are compared besides. */
static void check_text(golden_case *k, const int32_t *level, size_t i, const int32_t *got, size_t n) {
  golden_shape all;
  const uint8_t *want = golden_bytes(k, "io/cleaned_utf8", &all);
  const tensor *off = golden_ids(k, "io/cleaned_off");
  if (!want || !off || (size_t)tensor_count(off) < i + 2) return;
  const int32_t first = i32(off)[i], last = i32(off)[i + 1];
  bool same = first >= 0 && last >= first && (size_t)last <= all.n && n == (size_t)(last - first);
  for (size_t b = 0; same && b < n; b++) same = got[b] == want[(size_t)first + b];
  golden_check(k, same, "text %zu, level %d: cleaned", i, level[i]);
}

static void run_cleaning(golden_case *k, const texts *t) {
  const tensor *level = golden_ids(k, "io/ftfy_level");
  joined all = {.off = mem_zero(t->n + 1, sizeof *all.off)};
  for (size_t i = 0; all.off && level && i < t->n; i++) {
    char *clean;
    size_t n;
    if (clip_clean(t->bytes + t->off[i], (size_t)(t->off[i + 1] - t->off[i]), &clean, &n)) {
      golden_error(k);
      break;
    }
    int32_t *bytes = mem_alloc(n, sizeof *bytes);
    for (size_t b = 0; bytes && b < n; b++) bytes[b] = (uint8_t)clean[b];
    if (bytes && join(&all, i, bytes, n)) check_text(k, i32(level), i, bytes, n);
    free(bytes), free(clean);
  }
  offer_joined(k, &all, t->n, "io/cleaned_utf8", "io/cleaned_off");
}

static void run_ids(golden_case *k, const tokenizer *words, const texts *t) {
  joined all = {.off = mem_zero(t->n + 1, sizeof *all.off)};
  int32_t *rows[2] = {mem_zero(t->n * CLIP_CONTEXT, sizeof **rows), mem_zero(t->n * CLIP_CONTEXT, sizeof **rows)};
  for (size_t i = 0; all.off && rows[0] && rows[1] && i < t->n; i++) {
    const char *text = t->bytes + t->off[i];
    const size_t n = (size_t)(t->off[i + 1] - t->off[i]);
    int32_t *ids = NULL;
    size_t count = 0;
    status s = clip_ids(words, CLIP_SPELT_OPENCLIP, text, n, &ids, &count);
    if (!s && !join(&all, i, ids, count)) s = STATUS_MEMORY;
    for (int spelling = CLIP_SPELT_OPENAI; spelling <= CLIP_SPELT_OPENCLIP && !s; spelling++)
      s = clip_context(words, spelling, text, n, rows[spelling] + i * CLIP_CONTEXT, CLIP_CONTEXT, NULL);
    free(ids);
    if (s) golden_error(k);
  }
  if (rows[0] && rows[1]) {
    golden_offer_ids(k, rows[CLIP_SPELT_OPENCLIP], t->n * CLIP_CONTEXT, "io/ids");
    golden_offer_ids(k, rows[CLIP_SPELT_OPENAI], t->n * CLIP_CONTEXT, "io/ids_openai");
  }
  free(rows[0]), free(rows[1]);
  offer_joined(k, &all, t->n, "io/encode_ids", "io/encode_off");
}

static void run(golden_case *k) {
  tokenizer *words = golden_vocabulary(k, VOCABULARY);
  golden_rules(k, words ? rules : rules_of_texts);
  texts t;
  if (read_texts(k, &t)) {
    run_cleaning(k, &t);
    if (words) run_ids(k, words, &t);
  }
  tokenizer_free(words);
}

const golden_system golden_clip_bpe = {"clip-bpe", run};
