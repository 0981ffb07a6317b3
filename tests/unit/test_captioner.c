/* Captions from a captioner: greedy, sampled, by beams, piece by piece. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/caption.h"
#include "kernels/utf8.h"
#include "tests/support/tiny_captioner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TOKENS = 12, PICTURES = 4 };

typedef struct {
  visualrwkv m;
  ctx *c;
  float *pixels;
} desk;

static void desk_new(desk *d, uint64_t seed, tiny_speech speech) {
  tiny_captioner(&d->m, seed, speech);
  d->c = ctx_new();
  d->pixels = tiny_pictures(PICTURES, seed);
  assert_non_null(d->c);
}

static void desk_free(desk *d) {
  visualrwkv_free(&d->m);
  ctx_free(d->c);
  free(d->pixels);
}

static const size_t picture_floats = TINY_IMAGE * TINY_IMAGE * 3;

static tensor pictures(const desk *d, int first, int n) {
  return (tensor){.type = DTYPE_F32,
                  .n_dims = 4,
                  .dim = {n, TINY_IMAGE, TINY_IMAGE, 3},
                  .data = d->pixels + (size_t)first * picture_floats};
}

/* Captions pictures first..first+n-1. */
static void say(desk *d, int first, int n, const caption_options *o, caption *out) {
  const tensor x = pictures(d, first, n);
  if (caption_pictures(d->c, &d->m, &x, o, out)) fail_msg("%s", last_error());
}

static const caption_options greedy = {.count = 1, .beam = 1, .max_tokens = TOKENS};

static bool is_end(const desk *d, int32_t id) { return id == d->m.stop || id == TOKENIZER_END; }

/* --- greedy ------------------------------------------------------------------------------------------------------- */

/* The logits of what follows n tokens of an answer: the whole sequence again, without a state. In the arena. */
static const float *next_logits(desk *d, int picture, const int32_t *ids, int n) {
  tensor x = pictures(d, picture, 1);
  ctx_reset(d->c);
  tensor *tokens = visualrwkv_image_tokens(d->c, &d->m, &x, NULL);
  tensor *said = n ? tensor_2d(d->c, DTYPE_I32, 1, n) : NULL;
  if (n) memcpy(said->data, ids, (size_t)n * sizeof *ids);
  tensor *logits = rwkv_logits(d->c, &d->m.lm, visualrwkv_sequence(d->c, &d->m, tokens, said, NULL));
  assert_non_null(logits);
  return f32(logits) + (logits->dim[1] - 1) * logits->dim[2];
}

static double score(desk *d, int picture, const int32_t *ids, int n) {
  double sum = 0;
  for (int t = 0; t < n; t++) {
    const float *next = next_logits(d, picture, ids, t);
    sum += next[ids[t]] - log_sum_exp(next, d->m.config.lm.vocab_size);
  }
  return sum;
}

/* The definition of greedy search (spec visualrwkv 4.7). Returns the number of tokens. */
static int recompute(desk *d, int picture, int32_t *ids) {
  int n = 0;
  while (n < TOKENS && (!n || !is_end(d, ids[n - 1]))) {
    const float *next = next_logits(d, picture, ids, n);
    int best = 0;
    for (int v = 1; v < d->m.config.lm.vocab_size; v++)
      if (next[v] > next[best]) best = v;
    ids[n++] = best;
  }
  return n;
}

static void test_greedy_is_the_argmax_of_full_recomputation(void **state) {
  (void)state;
  int ended = 0, different = 0;
  char first[256] = "";
  for (uint64_t seed = 1; seed <= 4; seed++) {
    desk d;
    desk_new(&d, seed, TINY_TIDY);
    for (int i = 0; i < PICTURES; i++) {
      int32_t ids[TOKENS];
      caption got;
      int n = recompute(&d, i, ids);
      say(&d, i, 1, &greedy, &got);
      char *text;
      size_t size;
      assert_int_equal(tokenizer_decode(d.m.words, ids, (size_t)n - is_end(&d, ids[n - 1]), &text, &size), STATUS_OK);
      assert_string_equal(got.text, text + strspn(text, " "));
      assert_int_equal(got.tokens, n);
      assert_true(fabs(got.log_probability - score(&d, i, ids, n)) < 1e-4);
      ended += n < TOKENS;
      if (i == 0) snprintf(first, sizeof first, "%s", got.text);
      different += strcmp(first, got.text) != 0;
      free(text);
      captions_free(&got, 1);
      assert_null(got.text);
    }
    desk_free(&d);
  }
  assert_true(ended > 0 && ended < 4 * PICTURES); /* both ways to end were seen */
  assert_true(different > 0);                     /* what is said depends on the picture */
}

