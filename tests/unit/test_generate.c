/* Text models from files, and generation: against forward passes over whole texts, by seed, saved and continued, with
 * stop texts, and what must be refused. */
#include "lm/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_captioner.h"
#include "tests/support/tiny_rwkv.h"
#include "tests/support/tiny_text.h"
#include "weights/convert.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TOKENS = TINY_BYTES, LOGITS = 260, MOST = 80 };

/* --- models ------------------------------------------------------------------------------------------------------- */

static rwkv_config wide(int form) {
  rwkv_config k = tiny_rwkv_forms[form].config;
  k.vocab_size = LOGITS;
  return k;
}

static text_model *model_of(void **state, const rwkv_config *k, uint64_t seed) {
  return tiny_text_model(state, k, seed, tiny_bytes_vocabulary(NULL, 0));
}

static void begin(generation *g, ctx *c, const text_model *m, const char *prompt, size_t n) {
  int32_t ids[1024];
  const size_t count = tokenizer_encode(m->words, prompt, n, ids, 1024);
  assert_int_equal(count, n);
  if (generation_new(g, c, m) || generation_read(g, ids, count)) fail_msg("%s", last_error());
}

static void draw(generation *g, const generation_draw *how, int32_t *ids, int n) {
  for (int i = 0; i < n; i++)
    if (generation_next(g, how, ids + i)) fail_msg("%s", last_error());
}

/* What a generation gives out. */
typedef struct {
  char text[3 * MOST * 2];
  size_t n;
  int calls, most; /* refuses from call `most` on; 0 = never */
} catcher;

static bool catch (void *user, const char *text, size_t n) {
  catcher *to = user;
  assert_true(to->n + n <= sizeof to->text);
  assert_true(utf8_valid(text, n));
  memcpy(to->text + to->n, text, n);
  to->n += n;
  return ++to->calls != to->most;
}

static void go_on(generation *g, const generate_options *o, generate_result *r) {
  if (generate(g, o, r)) fail_msg("%s", last_error());
}

static const char prompt[] = "\xff\0 a\xc3\xa9 \xed\xa0\x80 42\n"; /* no UTF-8, and a zero byte */
enum { PROMPT = sizeof prompt - 1 };
static const generation_draw greedy = {.sample = {.temperature = 0, .top_p = 1}, .penalty = {.decay = 1}};

/* --- what is drawn ------------------------------------------------------------------------------------------------ */

/* The likeliest token after ids[0..n), by a pass over all of them without a state. */
static int32_t likeliest(ctx *c, const text_model *m, int32_t *ids, int64_t n) {
  const arena_mark mark = arena_here(c->memory);
  tensor *all = tensor_wrap(c, DTYPE_I32, ids, 2, (int64_t[]){1, n});
  tensor *x = rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, all), NULL);
  tensor *y = rwkv_logits(c, &m->lm, rwkv_last(c, x, NULL));
  assert_non_null(y);
  int32_t best = 0;
  for (int32_t i = 1; i < LOGITS; i++)
    if (f32(y)[i] > f32(y)[best]) best = i;
  arena_release(c->memory, mark);
  return best;
}

static void test_greedy_is_stepwise_largest(void **state) {
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config k = wide(form);
    text_model *m = model_of(state, &k, 3);
    ctx *c = tiny_context();
    generation g;
    int32_t ids[PROMPT + 20], got;
    begin(&g, c, m, prompt, PROMPT);
    tokenizer_encode(m->words, prompt, PROMPT, ids, PROMPT);
    for (int n = PROMPT; n < PROMPT + 20; n++) {
      ids[n] = likeliest(c, m, ids, n);
      draw(&g, &greedy, &got, 1);
      assert_int_equal(got, ids[n]);
      if (got == TOKENIZER_END) break;
    }
    generation_free(&g);
    ctx_free(c);
    text_model_close(m);
  }
}

