/* Caption metrics against values found by hand, and the words they count. (The published implementation's values are
 * golden cases: scripts/golden.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/caption_words.h"
#include "train/metrics.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

static void near(const char *what, double found, double expected, double tolerance) {
  if (!(fabs(found - expected) <= tolerance)) fail_msg("%s: %.17g, expected %.17g", what, found, expected);
}

static void expect_words(const char *caption, const char *expected) {
  char *words = caption_words(caption);
  assert_non_null(words);
  if (strcmp(words, expected)) fail_msg("\"%s\" became \"%s\", expected \"%s\"", caption, words, expected);
  free(words);
}

/* -- Words --------------------------------------------------------------------------------------------------------- */

static void test_words(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {"", ""},
      {" \n\t ", ""},
      {".", ""},
      {"... -- - ; : , ' \" `", ""},
      {"A Dog.", "a dog"},
      {"one\ntwo", "one two"},
      {"a dog. a cat", "a dog a cat"},
      {"a dog, a cat; a bird: all!", "a dog a cat a bird all"},
      {"12,000 people, 3.5 miles, 1,2", "12,000 people 3.5 miles 1,2"},
      {"red,green", "red green"},
      {"it is 3:30", "it is 3:30"},
      {"don't isn't CAN'T cannot", "do n't is n't ca n't can not"},
      {"the man's they're we've I'll he'd I'm", "the man 's they 're we 've i 'll he 'd i 'm"},
      {"I'd've", "i 'd 've"},
      {"the dogs' beds", "the dogs beds"},
      {"a dog 's bed", "a dog 's bed"},
      {"they do n't", "they do n't"},
      {"gonna wanna gotta", "gon na wan na got ta"},
      {"a 'red' \"ball\" ``x''", "a red ball x"},
      {"\xe2\x80\x9cit\xe2\x80\x99s\xe2\x80\x9d \xe2\x80\x98me\xe2\x80\x99", "it 's me"},
      {"a t-shirt half-eaten - or -- so", "a t-shirt half-eaten or so"},
      {"cats \xe2\x80\x94 dogs\xe2\x80\x93mice", "cats dogs mice"},
      {"salt & pepper 50% of $5 #1 a@b", "salt & pepper 50 % of $ 5 # 1 a @ b"},
      {"a (small) [old] {x}", "a -lrb- small -rrb- -lsb- old -rsb- -lcb- x -rcb-"},
      {"Mr. Smith on Main St. in the U.S. at 5 p.m. today", "mr. smith on main st. in the u.s. at 5 p.m. today"},
      {"made in the U.S.", "made in the u.s."},
      {"vitamin C. The end", "vitamin c the end"},
      {"no. 5 says no.", "no. 5 says no"},
      {"what?! wow!!", "what ?! wow !!"},
      {"really? yes!", "really yes"},
      {"wait... what", "wait what"},
      {"rock and/or roll 1/2", "rock and/or roll 1/2"},
      {"five o'clock '90s 'tis", "five o'clock '90s 't is"},
      {"AT&T R & B", "at&t r & b"},
      {"CAF\xc3\x89 na\xc3\xafve", "caf\xc3\xa9 na\xc3\xafve"},
      {"-5 degrees +3 .5", "-5 degrees +3 .5"},
      {"\xff\xfe"
       "a",
       "\xef\xbf\xbd\xef\xbf\xbd"
       "a"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) expect_words(pairs[i][0], pairs[i][1]);
}

/* No input makes more than the room that was planned for it (run under a sanitizer), and tokens have no double spaces.
 */
static void test_words_of_noise(void **state) {
  (void)state;
  static const char likely[] = "abN'.,-!?([{ /&t3s\xe2\x80\x99";
  rng g = rng_make(3, 0);
  for (int round = 0; round < 20000; round++) {
    char text[33];
    size_t n = rng_below(&g, sizeof text);
    for (size_t i = 0; i < n; i++)
      text[i] = rng_below(&g, 8) ? likely[rng_below(&g, sizeof likely - 1)] : (char)(1 + rng_below(&g, 255));
    text[n] = '\0';
    char *words = caption_words(text);
    assert_non_null(words);
    size_t length = strlen(words);
    if (strstr(words, "  ") || *words == ' ' || (length && words[length - 1] == ' '))
      fail_msg("\"%s\": \"%s\"", text, words);
    free(words);
  }
}

/* -- By hand ------------------------------------------------------------------------------------------------------- */