static void test_a_batch_is_its_pictures(void **state) {
  (void)state;
  for (int count = 1; count <= 3; count += 2) {
    desk d;
    desk_new(&d, 5, TINY_TIDY);
    const caption_options o = {.count = count, .beam = 1, .max_tokens = TOKENS};
    caption all[3 * PICTURES], one[3];
    say(&d, 0, PICTURES, &o, all);
    for (int i = 0; i < PICTURES; i++) {
      say(&d, i, 1, &o, one);
      for (int j = 0; j < count; j++) {
        assert_string_equal(all[i * count + j].text, one[j].text);
        assert_true(fabs(all[i * count + j].log_probability - one[j].log_probability) < 1e-4);
      }
      captions_free(one, (size_t)count);
    }
    captions_free(all, (size_t)(count * PICTURES));
    desk_free(&d);
  }
}

static void test_longest_answer(void **state) {
  (void)state;
  desk d;
  desk_new(&d, 6, TINY_WILD);
  for (int most = 1; most <= 3; most++) {
    caption got;
    say(&d, 0, 1, &(caption_options){.count = 1, .beam = most, .max_tokens = most}, &got);
    assert_in_range(got.tokens, 1, most);
    captions_free(&got, 1);
  }
  desk_free(&d);
}

/* --- sampled ------------------------------------------------------------------------------------------------------ */

static void test_samples(void **state) {
  (void)state;
  enum { COUNT = 6 };
  desk d;
  desk_new(&d, 7, TINY_TIDY);
  caption_options o = {
      .count = COUNT, .beam = 1, .max_tokens = TOKENS, .sample = {.temperature = 1, .top_p = 1}, .seed = 3};
  caption a[COUNT], b[COUNT], other[COUNT];
  say(&d, 0, 1, &o, a);
  say(&d, 0, 1, &o, b);
  o.seed = 4;
  say(&d, 0, 1, &o, other);
  int changed = 0, varied = 0;
  for (int i = 0; i < COUNT; i++) {
    assert_string_equal(a[i].text, b[i].text);
    assert_true(a[i].log_probability == b[i].log_probability);
    assert_true(!i || a[i - 1].log_probability / a[i - 1].tokens >= a[i].log_probability / a[i].tokens);
    changed += strcmp(a[i].text, other[i].text) != 0;
    varied += strcmp(a[i].text, a[0].text) != 0;
  }
  assert_true(changed > 0 && varied > 0);
  captions_free(a, COUNT), captions_free(b, COUNT), captions_free(other, COUNT);
  desk_free(&d);
}

/* --- beams -------------------------------------------------------------------------------------------------------- */

static double mean_score(const caption *x) { return x->log_probability / x->tokens; }

/* Whether the text, read back into tokens, has the probability that the caption claims. A text does not tell all: its
 * first blank may have been trimmed, and either token may have ended it. */
static bool is_explained(desk *d, int picture, const caption *x) {
  char text[1024];
  for (int blank = 0; blank < 2; blank++) {
    int length = snprintf(text, sizeof text, "%s%s", blank ? " " : "", x->text);
    int32_t ids[1024];
    int n = (int)tokenizer_encode(d->m.words, text, (size_t)length, ids, 1024);
    if (n == x->tokens && fabs(score(d, picture, ids, n) - x->log_probability) < 1e-4) return true;
    if (n + 1 != x->tokens) continue;
    ids[n] = d->m.stop;
    if (fabs(score(d, picture, ids, n + 1) - x->log_probability) < 1e-4) return true;
    ids[n] = TOKENIZER_END;
    if (fabs(score(d, picture, ids, n + 1) - x->log_probability) < 1e-4) return true;
  }
  return false;
}