/* Without a prompt a text begins after the token that ends one. */
static void test_no_prompt(void **state) {
  const rwkv_config k = wide(TINY_RWKV_7);
  text_model *m = model_of(state, &k, 4);
  ctx *c = tiny_context();
  generation g;
  int32_t end = TOKENIZER_END, got;
  begin(&g, c, m, "", 0);
  draw(&g, &greedy, &got, 1);
  assert_int_equal(got, likeliest(c, m, &end, 1));
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

static void test_seed(void **state) {
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config k = wide(form);
    text_model *m = model_of(state, &k, 5);
    ctx *c = tiny_context();
    int32_t ids[3][30];
    for (int i = 0; i < 3; i++) {
      generation g;
      generation_draw how = generation_draw_defaults();
      how.seed = i < 2 ? 7 : 8;
      begin(&g, c, m, prompt, PROMPT);
      draw(&g, &how, ids[i], 30);
      generation_free(&g);
    }
    assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
    assert_memory_not_equal(ids[0], ids[2], sizeof ids[0]);
    ctx_free(c);
    text_model_close(m);
  }
}

static void test_penalties(void **state) {
  const rwkv_config k = wide(TINY_RWKV_6);
  text_model *m = model_of(state, &k, 6);
  ctx *c = tiny_context();
  generation g;
  generation_draw how = greedy;
  int32_t ids[60];
  how.penalty.presence = 100;
  begin(&g, c, m, prompt, PROMPT);
  draw(&g, &how, ids, 60);
  for (int i = 0; i < 60; i++)
    for (int j = 0; j < i; j++) assert_true(ids[i] != ids[j] || ids[i] == TOKENIZER_END);
  /* A new prompt begins with nothing said. */
  const int32_t id = 1;
  assert_int_equal(generation_read(&g, &id, 1), STATUS_OK);
  for (int i = 0; i < LOGITS; i++) assert_true(g.said.count[i] < 0);
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

/* A prompt of many chunks leaves what one pass over it gives. */
static bool count_calls(void *user, size_t done, size_t n) {
  assert_true(done < n);
  return --*(int *)user > 0;
}

static void test_long_prompt(void **state) {
  char text[1000];
  rng r = rng_make(1, 1);
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)rng_below(&r, 256);
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config k = wide(form);
    text_model *m = model_of(state, &k, 7);
    ctx *c = tiny_context();
    int32_t ids[sizeof text];
    generation g;
    begin(&g, c, m, text, sizeof text);
    tokenizer_encode(m->words, text, sizeof text, ids, sizeof text);
    tensor *all = tensor_wrap(c, DTYPE_I32, ids, 2, (int64_t[]){1, sizeof text});
    tensor *x = rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, all), NULL);
    assert_int_equal(generation_settle(&g), STATUS_OK);
    assert_int_equal(generation_settle(&g), STATUS_OK); /* nothing waits */
    tiny_same("logits", g.logits, f32(rwkv_logits(c, &m->lm, rwkv_last(c, x, NULL))), LOGITS, 1e-4);
    int calls = 3;
    g.progress = count_calls;
    g.progress_user = &calls;
    assert_int_equal(generation_read(&g, ids, sizeof text), STATUS_INTERRUPTED);
    assert_int_equal(g.state.tokens[0], sizeof text + 2 * RWKV_CHUNK);
    generation_free(&g);
    ctx_free(c);
    text_model_close(m);
  }
}

/* --- where it ends ------------------------------------------------------------------------------------------------ */