static void test_by_hand(void **state) {
  (void)state;
  /* Two images, so that a word of one image has idf ln 2 and a word of both has 0. */
  const char *first[] = {"a red dog"}, *second[] = {"a cat"};
  const caption_case cases[] = {{"a dog", first, 1}, {"a cat", second, 1}};
  metric_scores corpus, own[2];
  assert_int_equal(caption_metrics(cases, 2, &corpus, own), STATUS_OK);
  /* "a dog": unigrams: norm ln2, reference norm ln2*sqrt 2, product ln2^2; no bigram in common; lengths 1 and 2. */
  near("cider", own[0].cider, 10 * 0.25 / sqrt(2) * exp(-1.0 / 72), 1e-12);
  near("cider", own[1].cider, 10 * 0.25 * 2, 1e-12); /* trigrams and 4-grams do not exist */
  near("cider", corpus.cider, (own[0].cider + own[1].cider) / 2, 1e-12);
  near("rouge", own[0].rouge_l, 2.44 * (2.0 / 3) / (2.0 / 3 + 1.44), 1e-12);
  near("bleu", own[0].bleu[0], exp(1 - 1.5), 1e-8);
  near("bleu", corpus.bleu[0], exp(1 - 5.0 / 4), 1e-8);
  near("bleu", corpus.bleu[1], sqrt(1.0 * 1 / 2) * exp(1 - 5.0 / 4), 1e-8);
}

static void test_edges(void **state) {
  (void)state;
  const char *empty[] = {""}, *ties[] = {"a b c d", "a b", "a b c d e f"};
  metric_scores corpus;
  const caption_case blank = {"", empty, 1};
  assert_int_equal(caption_metrics(&blank, 1, &corpus, NULL), STATUS_OK);
  near("rouge of nothing", corpus.rouge_l, 1, 0); /* one empty word on both sides, as published */
  assert_true(corpus.bleu[0] >= 0 && corpus.cider == 0);
  const caption_case tie = {"a b c", ties, 3};
  assert_int_equal(caption_metrics(&tie, 1, &corpus, NULL), STATUS_OK);
  near("closest length, ties to the shorter", corpus.bleu[0], 1, 1e-8);
  const caption_case none = {"a", NULL, 0};
  assert_int_equal(caption_metrics(&none, 1, &corpus, NULL), STATUS_ARGUMENT);
  assert_int_equal(caption_metrics(&none, 0, &corpus, NULL), STATUS_ARGUMENT);
}

/* As many captions as the field's test set; CIDEr-D of a caption that is its own reference, among others. */
static void test_corpus_size(void **state) {
  (void)state;
  enum { IMAGES = 5000, REFERENCES = 4 };
  char(*text)[64] = calloc(IMAGES * (REFERENCES + 1), sizeof *text);
  const char **references = calloc(IMAGES * REFERENCES, sizeof *references);
  caption_case *cases = calloc(IMAGES, sizeof *cases);
  rng g = rng_make(1, 0);
  for (size_t i = 0; i < IMAGES; i++) {
    for (size_t k = 0; k <= REFERENCES; k++) {
      char *t = text[i * (REFERENCES + 1) + k];
      int n = 0;
      for (uint32_t w = 0, words = 8 + rng_below(&g, 4); w < words; w++)
        n += snprintf(t + n, 64 - (size_t)n, "%sw%u", w ? " " : "", rng_below(&g, 1 + rng_below(&g, 500)));
      if (k) references[i * REFERENCES + k - 1] = t;
    }
    cases[i] = (caption_case){references[i * REFERENCES], references + i * REFERENCES, REFERENCES};
  }
  metric_scores corpus, *own = calloc(IMAGES, sizeof *own);
  double start = clock_seconds();
  assert_int_equal(caption_metrics(cases, IMAGES, &corpus, own), STATUS_OK);
  print_message("%d images of %d references: %.2f s\n", IMAGES, REFERENCES, clock_seconds() - start);
  for (int k = 0; k < 4; k++) near("bleu of copies", corpus.bleu[k], 1, 1e-6);
  near("rouge of copies", corpus.rouge_l, 1, 1e-12);
  for (size_t i = 0; i < IMAGES; i++) assert_true(own[i].cider > 10.0 / REFERENCES - 1e-9 && own[i].cider <= 10 + 1e-9);
  free(own);
  free(cases);
  free(references);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words), cmocka_unit_test(test_words_of_noise), cmocka_unit_test(test_by_hand),
      cmocka_unit_test(test_edges), cmocka_unit_test(test_corpus_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
