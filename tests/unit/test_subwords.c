/* Byte pair encoding's vocabulary (data/subwords.h) beside one that counts all pairs again after every joint. */
#include <stdlib.h>
#include <string.h>

#include "data/subwords.h"
#include "data/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ENTRIES = 420, PIECES = 256 };

/* ---- the plain way ---- */

typedef struct {
  int symbol[SUBWORD_MAX_BYTES], n;
  uint64_t count;
} piece;

typedef struct {
  piece piece[PIECES];
  int pieces;
  char bytes[ENTRIES][SUBWORD_MAX_BYTES];
  size_t n[ENTRIES];
  int entries;
} plain;

static int plain_entry(plain *p, int left, int right) {
  char bytes[2 * SUBWORD_MAX_BYTES];
  const size_t n = p->n[left] + p->n[right];
  memcpy(bytes, p->bytes[left], p->n[left]);
  memcpy(bytes + p->n[left], p->bytes[right], p->n[right]);
  for (int i = 0; i < p->entries; i++)
    if (p->n[i] == n && memcmp(p->bytes[i], bytes, n) == 0) return i;
  memcpy(p->bytes[p->entries], bytes, n);
  p->n[p->entries] = n;
  return p->entries++;
}

/* Joins the most frequent pair; false if there is none left. */
static bool plain_join(plain *p) {
  static uint64_t count[ENTRIES][ENTRIES];
  memset(count, 0, sizeof count);
  for (int i = 0; i < p->pieces; i++)
    for (int k = 0; k + 1 < p->piece[i].n; k++)
      count[p->piece[i].symbol[k]][p->piece[i].symbol[k + 1]] += p->piece[i].count;
  int left = 0, right = 0;
  for (int a = 0; a < ENTRIES; a++)
    for (int b = 0; b < ENTRIES; b++)
      if (count[a][b] > count[left][right]) left = a, right = b;
  if (count[left][right] < 2) return false;
  const int made = plain_entry(p, left, right);
  for (int i = 0; i < p->pieces; i++) {
    piece *w = &p->piece[i];
    int n = 0;
    for (int k = 0; k < w->n; k++) {
      const bool both = k + 1 < w->n && w->symbol[k] == left && w->symbol[k + 1] == right;
      w->symbol[n++] = both ? made : w->symbol[k];
      k += both;
    }
    w->n = n;
  }
  return true;
}

static plain *plain_begin(const tally *t) {
  plain *p = calloc(1, sizeof *p);
  assert_non_null(p);
  for (p->entries = 0; p->entries < 256; p->entries++) {
    p->bytes[p->entries][0] = (char)p->entries;
    p->n[p->entries] = 1;
  }
  assert_true(intern_count(t->words) <= PIECES);
  for (uint32_t i = 0; i < intern_count(t->words); i++) {
    size_t n;
    const char *bytes = intern_bytes(t->words, i, &n);
    piece *w = &p->piece[p->pieces++];
    assert_true(n <= SUBWORD_MAX_BYTES);
    for (size_t k = 0; k < n; k++) w->symbol[w->n++] = (uint8_t)bytes[k];
    w->count = t->count[i];
  }
  return p;
}

/* ---- tests ---- */

static const char *const texts[] = {
    "the cat sat on the mat; the rat sat on the cat's hat. \"That,\" said the cat, \"is that.\"\n\nUser: banana?\n\n",
    "bananas, ananas and banana cakes: 1234 of 1234, 12 of 34\n\nUser: na\xc3\xafve na\xc3\xafvet\xc3\xa9?\n\n",
    "She sells sea shells by the sea shore; the shells she sells are sea shells, I'm sure. So if she sells sea shells "
    "on "
    "the sea shore, then I'm sure she sells sea shore shells. Peter Piper picked a peck of pickled peppers; a peck of "
    "pickled peppers Peter Piper picked.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa aaaa aaa aa a    spaces   in\t\ttabs",
};
enum { TEXTS = sizeof texts / sizeof *texts };