static void test_stop_texts(void **state) {
  int cut = 0;
  for (uint64_t seed = 0; seed < 40; seed++) {
    const rwkv_config k = wide((int)(seed % TINY_RWKV_FORMS));
    text_model *m = model_of(state, &k, seed);
    ctx *c = tiny_context();
    generation g;
    int32_t ids[MOST];
    char bytes[MOST], stop[3] = "";
    generate_options o = {.draw = generation_draw_defaults(), .max_tokens = MOST, .on_text = catch};
    begin(&g, c, m, prompt, PROMPT);
    draw(&g, &o.draw, ids, MOST);
    generation_free(&g);
    size_t n = 0, at = 0;
    for (int i = 0; i < MOST && ids[i] > 0 && ids[i] < TOKENS; i++) bytes[n++] = (char)(ids[i] - 1);
    for (size_t i = 4; i + 1 < n && !*stop; i++)
      if (bytes[i] && bytes[i + 1]) memcpy(stop, bytes + i, 2);
    while (at + 1 < n && memcmp(bytes + at, stop, 2)) at++;
    const char *const stops[] = {"never said at all", stop};
    if (*stop) {
      char want[UTF8_STREAM_ROOM(MOST) * 2];
      utf8_stream stream = {.damage = UTF8_REPLACE};
      size_t wanted = utf8_stream_push(&stream, bytes, at, want);
      wanted += utf8_stream_finish(&stream, want + wanted);
      catcher to = {.n = 0};
      generate_result r;
      o.stop = stops;
      o.n_stop = 2;
      o.user = &to;
      begin(&g, c, m, prompt, PROMPT);
      go_on(&g, &o, &r);
      assert_int_equal(r.finish, GENERATE_STOP);
      assert_int_equal(r.tokens, at + 2);
      assert_int_equal(to.n, wanted);
      assert_memory_equal(to.text, want, wanted);
      generation_free(&g);
      cut++;
    }
    ctx_free(c);
    text_model_close(m);
  }
  assert_true(cut > 20);
}

