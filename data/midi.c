/* The words of the RWKV-4 music models: a MIDI file as text. Spec language-models 6.3.
 *
 *   <pad> 0, <start> 1, <end> 2; waits t1 to t125; then for each of 13 instruments, 128 notes and 12 velocities one
 *   word INSTRUMENT:NOTE:VELOCITY, numbers in hexadecimal: pi:3c:a strikes middle C on a piano.
 *
 * The three in angle brackets count wherever they stand; the rest of a text is split at white space, capitals taken for
 * small letters. A word that is none is 0. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/intern.h"
#include "data/tokenizer_internal.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

enum { SPECIALS = 3, WAITS = 125, NOTES = 128, VELOCITIES = 12, LONGEST = 8 };

static const char *const specials[SPECIALS] = {"<pad>", "<start>", "<end>"};
static const char *const instruments[] = {"p", "d", "t", "m", "b", "g", "v", "tr", "pi", "s", "f", "l", "pa"};
enum { INSTRUMENTS = sizeof instruments / sizeof *instruments };

typedef struct {
  tokenizer base;
  intern *words; /* in the order of their ids */
} midi;

/* Gives the next id to a word; its bytes have a space in front. */
static status add_word(midi *m, const char *word) {
  tokenizer *t = &m->base;
  uint32_t id, at = t->start[t->size];
  const size_t n = strlen(word);
  t->bytes[at] = ' ';
  memcpy(t->bytes + at + 1, word, n);
  t->start[++t->size] = at + 1 + (uint32_t)n;
  return intern_add(m->words, word, n, &id);
}

static status add_words(midi *m) {
  status code = STATUS_OK;
  char word[16];
  for (int i = 0; i < SPECIALS && !code; i++) code = add_word(m, specials[i]);
  for (int wait = 1; wait <= WAITS && !code; wait++) {
    snprintf(word, sizeof word, "t%d", wait);
    code = add_word(m, word);
  }
  for (int i = 0; i < INSTRUMENTS * NOTES * VELOCITIES && !code; i++) {
    snprintf(word, sizeof word, "%s:%x:%x", instruments[i / (NOTES * VELOCITIES)], i / VELOCITIES % NOTES,
             i % VELOCITIES);
    code = add_word(m, word);
  }
  return code;
}

/* The id of the special word that the text begins with, or -1. */
static int special_at(const char *text, size_t n) {
  for (int i = 0; i < SPECIALS; i++)
    if (n >= strlen(specials[i]) && !memcmp(text, specials[i], strlen(specials[i]))) return i;
  return -1;
}

/* The bytes of white space that the text begins with, up to one character. */
static size_t space_at(const char *text, size_t n) {
  uint32_t code;
  int length = utf8_next(text, n, &code);
  return length > 0 && unicode_class_of(code) == UNICODE_SPACE ? (size_t)length : 0;
}

static void put_word(const midi *m, const char *text, size_t n, token_list *out) {
  char word[LONGEST];
  uint32_t id = INTERN_NONE;
  if (n == 0) return;
  for (size_t i = 0; i < n && n <= sizeof word; i++)
    word[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
  if (n <= sizeof word) id = intern_find(m->words, word, n);
  token_put(out, id == INTERN_NONE ? TOKENIZER_END : (int32_t)id);
}

static status encode(const tokenizer *t, const char *text, size_t n, token_list *out) {
  const midi *m = (const midi *)t;
  size_t word = 0, at = 0; /* where the current word began */
  while (at < n) {
    const int special = special_at(text + at, n - at);
    const size_t end = special >= 0 ? strlen(specials[special]) : space_at(text + at, n - at);
    if (end) {
      put_word(m, text + word, at - word, out);
      if (special >= 0) token_put(out, special);
      word = at += end;
    } else {
      at++;
    }
  }
  put_word(m, text + word, n - word, out);
  return STATUS_OK;
}

static status write_text(const tokenizer *t, char **out, size_t *n) {
  (void)t;
  *n = strlen(TOKENIZER_MIDI);
  *out = mem_string(TOKENIZER_MIDI);
  return *out ? STATUS_OK : STATUS_MEMORY;
}

static void free_midi(tokenizer *t) { intern_free(((midi *)t)->words); }

tokenizer *midi_new(void) {
  static const tokenizer_class class = {TOKENIZER_KIND_MIDI, 1, 1, encode, write_text, free_midi};
  const size_t most = SPECIALS + WAITS + INSTRUMENTS * NOTES * VELOCITIES;
  midi *m = mem_zero(1, sizeof *m);
  if (!m) return NULL;
  m->base.class = &class;
  m->base.bytes = mem_alloc(most, 1 + LONGEST);
  m->base.start = mem_zero(most + 1, sizeof *m->base.start);
  m->words = m->base.bytes && m->base.start ? intern_new() : NULL;
  if (m->words && add_words(m) == STATUS_OK) return &m->base;
  tokenizer_free(&m->base);
  return NULL;
}
