/* Texts that go on together, and forks: each is what it is alone. */
#include <string.h>

#include "lm/generate.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"
#include "tests/support/tiny_text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LOGITS = 260, TEXTS = 11, LONGEST = 700 };

static text_model *model_of(void **state, int form, uint64_t seed) {
  rwkv_config k = tiny_rwkv_forms[form].config;
  k.vocab_size = LOGITS;
  return tiny_text_model(state, &k, seed, tiny_bytes_vocabulary(NULL, 0));
}

static void begin(generation *g, ctx *c, const text_model *m, const char *prompt, size_t n) {
  size_t tokens = 0;
  if (generation_new(g, c, m) || generation_read_text(g, prompt, n, &tokens)) fail_msg("%s", last_error());
  assert_int_equal(tokens, n);
}

static void draw(generation *g, const generation_draw *how, int32_t *ids, int n) {
  for (int i = 0; i < n; i++)
    if (generation_next(g, how, ids + i)) fail_msg("%s", last_error());
}

/* What a text gives out. */
typedef struct {
  char text[512];
  size_t n;
  int calls, most; /* refuses call `most`; 0 = never */
} catcher;

static bool catch (void *user, const char *text, size_t n) {
  catcher *to = user;
  assert_true(to->n + n <= sizeof to->text);
  memcpy(to->text + to->n, text, n);
  to->n += n;
  return ++to->calls != to->most;
}

/* Prompts around the borders of chunks, from nothing on. */
static const size_t lengths[TEXTS] = {3, 300, 0, 1, 17, 257, LONGEST, 256, 2, 512, 40};

typedef struct {
  generation g;
  generate_text text;
  catcher to;
  bool ended;
} one_text;

typedef struct {
  one_text *all;
  int next, n_ended;
  int pauses; /* says now and then that there is none at the moment */
} texts;

static status next_text(void *user, generate_text **text) {
  texts *t = user;
  *text = NULL;
  if (t->next == TEXTS || (t->next > 2 && t->pauses-- % 2)) return STATUS_OK;
  *text = &t->all[t->next++].text;
  return STATUS_OK;
}

static void text_ended(void *user, generate_text *text) {
  texts *t = user;
  t->n_ended++;
  for (int i = 0; i < TEXTS; i++)
    if (text == &t->all[i].text) t->all[i].ended = true;
}

static void begin_text(one_text *t, int i, ctx *c, const text_model *m, const char *all) {
  static const char *const stop[] = {"e", "\xff"};
  *t = (one_text){.to.most = i == 4 ? 3 : 0};
  begin(&t->g, c, m, all + i, lengths[i]);
  t->text = (generate_text){.g = &t->g,
                            .options = {.draw = generation_draw_defaults(),
                                        .max_tokens = i == 1 ? 0 : 5 + 7 * (i % 5),
                                        .stop = stop,
                                        .n_stop = i % 2 ? 2 : 0,
                                        .on_text = catch,
                                        .user = &t->to}};
  t->text.options.draw.seed = (uint64_t)i % 3;
}

static void same_text(const one_text *a, const one_text *b) {
  assert_int_equal(a->to.n, b->to.n);
  assert_memory_equal(a->to.text, b->to.text, a->to.n);
  assert_int_equal(a->to.calls, b->to.calls);
  assert_int_equal(a->text.result.tokens, b->text.result.tokens);
  assert_int_equal(a->text.result.finish, b->text.result.finish);
  assert_int_equal(a->text.result.beyond, b->text.result.beyond);
  assert_int_equal(a->g.n_waiting, b->g.n_waiting);
  assert_memory_equal(a->g.waiting, b->g.waiting, (size_t)a->g.n_waiting * sizeof *a->g.waiting);
  assert_int_equal(a->g.state.tokens[0], b->g.state.tokens[0]);
  tiny_same("state", a->g.state.memory, b->g.state.memory, rwkv_state_size(&a->g.state), 1e-4);
}