static void test_ends(void **state) {
  const rwkv_config k = wide(TINY_RWKV_7);
  text_model *m = model_of(state, &k, 9);
  ctx *c = tiny_context();
  generation g;
  generate_result r;
  catcher to = {.n = 0};
  generate_options o = {.draw = greedy, .max_tokens = 0, .on_text = catch, .user = &to};
  begin(&g, c, m, prompt, PROMPT);
  go_on(&g, &o, &r);
  assert_int_equal(r.finish, GENERATE_LENGTH);
  assert_int_equal(r.tokens, 0);
  assert_int_equal(to.n, 0);
  assert_int_equal(generation_settle(&g), STATUS_OK);
  assert_int_equal(g.state.tokens[0], PROMPT);

  o.max_tokens = -1;
  o.draw.sample.temperature = 1;
  to = (catcher){.most = 5};
  go_on(&g, &o, &r);
  assert_int_equal(r.finish, GENERATE_INTERRUPTED);
  assert_int_equal(r.tokens, 5);

  o.draw.sample.temperature = 100; /* any token alike: the end comes too */
  o.on_text = NULL;
  go_on(&g, &o, &r);
  assert_int_equal(r.finish, GENERATE_END);
  const int64_t read = g.state.tokens[0];
  assert_int_equal(read, PROMPT + 5 + r.tokens);
  go_on(&g, &o, &r); /* the end is no part of the text: it is where it was */
  assert_int_equal(r.finish, GENERATE_END);
  assert_int_equal(r.tokens, 0);
  assert_int_equal(g.state.tokens[0], read);

  const char *const empty[] = {""};
  o.stop = empty;
  o.n_stop = 1;
  assert_int_equal(generate(&g, &o, &r), STATUS_ARGUMENT);
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

/* --- biases ------------------------------------------------------------------------------------------------------- */

static void test_biases(void **state) {
  const rwkv_config k = wide(TINY_RWKV_6);
  text_model *m = model_of(state, &k, 20);
  ctx *c = tiny_context();
  generation g;
  generation_draw how = greedy;
  int32_t first, second, got;
  begin(&g, c, m, prompt, PROMPT);
  draw(&g, &how, &first, 1);
  g.n_waiting = 0; /* not read: the next draw is of the same logits */
  logit_bias bias[LOGITS] = {{first, -INFINITY}, {(first + 1) % LOGITS, 1e6f}};
  how.bias = bias;
  how.n_bias = 1;
  draw(&g, &how, &second, 1);
  g.n_waiting = 0;
  for (int32_t i = 0; i < LOGITS; i++) assert_true(i == first || g.logits[i] <= g.logits[second]);
  assert_int_not_equal(first, second);
  how.n_bias = 2;
  draw(&g, &how, &got, 1);
  g.n_waiting = 0;
  assert_int_equal(got, bias[1].id);
  bias[0] = (logit_bias){first, g.logits[second] - g.logits[first] + 1e-3f}; /* still the first, by a little */
  how.n_bias = 1;
  draw(&g, &how, &got, 1);
  g.n_waiting = 0;
  assert_int_equal(got, first);

  const logit_bias wrong[] = {{-1, 0}, {LOGITS, 0}, {3, INFINITY}, {3, NAN}};
  for (int i = 0; i < 4; i++) {
    how.bias = &wrong[i];
    assert_int_equal(generation_next(&g, &how, &got), STATUS_ARGUMENT);
    generate_result r;
    assert_int_equal(generate(&g, &(generate_options){.draw = how, .max_tokens = 1}, &r), STATUS_ARGUMENT);
  }
  for (int32_t i = 0; i < LOGITS; i++) bias[i] = (logit_bias){i, -INFINITY};
  how.bias = bias;
  how.n_bias = LOGITS;
  for (int hot = 0; hot < 2; hot++) {
    how.sample.temperature = (float)hot;
    assert_int_equal(generation_next(&g, &how, &got), STATUS_ARGUMENT);
    assert_non_null(strstr(last_error(), "forbidden"));
  }
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

/* How far a token goes beyond a stop text. */
static void test_beyond(void **state) {
  static const char *const words[] = {"yxab"};
  const char *const stop = "x";
  rwkv_config k = wide(TINY_RWKV_6);
  text_model *m = tiny_text_model(state, &k, 24, tiny_bytes_vocabulary(words, 1));
  ctx *c = tiny_context();
  const logit_bias only = {TINY_BYTES, 1e6f};
  catcher to = {.n = 0};
  generate_options o = {.draw = greedy, .max_tokens = 5, .stop = &stop, .n_stop = 1, .on_text = catch, .user = &to};
  generate_result r;
  generation g;
  o.draw.bias = &only;
  o.draw.n_bias = 1;
  begin(&g, c, m, prompt, PROMPT);
  go_on(&g, &o, &r);
  assert_int_equal(r.finish, GENERATE_STOP);
  assert_int_equal(r.tokens, 1);
  assert_int_equal(r.beyond, 2);
  assert_int_equal(to.n, 1);
  assert_int_equal(to.text[0], 'y');
  assert_int_equal(g.n_waiting, 1);
  assert_int_equal(g.waiting[0], TINY_BYTES);
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

/* --- saved and continued ------------------------------------------------------------------------------------------ */

static void test_continues(void **state) {
  char *path = scratch_path(state, "text.state");
  for (int form = 0; form < TINY_RWKV_FORMS; form++)
    for (int first = 0; first < 12; first += 11) { /* saved before anything was drawn, too */
      const rwkv_config k = wide(form);
      text_model *m = model_of(state, &k, 10);
      ctx *c = tiny_context();
      generation_draw how = generation_draw_defaults();
      int32_t whole[40], parts[40];
      generation g;
      begin(&g, c, m, prompt, PROMPT);
      draw(&g, &how, whole, 40);
      generation_free(&g);
      begin(&g, c, m, prompt, PROMPT);
      draw(&g, &how, parts, first);
      if (generation_save(&g, path)) fail_msg("%s", last_error());
      draw(&g, &how, parts + first, 40 - first); /* saving changes nothing */
      assert_memory_equal(whole, parts, sizeof whole);
      generation_free(&g);
      begin(&g, c, m, "another", 7);
      draw(&g, &how, parts, 3);
      if (generation_load(&g, path)) fail_msg("%s", last_error());
      memcpy(parts, whole, (size_t)first * sizeof *parts);
      draw(&g, &how, parts + first, 40 - first);
      assert_memory_equal(whole, parts, sizeof whole);
      generation_free(&g);
      ctx_free(c);
      text_model_close(m);
    }
  free(path);
}

/* Refused by a sentence that holds `word`, and g goes on as before. */
static void refuses(generation *g, const char *path, const char *word) {
  generation_draw how = greedy;
  int32_t want, got;
  draw(g, &how, &want, 1);
  g->n_waiting = 0; /* not read: the next draw is the same */
  assert_int_equal(generation_load(g, path), STATUS_FORMAT);
  if (!strstr(last_error(), word)) fail_msg("'%s' does not say '%s'", last_error(), word);
  draw(g, &how, &got, 1);
  g->n_waiting = 0;
  assert_int_equal(got, want);
}

static void test_foreign_states(void **state) {
  char *path = scratch_path(state, "text.state");
  rwkv_config k = wide(TINY_RWKV_6), narrow = k, other = wide(TINY_RWKV_7);
  narrow.vocab_size = LOGITS - 1;
  const rwkv_config of[] = {k, narrow, other};
  const uint64_t seed[] = {12, 11, 11};
  const char *const says[] = {"another model", "259", "version"};
  text_model *m = model_of(state, &k, 11);
  ctx *c = tiny_context();
  generation g, foreign;
  begin(&g, c, m, prompt, PROMPT);
  for (int i = 0; i < 3; i++) {
    text_model *from = model_of(state, of + i, seed[i]);
    begin(&foreign, c, from, prompt, PROMPT);
    assert_int_equal(generation_save(&foreign, path), STATUS_OK);
    generation_free(&foreign);
    text_model_close(from);
    refuses(&g, path, says[i]);
  }
  begin(&foreign, c, m, prompt, PROMPT);
  assert_int_equal(generation_save(&foreign, path), STATUS_OK);
  generation_free(&foreign);
  size_t n;
  char *good = scratch_read(path, &n);
  for (size_t cut = 0; cut < n; cut += cut < 64 ? 1 : 997) {
    scratch_write(path, good, cut);
    refuses(&g, path, "text.state");
  }
  const size_t among[] = {12, 12 + 4 * LOGITS, n - 4}; /* the logits, the counts, the state */
  for (int i = 0; i < 3; i++) {
    char kept[4];
    memcpy(kept, good + among[i], sizeof kept);
    memset(good + among[i], 0xff, sizeof kept);
    scratch_write(path, good, n);
    refuses(&g, path, "NaN");
    memcpy(good + among[i], kept, sizeof kept);
  }
  assert_int_equal(generation_load(&g, "nowhere/text.state"), STATUS_IO);
  free(good);
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
  free(path);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void test_vocabularies(void **state) {
  const rwkv_config k = wide(TINY_RWKV_5);
  static const char *const words[] = {"ab", "ac", "ad", "ae", "af", "ag", "ah"};
  char *bytes = tiny_bytes_vocabulary(NULL, 0), *larger = tiny_bytes_vocabulary(words, 7),
       *path = tiny_text_file(state, "none.gguf", &k, 1, NULL), *own = tiny_text_file(state, "own.gguf", &k, 1, larger),
       *file = scratch_path(state, "vocabulary.txt");
  assert_null(text_model_open(path, NULL));
  assert_non_null(strstr(last_error(), "--vocab"));
  scratch_write(file, larger, strlen(larger));
  assert_null(text_model_open(path, file)); /* 264 of 260 */
  assert_int_equal(last_status(), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "264"));
  assert_non_null(strstr(last_error(), "260"));
  assert_null(text_model_open(own, NULL));
  assert_non_null(strstr(last_error(), "264"));
  assert_null(text_model_open(path, "nowhere.txt"));
  assert_int_equal(last_status(), STATUS_IO);
  scratch_write(file, bytes, strlen(bytes));
  text_model *m = text_model_open(own, file); /* a given one comes before the model's own */
  assert_non_null(m);
  assert_int_equal(tokenizer_size(m->words), TOKENS);
  text_model_close(m);
  assert_null(text_model_open(file, NULL));
  free(bytes), free(larger), free(path), free(own), free(file);
}

static const char *word(const void *words, int32_t id, size_t *n) { return tokenizer_bytes(words, id, n); }

/* A file in llama.cpp's layout carries its vocabulary in llama.cpp's way, and says the same. */
static void test_llama_layout(void **state) {
  const params_file what = {.type = CHECKPOINT_F32};
  char *vocabulary = tiny_bytes_vocabulary(NULL, 0), *from = scratch_path(state, "official.gguf"),
       *to = scratch_path(state, "llama.gguf"), *file = scratch_path(state, "vocabulary.txt");
  scratch_write(file, vocabulary, strlen(vocabulary));
  for (int form = TINY_RWKV_6; form <= TINY_RWKV_7; form++) {
    const rwkv_config k = wide(form);
    tiny_rwkv made = {.set = {0}};
    if (rwkv_new(&made.lm, &k, "", &made.set) || params_allocate(&made.set)) fail_msg("%s", last_error());
    tiny_disturb(&made.set, 5);
    assert_int_equal(params_save(&made.set, from, &what), STATUS_OK);
    tiny_rwkv_free(&made);
    text_model *m = text_model_open(from, file);
    checkpoint *in = checkpoint_open(from);
    assert_true(m && in);
    const llama_layout_options llama = {.token = word, .token_self = m->words, .tokens = LOGITS};
    convert_report report;
    if (convert(in, to, &(convert_options){.llama = &llama}, &report)) fail_msg("%s", last_error());
    checkpoint_close(in);
    text_model *there = text_model_open(to, NULL);
    if (!there) fail_msg("%s", last_error());
    ctx *c = tiny_context();
    int32_t want[20], got[20];
    generation g;
    begin(&g, c, m, prompt, PROMPT);
    draw(&g, &greedy, want, 20);
    generation_free(&g);
    begin(&g, c, there, prompt, PROMPT);
    draw(&g, &greedy, got, 20);
    generation_free(&g);
    assert_memory_equal(got, want, sizeof want);
    ctx_free(c);
    text_model_close(m);
    text_model_close(there);
  }
  free(vocabulary), free(from), free(to), free(file);
}

static void test_no_text_model(void **state) {
  char *path = scratch_path(state, "other.safetensors");
  tiny_rwkv m;
  const rwkv_config k = wide(TINY_RWKV_6);
  tiny_rwkv_new(&m, &k, 1);
  for (size_t i = 0; i < m.set.n; i++)
    if (strstr(m.set.item[i].name, "head.weight")) m.set.item[i].name[0] = 'u';
  const params_file what = {.type = CHECKPOINT_F32};
  assert_int_equal(params_save(&m.set, path, &what), STATUS_OK);
  assert_null(text_model_open(path, NULL));
  assert_int_equal(last_status(), STATUS_UNSUPPORTED);
  tiny_rwkv_free(&m);
  free(path);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_FOLDER(test_greedy_is_stepwise_largest),
      WITH_FOLDER(test_no_prompt),
      WITH_FOLDER(test_seed),
      WITH_FOLDER(test_penalties),
      WITH_FOLDER(test_long_prompt),
      WITH_FOLDER(test_stop_texts),
      WITH_FOLDER(test_ends),
      WITH_FOLDER(test_beyond),
      WITH_FOLDER(test_biases),
      WITH_FOLDER(test_continues),
      WITH_FOLDER(test_foreign_states),
      WITH_FOLDER(test_vocabularies),
      WITH_FOLDER(test_llama_layout),
      WITH_FOLDER(test_no_text_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
