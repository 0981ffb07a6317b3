/* Texts that come in pieces give the ids of the whole, wherever they are cut. */
#include "data/tokenizer_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/bpe_skeleton.h"
#include "tests/support/tiny_text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MOST = 6000 };

static tokenizer *world(const char *const *words, int n) {
  char *text = tiny_bytes_vocabulary(words, n);
  tokenizer *t = tokenizer_parse(text, strlen(text), "test");
  if (!t) fail_msg("%s", last_error());
  free(text);
  return t;
}

/* Pieces of up to `piece` bytes; 0 to that many are held back, none after the end. */
static void expect_same(const tokenizer *t, const char *text, size_t n, uint32_t piece, rng *r) {
  int32_t *want;
  size_t wanted, at = 0, got = 0, count;
  const int32_t *ids;
  if (tokenizer_ids(t, text, n, &want, &wanted)) fail_msg("%s", last_error());
  tokenizer_stream s = tokenizer_stream_of(t);
  for (int round = 0; round < 2; round++, at = got = 0) { /* a stream serves one text after the other */
    const uint64_t before = s.done;
    while (at <= n) {
      const bool end = at == n;
      size_t take = rng_below(r, piece + 1);
      if (take > n - at) take = n - at;
      if (end ? tokenizer_stream_end(&s, &ids, &count) : tokenizer_stream_push(&s, text + at, take, &ids, &count))
        fail_msg("%s", last_error());
      at += end ? 1 : take;
      assert_true(got + count <= wanted);
      if (count) assert_memory_equal(ids, want + got, count * sizeof *ids);
      got += count;
      if (s.longest) assert_true(s.n < 2 * s.longest + (end ? 0 : piece));
    }
    assert_int_equal(got, wanted);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.done - before, n);
  }
  tokenizer_stream_free(&s);
  free(want);
}

/* A text of words and other bytes. */
static size_t random_text(char *text, const char *const *words, int n_words, rng *r) {
  size_t n = 0;
  while (n < MOST - 64) {
    const char *word = n_words ? words[rng_below(r, (uint32_t)n_words)] : "";
    size_t length = rng_below(r, (uint32_t)strlen(word) + 1); /* the beginnings of words try the longest match */
    if (rng_below(r, 3) == 0) length = strlen(word);
    memcpy(text + n, word, length);
    n += length;
    if (rng_below(r, 3) == 0) text[n++] = (char)rng_below(r, 256);
  }
  return n;
}

static const char *const words[] = {"a",    "ab",   "abc",   "abcabcabcabcabcabcabcabc", "bcabca", "ca",
                                    " the", "\n\n", ".\n\n", "\xe3\x81\x82\xe3\x81\x84", "cab ab"};
enum { WORDS = sizeof words / sizeof *words };

static void test_world(void **state) {
  (void)state;
  char text[MOST];
  rng r = rng_make(1, 1);
  for (int used = 1; used <= WORDS; used++) { /* the first is a byte, which the vocabulary has already */
    tokenizer *t = world(words + 1, used - 1);
    for (int round = 0; round < 30; round++) {
      static const uint32_t pieces[] = {1, 2, 5, 23, 24, 25, 49, 1000, MOST};
      const size_t n = random_text(text, words, WORDS, &r);
      expect_same(t, text, n, pieces[round % 9], &r);
      expect_same(t, text, rng_below(&r, 60), pieces[round % 9], &r);
    }
    tokenizer_free(t);
  }
}

/* A long token is waited for. */
static void test_long_token(void **state) {
  (void)state;
  enum { LONG = 3000 }; /* ends of it are walked to their end at every byte: quadratic time */
  char *word = mem_alloc(3 * LONG + 1, 1);
  assert_non_null(word);
  memset(word, 'x', 3 * LONG);
  word[LONG] = 0;
  const char *const one[] = {word};
  tokenizer *t = world(one, 1);
  word[LONG] = 'x';
  rng r = rng_make(2, 2);
  expect_same(t, word, 3 * LONG, 500, &r);
  expect_same(t, word, 2 * LONG - 1, 500, &r);
  tokenizer_free(t);
  free(word);
}

/* The others keep the text until its end. */
static void test_whole_texts(void **state) {
  (void)state;
  static char json[BPE_SKELETON_ROOM + 256];
  const size_t size = bpe_skeleton(", \"ab\": 257, \"abc\": 258", "\"a b\", \"ab c\"", "", json);
  tokenizer *some[] = {tokenizer_parse(json, size, "test"), tokenizer_open(TOKENIZER_MIDI)};
  static const char text[] = "abcab e\xcc\x81 pi:3c:a t12 v:3c:b abc\xff", notes[] = "pi:3c:a t125 <end> x";
  rng r = rng_make(3, 3);
  for (int i = 0; i < 2; i++) {
    if (!some[i]) fail_msg("%s", last_error());
    for (uint32_t piece = 1; piece < 40; piece += 6) {
      expect_same(some[i], text, sizeof text - 1, piece, &r);
      expect_same(some[i], notes, sizeof notes - 1, piece, &r);
      expect_same(some[i], "", 0, piece, &r);
    }
    tokenizer_stream s = tokenizer_stream_of(some[i]);
    const int32_t *ids;
    size_t count;
    assert_int_equal(tokenizer_stream_push(&s, text, TOKENIZER_STREAM_MOST + 1, &ids, &count), STATUS_MEMORY);
    assert_int_equal(tokenizer_stream_push(&s, text, SIZE_MAX, &ids, &count), STATUS_MEMORY);
    tokenizer_stream_free(&s);
    tokenizer_free(some[i]);
  }
}

/* The published vocabulary, where it is there. */
static void test_published(void **state) {
  (void)state;
  static const char path[] = "../shared/vocab/rwkv_vocab_v20230424.txt";
  FILE *file = fopen(path, "rb");
  if (!file) skip();
  fclose(file);
  tokenizer *t = tokenizer_open(path);
  if (!t) fail_msg("%s", last_error());
  char text[MOST];
  rng r = rng_make(4, 4);
  for (int round = 0; round < 20; round++) {
    size_t n = 0, length;
    while (n < MOST / 2) {
      const char *bytes = tokenizer_bytes(t, (int32_t)rng_below(&r, tokenizer_size(t)), &length);
      memcpy(text + n, bytes, length);
      n += length;
    }
    expect_same(t, text, n, 200, &r);
  }
  tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_world),
      cmocka_unit_test(test_long_token),
      cmocka_unit_test(test_whole_texts),
      cmocka_unit_test(test_published),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
