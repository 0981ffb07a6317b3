/* Near copies and the split of the training text (data/build/text.h; the rule in words is in docs/data.md).
 *
 * Everything stands on one measure. A shingle is a run of eight words; how much of a document can be read elsewhere is
 * the share of its words that lie in shingles which also occur there. Shingles are kept as 64-bit hashes: among ten
 * million, two different ones agree with a probability of 3e-6. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/build/text.h"

enum { SHINGLE_WORDS = 8, TRAIN_PERCENT = 96, VALIDATION_PERCENT = 2 };
static const uint64_t SEED = 7;
/* A document is a near copy if more than three quarters of its words can be read in earlier ones. */
enum { COPY_OF = 4, COPY_MORE_THAN = 3, OVERLAP_OF = 2, OVERLAP_MORE_THAN = 1 };

/* ---- shingles ---- */

static bool is_word_byte(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
}

/* The hashes of a document's words, without regard to case and punctuation; word[] has room for n / 2 + 1, or is NULL
 * to count them. */
static size_t hash_words(const char *text, size_t n, uint64_t *word) {
  size_t words = 0;
  for (size_t i = 0; i < n;) {
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    size_t start = i;
    for (; i < n && is_word_byte((unsigned char)text[i]); i++) {
      unsigned char c = (unsigned char)text[i];
      h = (h ^ (c >= 'A' && c <= 'Z' ? c | 0x20u : c)) * UINT64_C(0x100000001b3);
    }
    if (i > start) {
      if (word != NULL) word[words] = h;
      words++;
    } else {
      i++;
    }
  }
  return words;
}

/* A document's words, and the hash of the shingle that begins at each of the first `shingles`. One that is shorter than
 * a shingle is one shingle as a whole. */
typedef struct {
  uint64_t *word, *shingle;
  size_t words, shingles, room;
} shingled;

static status shingle(shingled *s, const text_document *d) {
  size_t room = d->n / 2 + 1;
  if (room > s->room) {
    uint64_t *word = mem_grow(s->word, room, sizeof *word);
    if (word != NULL) s->word = word;
    uint64_t *hash = word != NULL ? mem_grow(s->shingle, room, sizeof *hash) : NULL;
    if (hash == NULL) return last_status();
    s->shingle = hash;
    s->room = room;
  }
  s->words = hash_words(d->text, d->n, s->word);
  size_t length = s->words < SHINGLE_WORDS ? s->words : SHINGLE_WORDS;
  s->shingles = s->words == 0 ? 0 : s->words - length + 1;
  for (size_t i = 0; i < s->shingles; i++) s->shingle[i] = XXH3_64bits(s->word + i, length * sizeof *s->word);
  return STATUS_OK;
}

static void shingled_free(shingled *s) {
  free(s->word);
  free(s->shingle);
}

/* ---- where shingles occur ---- */

typedef struct {
  uint64_t *key;
  uint8_t *where; /* one bit a place; 0: the slot is free */
  size_t mask;
} occurrences;

static status occurrences_make(occurrences *o, const text_list *list) {
  size_t most = 0, slots = 1024; /* no more shingles than words */
  for (size_t i = 0; i < list->n; i++) most += hash_words(list->item[i].text, list->item[i].n, NULL);
  while (slots < most * 2) slots *= 2;
  o->key = mem_alloc(slots, sizeof *o->key);
  o->where = mem_zero(slots, 1);
  o->mask = slots - 1;
  return o->key != NULL && o->where != NULL ? STATUS_OK : last_status();
}

static void occurrences_free(occurrences *o) {
  free(o->key);
  free(o->where);
}

/* The slot of a hash, or the free one where it would be. */
static size_t find_slot(const occurrences *o, uint64_t hash) {
  size_t slot = (size_t)hash & o->mask;
  while (o->where[slot] != 0 && o->key[slot] != hash) slot = (slot + 1) & o->mask;
  return slot;
}

static void mark(occurrences *o, const shingled *s, uint8_t where) {
  for (size_t i = 0; i < s->shingles; i++) {
    size_t slot = find_slot(o, s->shingle[i]);
    o->key[slot] = s->shingle[i];
    o->where[slot] |= where;
  }
}