/* Each of many is what it is alone, and goes on alike afterwards. */
static void test_many(void **state) {
  char all[LONGEST + TEXTS];
  rng r = rng_make(1, 2);
  for (size_t i = 0; i < sizeof all; i++) all[i] = (char)rng_below(&r, 256);
  int finishes[4] = {0};
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    text_model *m = model_of(state, form, 21);
    ctx *c = tiny_context();
    static one_text alone[TEXTS], many[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
      begin_text(&alone[i], i, c, m, all);
      if (generate(&alone[i].g, &alone[i].text.options, &alone[i].text.result)) fail_msg("%s", last_error());
      finishes[alone[i].text.result.finish]++;
    }
    for (int most = 1; most <= TEXTS + 1; most += 1 + most / 2) {
      texts t = {.all = many, .pauses = most % 2 ? 0 : 40};
      for (int i = 0; i < TEXTS; i++) begin_text(&many[i], i, c, m, all);
      if (generate_many(most, &(generate_source){next_text, text_ended, &t})) fail_msg("%s", last_error());
      while (t.next < TEXTS) /* it ends where there is nothing to do for the moment */
        if (generate_many(most, &(generate_source){next_text, text_ended, &t})) fail_msg("%s", last_error());
      assert_int_equal(t.n_ended, TEXTS);
      for (int i = 0; i < TEXTS; i++) {
        assert_true(many[i].ended);
        same_text(&many[i], &alone[i]);
        generation_free(&many[i].g);
      }
    }
    for (int i = 0; i < TEXTS; i++) generation_free(&alone[i].g);
    ctx_free(c);
    text_model_close(m);
  }
  assert_true(finishes[GENERATE_LENGTH] && finishes[GENERATE_STOP] && finishes[GENERATE_INTERRUPTED]);
}

static status failing_text(void *user, generate_text **text) {
  texts *t = user;
  *text = t->next < 3 ? &t->all[t->next].text : NULL;
  return t->next++ < 3 ? STATUS_OK : (fail)(STATUS_IO, "no more") /* cmocka has a macro of this name */;
}

/* A failure ends all, and leaves every text to its owner. */
static void test_many_fail(void **state) {
  text_model *m = model_of(state, TINY_RWKV_7, 22);
  ctx *c = tiny_context();
  char all[LONGEST + TEXTS] = "";
  one_text some[TEXTS];
  texts t = {.all = some};
  for (int i = 0; i < 3; i++) begin_text(&some[i], i, c, m, all);
  assert_int_equal(generate_many(4, &(generate_source){failing_text, text_ended, &t}), STATUS_IO);
  assert_int_equal(t.n_ended, 0);
  t = (texts){.all = some};
  some[2].text.options.draw.n_bias = 1;
  some[2].text.options.draw.bias = &(logit_bias){-1, 0};
  assert_int_equal(generate_many(3, &(generate_source){failing_text, text_ended, &t}), STATUS_ARGUMENT);
  for (int i = 0; i < 3; i++) generation_free(&some[i].g);
  ctx_free(c);
  text_model_close(m);
}

/* A fork goes on as its origin does, and neither touches the other. */
static void test_forks(void **state) {
  text_model *m = model_of(state, TINY_RWKV_7, 23);
  ctx *c = tiny_context();
  const generation_draw how = generation_draw_defaults();
  generation g, fork[3];
  int32_t want[30], got[30];
  begin(&g, c, m, "a prompt", 8);
  assert_int_equal(generation_fork(&fork[0], &g), STATUS_OK); /* before anything was read */
  draw(&g, &how, want, 10);
  assert_int_equal(generation_fork(&fork[1], &g), STATUS_OK); /* a token waits */
  assert_int_equal(generation_settle(&g), STATUS_OK);
  assert_int_equal(generation_fork(&fork[2], &g), STATUS_OK);
  draw(&g, &how, want + 10, 20);
  for (int i = 0; i < 3; i++) {
    const int from = i ? 10 : 0;
    draw(&fork[i], &how, got, 30 - from);
    assert_memory_equal(got, want + from, (size_t)(30 - from) * sizeof *got);
    generation_free(&fork[i]);
  }
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_FOLDER(test_many),
      WITH_FOLDER(test_many_fail),
      WITH_FOLDER(test_forks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