static void test_beams(void **state) {
  (void)state;
  enum { BEAM = 4 };
  double gained = 0;
  int better = 0, explained = 0;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    desk d;
    desk_new(&d, 20 + seed, TINY_TIDY);
    const caption_options o = {.count = BEAM, .beam = BEAM, .max_tokens = TOKENS};
    caption found[PICTURES * BEAM], plain[PICTURES], one;
    say(&d, 0, PICTURES, &o, found);
    say(&d, 0, PICTURES, &greedy, plain);
    for (int i = 0; i < PICTURES; i++) {
      const caption *row = found + i * BEAM;
      for (int j = 0; j < BEAM; j++) {
        assert_true(row[j].log_probability < 0);
        assert_in_range(row[j].tokens, 1, TOKENS);
        if (seed <= 2) explained += is_explained(&d, i, &row[j]);
        for (int k = 0; k < j; k++) {
          assert_true(mean_score(&row[k]) >= mean_score(&row[j]));
          assert_true(strcmp(row[k].text, row[j].text) || row[k].log_probability != row[j].log_probability);
        }
      }
      gained += mean_score(&row[0]) - mean_score(&plain[i]);
      better += mean_score(&row[0]) > mean_score(&plain[i]) + 1e-6;
      say(&d, i, 1, &(caption_options){.count = 1, .beam = BEAM, .max_tokens = TOKENS}, &one);
      assert_string_equal(one.text, row[0].text); /* alone or in a batch, and whatever is asked for */
      captions_free(&one, 1);
    }
    captions_free(found, PICTURES * BEAM), captions_free(plain, PICTURES);
    desk_free(&d);
  }
  assert_true(gained > 0 && better > 0);
  assert_true(explained > 2 * PICTURES * BEAM * 3 / 4); /* the rest reads back into other tokens */
}

/* Several answers without a temperature would all be the same: they are searched. */
static void test_several_answers_without_temperature(void **state) {
  (void)state;
  enum { COUNT = 3 };
  desk d;
  desk_new(&d, 32, TINY_TIDY);
  caption_options o = {.count = COUNT, .beam = 1, .max_tokens = TOKENS};
  assert_true(caption_searches(&o));
  assert_false(caption_searches(&greedy));
  caption a[COUNT], b[COUNT];
  say(&d, 0, 1, &o, a);
  o.beam = COUNT;
  assert_true(caption_searches(&o));
  say(&d, 0, 1, &o, b);
  for (int i = 0; i < COUNT; i++) {
    assert_string_equal(a[i].text, b[i].text);
    assert_true(i == 0 || strcmp(a[i].text, a[0].text) || a[i].log_probability != a[0].log_probability);
  }
  o.beam = 1;
  o.sample.temperature = 1;
  assert_false(caption_searches(&o));
  o.beam = 2;
  assert_true(caption_searches(&o));
  captions_free(a, COUNT), captions_free(b, COUNT);
  desk_free(&d);
}

/* With as many tokens as one, a beam is the exact list of the most probable first tokens. */
static void test_beam_of_first_tokens(void **state) {
  (void)state;
  enum { BEAM = 5 };
  desk d;
  desk_new(&d, 30, TINY_TIDY);
  caption found[BEAM];
  say(&d, 0, 1, &(caption_options){.count = BEAM, .beam = BEAM, .max_tokens = 1}, found);
  tensor x = pictures(&d, 0, 1);
  tensor *logits = rwkv_logits(
      d.c, &d.m.lm, visualrwkv_sequence(d.c, &d.m, visualrwkv_image_tokens(d.c, &d.m, &x, NULL), NULL, NULL));
  int V = d.m.config.lm.vocab_size;
  float *last = f32(logits) + (logits->dim[1] - 1) * V;
  double total = log_sum_exp(last, V);
  for (int j = 0; j < BEAM; j++) {
    int best = 0;
    for (int v = 1; v < V; v++)
      if (last[v] > last[best]) best = v;
    assert_true(fabs(found[j].log_probability - (last[best] - total)) < 1e-5);
    last[best] = -INFINITY;
  }
  captions_free(found, BEAM);
  desk_free(&d);
}

