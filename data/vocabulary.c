/* Counting words and choosing the entries of a vocabulary. See vocabulary.h; format: spec language-models section 6.1.
 */
#include "data/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "data/tally.h"
#include "data/tokenizer.h"

struct vocabulary_builder {
  intern *fixed; /* the single bytes and the pieces: their numbers are the ids less one */
  tally words;
};

vocabulary_builder *vocabulary_builder_new(void) {
  vocabulary_builder *builder = mem_zero(1, sizeof *builder);
  if (!builder) return NULL;
  builder->fixed = intern_new();
  bool failed = !builder->fixed || tally_new(&builder->words);
  for (int b = 0; b < 256 && !failed; b++) {
    uint8_t byte = (uint8_t)b;
    uint32_t id;
    failed = intern_add(builder->fixed, &byte, 1, &id) != STATUS_OK;
  }
  if (!failed) return builder;
  vocabulary_builder_free(builder);
  return NULL;
}

void vocabulary_builder_free(vocabulary_builder *builder) {
  if (!builder) return;
  intern_free(builder->fixed);
  tally_free(&builder->words);
  free(builder);
}

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (uint8_t)c >= 0x80;
}

status vocabulary_add_text(vocabulary_builder *builder, const char *text, size_t n) {
  for (size_t at = 0; at < n;) {
    size_t start = at, end;
    if (text[at] == ' ' && at + 1 < n && is_word(text[at + 1])) at++;
    if (!is_word(text[at])) {
      at++;
      continue;
    }
    for (end = at + 1; end < n; end++) {
      bool joined = (text[end] == '\'' || text[end] == '-') && end + 1 < n && is_word(text[end + 1]);
      if (!is_word(text[end]) && !joined) break;
    }
    at = end;
    if (end - start < 2) continue;
    status code = tally_add(&builder->words, text + start, end - start);
    if (code) return code;
  }
  return STATUS_OK;
}

status vocabulary_add_piece(vocabulary_builder *builder, const char *piece, size_t n) {
  uint32_t id;
  if (!n) return fail(STATUS_ARGUMENT, "a vocabulary cannot have an empty piece");
  return intern_add(builder->fixed, piece, n, &id);
}

typedef struct {
  vocabulary_entry entry;
  uint64_t count;
} counted_word;

static int compare_words(const void *a, const void *b) {
  const counted_word *x = a, *y = b;
  if (x->count != y->count) return x->count > y->count ? -1 : 1;
  size_t shorter = x->entry.n < y->entry.n ? x->entry.n : y->entry.n;
  int order = memcmp(x->entry.bytes, y->entry.bytes, shorter);
  return order ? order : (x->entry.n > y->entry.n) - (x->entry.n < y->entry.n);
}

/* All words that are no piece, in the order of the vocabulary; NULL if memory is short. The caller frees it. */
static counted_word *sorted_words(const vocabulary_builder *builder, uint32_t *n) {
  const uint32_t n_words = intern_count(builder->words.words);
  counted_word *sorted = mem_alloc(n_words, sizeof *sorted);
  if (!sorted) return NULL;
  *n = 0;
  for (uint32_t id = 0; id < n_words; id++) {
    counted_word word = {.count = builder->words.count[id]};
    word.entry.bytes = intern_bytes(builder->words.words, id, &word.entry.n);
    if (intern_find(builder->fixed, word.entry.bytes, word.entry.n) == INTERN_NONE) sorted[(*n)++] = word;
  }
  qsort(sorted, *n, sizeof *sorted, compare_words);
  return sorted;
}

status vocabulary_write(const vocabulary_builder *builder, uint32_t max_entries, char **out, size_t *n) {
  const uint32_t n_fixed = intern_count(builder->fixed);
  if (max_entries < n_fixed)
    return fail(STATUS_ARGUMENT, "a vocabulary of %u entries cannot hold the 256 bytes and %u pieces", max_entries,
                n_fixed - 256);
  uint32_t n_words;
  counted_word *sorted = sorted_words(builder, &n_words);
  if (!sorted) return STATUS_MEMORY;
  if (n_words > max_entries - n_fixed) n_words = max_entries - n_fixed;
  status code = STATUS_MEMORY;
  vocabulary_entry *entries = mem_alloc((size_t)n_fixed + n_words, sizeof *entries);
  if (entries) {
    for (uint32_t i = 0; i < n_fixed; i++) entries[i].bytes = intern_bytes(builder->fixed, i, &entries[i].n);
    for (uint32_t i = 0; i < n_words; i++) entries[n_fixed + i] = sorted[i].entry;
    code = vocabulary_text(entries, n_fixed + n_words, out, n);
  }
  free(entries);
  free(sorted);
  return code;
}