/* How many of the document's words lie in shingles that occur in one of the places. */
static size_t words_read(const occurrences *o, const shingled *s, uint8_t places) {
  size_t covered = 0, until = 0;
  for (size_t i = 0; i < s->shingles; i++) {
    if ((o->where[find_slot(o, s->shingle[i])] & places) == 0) continue;
    size_t end = i + SHINGLE_WORDS < s->words ? i + SHINGLE_WORDS : s->words;
    covered += end - (i > until ? i : until);
    until = end;
  }
  return covered;
}

/* ---- near copies ---- */

status text_drop_copies(text_list *list, size_t *dropped) {
  occurrences seen = {0};
  shingled s = {0};
  size_t kept = 0;
  status result = occurrences_make(&seen, list);
  for (size_t i = 0; i < list->n; i++) {
    text_document *d = &list->item[i];
    if (result == STATUS_OK) result = shingle(&s, d);
    if (result == STATUS_OK && words_read(&seen, &s, 1) * COPY_OF > s.words * COPY_MORE_THAN) {
      free(d->text);
      continue;
    }
    if (result == STATUS_OK) mark(&seen, &s, 1);
    list->item[kept++] = *d;
  }
  *dropped = list->n - kept;
  list->n = kept;
  shingled_free(&s);
  occurrences_free(&seen);
  return result;
}

/* ---- the split ---- */

static uint8_t place_of(const text_document *d) { return (uint8_t)(1u << d->split); }

static status find_overlaps(const text_list *list, occurrences *o, bool *overlaps, size_t *count) {
  shingled s = {0};
  status result = STATUS_OK;
  *count = 0;
  for (size_t i = 0; i < list->n && result == STATUS_OK; i++) {
    result = shingle(&s, &list->item[i]);
    if (result == STATUS_OK) mark(o, &s, place_of(&list->item[i]));
  }
  for (size_t i = 0; i < list->n && result == STATUS_OK; i++) {
    const text_document *d = &list->item[i];
    if (overlaps != NULL) overlaps[i] = false;
    if (d->split == SPLIT_TRAIN) continue;
    result = shingle(&s, d);
    uint8_t others = (uint8_t)~place_of(d);
    if (result != STATUS_OK || words_read(o, &s, others) * OVERLAP_OF <= s.words * OVERLAP_MORE_THAN) continue;
    if (overlaps != NULL) overlaps[i] = true;
    ++*count;
  }
  shingled_free(&s);
  return result;
}

status text_overlaps(const text_list *list, bool *overlaps, size_t *count) {
  occurrences o = {0};
  status s = occurrences_make(&o, list);
  if (s == STATUS_OK) s = find_overlaps(list, &o, overlaps, count);
  occurrences_free(&o);
  return s;
}

static uint8_t draw_split(uint64_t key) {
  uint64_t percent = random_u64(SEED, 3, key) % 100;
  return percent < TRAIN_PERCENT                        ? SPLIT_TRAIN
         : percent < TRAIN_PERCENT + VALIDATION_PERCENT ? SPLIT_VALIDATION
                                                        : SPLIT_TEST;
}

/* Sends every document to training that overlaps, or has the key of one that does. */
static size_t move_to_training(text_list *list, const bool *overlaps) {
  size_t moved = 0;
  for (size_t i = 0; i < list->n; i++) {
    if (!overlaps[i]) continue;
    for (size_t j = 0; j < list->n; j++) {
      text_document *d = &list->item[j];
      if (d->key != list->item[i].key || d->split == SPLIT_TRAIN) continue;
      d->split = SPLIT_TRAIN;
      moved++;
    }
  }
  return moved;
}

/* What moves to training may be read in other held-out documents, so that it is done until nothing moves. */
status text_split(text_list *list, size_t *moved) {
  *moved = 0;
  for (size_t i = 0; i < list->n; i++) list->item[i].split = draw_split(list->item[i].key);
  bool *overlaps = mem_zero(list->n, 1);
  size_t count = 1;
  status s = overlaps != NULL ? STATUS_OK : last_status();
  while (s == STATUS_OK && count > 0) {
    s = text_overlaps(list, overlaps, &count);
    if (s == STATUS_OK && count > 0) *moved += move_to_training(list, overlaps);
  }
  free(overlaps);
  return s;
}