/* Where one answer is far more probable than all others, every search finds it. */
static void test_all_searches_find_the_obvious(void **state) {
  (void)state;
  static const char *const pieces[] = {" two", " red", " cats"};
  desk d;
  tiny_script(&d.m, pieces, 3, true);
  d.c = ctx_new();
  d.pixels = tiny_pictures(1, 1);
  for (int beam = 1; beam <= 4; beam++) {
    caption got;
    say(&d, 0, 1, &(caption_options){.count = 1, .beam = beam, .max_tokens = TOKENS}, &got);
    assert_string_equal(got.text, "two red cats");
    assert_int_equal(got.tokens, 4);
    captions_free(&got, 1);
  }
  desk_free(&d);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

typedef struct {
  char text[8192];
  size_t n;
  int pieces, stop_after;
} listener;

static bool listen(void *user, const char *text, size_t n) {
  listener *l = user;
  assert_true(n > 0 && l->n + n < sizeof l->text);
  assert_true(utf8_valid(text, n)); /* each piece on its own */
  memcpy(l->text + l->n, text, n);
  l->n += n;
  return ++l->pieces != l->stop_after;
}

static void test_pieces_are_the_text(void **state) {
  (void)state;
  int damaged = 0, pieces = 0;
  for (uint64_t seed = 1; seed <= 12; seed++) {
    desk d;
    desk_new(&d, 40 + seed, seed % 2 ? TINY_WILD : TINY_TIDY);
    listener l = {.n = 0};
    caption_options o = greedy;
    o.on_token = listen;
    o.user = &l;
    o.max_tokens = 60;
    o.seed = seed;
    o.sample = (sample_options){.temperature = 1.5f, .top_p = 1};
    caption got;
    say(&d, 0, 1, &o, &got);
    l.text[l.n] = 0;
    assert_string_equal(l.text, got.text);
    assert_int_equal(strlen(got.text), l.n); /* no zero byte within */
    assert_true(utf8_valid(got.text, l.n));
    assert_null(strstr(got.text, "\n\n"));
    if (l.n) assert_true(!strchr(" \t\r\n", got.text[0]) && !strchr(" \t\r\n", got.text[l.n - 1]));
    damaged += strstr(got.text, "\xef\xbf\xbd") != NULL;
    pieces += l.pieces;
    captions_free(&got, 1);
    desk_free(&d);
  }
  assert_true(damaged > 0 && pieces > 40); /* wild bytes were met, and did not all come at the end */
}

static void test_texts(void **state) {
  static const struct {
    const char *piece[5], *text;
  } cases[] = {
      {{" a", " red", " cat"}, "a red cat"},
      {{" ", "\t", " x", "  y", " \n"}, "x  y"},
      {{" \n "}, ""},
      {{"a", "\nb"}, "a\nb"},
      {{"a", " \n", "\nb"}, "a"}, /* a blank line out of two tokens ends the text too */
      {{"\n", "\nx"}, ""},
      {{"\xc3", "\xa9"}, "\xc3\xa9"},
      {{"x", "\xc3"}, "x\xef\xbf\xbd"},
      {{"\xe2", "\x82", " z"}, "\xef\xbf\xbd z"},
  };
  (void)state;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (int stop = 0; stop < 2; stop++) {
      desk d;
      int n = 0;
      while (n < 5 && cases[k].piece[n]) n++;
      tiny_script(&d.m, cases[k].piece, n, stop);
      d.c = ctx_new();
      d.pixels = tiny_pictures(1, 1);
      listener l = {.n = 0};
      caption_options o = greedy;
      o.on_token = listen;
      o.user = &l;
      caption got;
      say(&d, 0, 1, &o, &got);
      l.text[l.n] = 0;
      assert_string_equal(got.text, cases[k].text);
      assert_string_equal(l.text, cases[k].text);
      assert_int_equal(got.tokens, n + 1);
      captions_free(&got, 1);
      desk_free(&d);
    }
}

static void test_the_reader_may_stop(void **state) {
  (void)state;
  desk d;
  desk_new(&d, 50, TINY_TIDY);
  listener l = {.stop_after = 2};
  caption_options o = greedy;
  o.on_token = listen;
  o.user = &l;
  caption got;
  const tensor x = pictures(&d, 0, 1);
  assert_int_equal(caption_pictures(d.c, &d.m, &x, &o, &got), STATUS_INTERRUPTED);
  assert_int_equal(last_status(), STATUS_INTERRUPTED);
  assert_int_equal(l.pieces, 2);
  assert_null(got.text);
  desk_free(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_greedy_is_the_argmax_of_full_recomputation),
      cmocka_unit_test(test_a_batch_is_its_pictures),
      cmocka_unit_test(test_longest_answer),
      cmocka_unit_test(test_samples),
      cmocka_unit_test(test_beams),
      cmocka_unit_test(test_several_answers_without_temperature),
      cmocka_unit_test(test_beam_of_first_tokens),
      cmocka_unit_test(test_all_searches_find_the_obvious),
      cmocka_unit_test(test_pieces_are_the_text),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_the_reader_may_stop),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