static void count_all(tally *t, bool backwards) {
  assert_int_equal(tally_new(t), STATUS_OK);
  for (int i = 0; i < TEXTS; i++) {
    const char *text = texts[backwards ? TEXTS - 1 - i : i];
    assert_int_equal(subwords_count(t, text, strlen(text)), STATUS_OK);
  }
}

static void joins_what_stands_together_most(void **state) {
  (void)state;
  tally t;
  count_all(&t, false);
  plain *p = plain_begin(&t);
  int joints = 0;
  for (bool more = true; more && p->entries < ENTRIES;) {
    more = plain_join(p);
    joints += more;
    char *expected, *text;
    size_t expected_n, n;
    vocabulary_entry entry[ENTRIES];
    for (int i = 0; i < p->entries; i++) entry[i] = (vocabulary_entry){p->bytes[i], p->n[i]};
    assert_int_equal(vocabulary_text(entry, (uint32_t)p->entries, &expected, &expected_n), STATUS_OK);
    assert_int_equal(subwords_write(&t, more ? (uint32_t)p->entries : ENTRIES, &text, &n), STATUS_OK);
    assert_int_equal(n, expected_n);
    assert_string_equal(text, expected);
    free(text);
    free(expected);
  }
  assert_in_range(joints, 60, ENTRIES);
  free(p);
  tally_free(&t);
}

static void the_order_of_texts_is_of_no_matter(void **state) {
  (void)state;
  tally one, other;
  char *a, *b;
  size_t n, m;
  count_all(&one, false);
  count_all(&other, true);
  assert_int_equal(subwords_write(&one, 340, &a, &n), STATUS_OK);
  assert_int_equal(subwords_write(&other, 340, &b, &m), STATUS_OK);
  assert_string_equal(a, b);
  free(a);
  free(b);
  tally_free(&one);
  tally_free(&other);
}

static void the_vocabulary_reads_its_texts_in_fewer_tokens(void **state) {
  (void)state;
  tally t;
  char *text, *back;
  size_t n, size;
  int32_t ids[256];
  count_all(&t, false);
  assert_int_equal(subwords_write(&t, 340, &text, &n), STATUS_OK);
  tokenizer *words = tokenizer_parse(text, n, "a vocabulary");
  assert_non_null(words);
  for (int i = 0; i < TEXTS; i++) {
    const size_t found = tokenizer_encode(words, texts[i], strlen(texts[i]), ids, 256);
    assert_true(found < strlen(texts[i]) / 2);
    assert_int_equal(tokenizer_decode(words, ids, found, &back, &size), STATUS_OK);
    assert_int_equal(size, strlen(texts[i]));
    assert_memory_equal(back, texts[i], size);
    free(back);
  }
  tokenizer_free(words);
  free(text);
  tally_free(&t);
}

static void pieces_are_of_one_sort_and_bounded(void **state) {
  (void)state;
  tally t;
  assert_int_equal(tally_new(&t), STATUS_OK);
  assert_int_equal(subwords_count(&t, "ab 12ab  .\n\n x", 14), STATUS_OK);
  static const char *const pieces[] = {"ab", " 12", "ab", "  .\n\n", " x"};
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
    assert_int_not_equal(intern_find(t.words, pieces[i], strlen(pieces[i])), INTERN_NONE);
  assert_int_equal(intern_count(t.words), 4);
  char longest[100];
  memset(longest, 'x', sizeof longest);
  assert_int_equal(subwords_count(&t, longest, sizeof longest), STATUS_OK);
  assert_int_equal(intern_count(t.words), 6); /* 3 of 32 bytes, one of 4 */
  char *text;
  size_t n;
  assert_int_equal(subwords_write(&t, 255, &text, &n), STATUS_ARGUMENT);
  tally_free(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(joins_what_stands_together_most),
      cmocka_unit_test(the_order_of_texts_is_of_no_matter),
      cmocka_unit_test(the_vocabulary_reads_its_texts_in_fewer_tokens),
      cmocka_unit_test(pieces_are_of_one_sort_and_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
