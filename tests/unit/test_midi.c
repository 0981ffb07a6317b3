/* The words of the music models: their numbers, how a text is cut, and back. Spec language-models 6.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

static void expect(const tokenizer *t, const char *text, size_t n, const int32_t *ids, size_t n_ids) {
  int32_t found[64];
  assert_int_equal(tokenizer_encode(t, text, n, found, 64), n_ids);
  for (size_t i = 0; i < n_ids; i++) assert_int_equal(found[i], ids[i]);
}

#define EXPECT(t, text, ...)                                                                                           \
  expect(t, text, sizeof text - 1, (const int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))

static void test_numbers(void **state) {
  (void)state;
  tokenizer *t = tokenizer_open("midi");
  assert_non_null(t);
  assert_int_equal(tokenizer_kind_of(t), TOKENIZER_KIND_MIDI);
  assert_int_equal(tokenizer_size(t), 20096);
  static const char *const instruments[] = {"p", "d", "t", "m", "b", "g", "v", "tr", "pi", "s", "f", "l", "pa"};
  for (int32_t wait = 1; wait <= 125; wait++) {
    char word[8];
    int n = snprintf(word, sizeof word, "t%d", wait);
    expect(t, word, (size_t)n, (const int32_t[]){2 + wait}, 1);
  }
  for (int32_t i = 0; i < 13; i++)
    for (int32_t note = 0; note < 128; note++)
      for (int32_t velocity = 0; velocity < 12; velocity++) {
        char word[16];
        int n = snprintf(word, sizeof word, "%s:%x:%x", instruments[i], (unsigned)note, (unsigned)velocity);
        const int32_t id = 128 + 1536 * i + 12 * note + velocity;
        expect(t, word, (size_t)n, &id, 1);
        size_t size;
        const char *bytes = tokenizer_bytes(t, id, &size);
        assert_int_equal(size, n + 1);
        assert_int_equal(bytes[0], ' ');
        assert_memory_equal(bytes + 1, word, (size_t)n);
      }
  tokenizer_free(t);
}

static void test_texts(void **state) {
  (void)state;
  tokenizer *t = tokenizer_open("midi");
  expect(t, "", 0, NULL, 0);
  expect(t, " \n\t ", 4, NULL, 0);
  EXPECT(t, "<start> pi:4a:7 t24 pi:56:7 <end>", 1, 13311, 26, 13455, 2);
  EXPECT(t, "P:3C:A\tT5\r\nd:26:b", 858, 7, 2131);
  EXPECT(t, "x t0 t126 t01 pi:80:1 pi:0a:1 pi:a:c pi:a :", 0, 0, 0, 0, 0, 0, 0, 0, 0); /* none of them is a word */
  EXPECT(t, "<pad><start>t1<end>t2", 0, 1, 3, 2, 4);
  EXPECT(t, "x<end>x", 0, 2, 0);
  EXPECT(t, "<End> <end", 2, 0); /* small letters come after the cut, so that this one is a word */
  EXPECT(t, "<End>t1", 0);
  EXPECT(t, "t1\xe3\x80\x80t2\xc2\xa0t3\xc2\x85t4", 3, 4, 5, 6); /* white space beyond ASCII */
  EXPECT(t, "t1\xff t2 \xe3\x80 \xf0", 0, 4, 0, 0);
  EXPECT(t, "t1\0 t2", 0, 4);
  EXPECT(t, "averyveryveryverylongword t3", 0, 5);
  int32_t ids[2] = {-7, -7};
  assert_int_equal(tokenizer_encode(t, "t1 t2 t3", 8, ids, 1), 3);
  assert_int_equal(ids[0], 3);
  assert_int_equal(ids[1], -7);
  assert_int_equal(tokenizer_room(t, 8), 8);
  tokenizer_free(t);
}

static void test_back(void **state) {
  (void)state;
  tokenizer *t = tokenizer_open("midi");
  const int32_t some[] = {1, 13311, 26, 70000, -1, 2};
  char *text;
  size_t n;
  assert_int_equal(tokenizer_decode(t, some, 6, &text, &n), STATUS_OK);
  assert_string_equal(text, "<start> pi:4a:7 t24 <end>");
  assert_int_equal(n, strlen(text));
  free(text);
  assert_int_equal(tokenizer_decode(t, some, 0, &text, &n), STATUS_OK);
  assert_int_equal(n, 0);
  free(text);

  int32_t *all = malloc(20096 * sizeof *all), *again;
  size_t count;
  for (int32_t id = 0; id < 20096; id++) all[id] = id;
  assert_int_equal(tokenizer_decode(t, all, 20096, &text, &n), STATUS_OK);
  assert_int_equal(tokenizer_ids(t, text, n, &again, &count), STATUS_OK);
  assert_int_equal(count, 20096);
  assert_memory_equal(again, all, count * sizeof *all);
  free(all);
  free(again);
  free(text);

  /* What stands for it in a model file. */
  assert_int_equal(tokenizer_text(t, &text, &n), STATUS_OK);
  tokenizer *same = tokenizer_parse(text, n, "a model's vocabulary");
  assert_non_null(same);
  assert_int_equal(tokenizer_kind_of(same), TOKENIZER_KIND_MIDI);
  tokenizer_free(same);
  free(text);
  tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
