/* Conversations: what a turn becomes, and that the state is the one that the format's tokens lead to, however replies
 * end. */
#include "lm/chat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"
#include "tests/support/tiny_text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MOST = 4000, LOGITS = 270, REPLY = 30, BLANK_LINE = TINY_BYTES + 1 };

static const char *const words[] = {"User:", "\n\n", ".\n\n", "\n\n\n", "\n\nxy", "Assistant:", " a"};
enum { WORDS = sizeof words / sizeof *words };

static text_model *model_of(void **state, int form, uint64_t seed) {
  rwkv_config k = tiny_rwkv_forms[form].config;
  k.vocab_size = LOGITS;
  return tiny_text_model(state, &k, seed, tiny_bytes_vocabulary(words, WORDS));
}

/* --- the format, once more ---------------------------------------------------------------------------------------- */

/* All tokens of a conversation so far, and a generation of its own that draws the replies one by one. */
typedef struct {
  generation g;
  int32_t ids[MOST];
  size_t n;
} script;

static void put_text(script *s, const char *text, size_t n) {
  const size_t count = tokenizer_encode(s->g.model->words, text, n, s->ids + s->n, MOST - s->n);
  assert_true(s->n + count <= MOST);
  assert_int_equal(generation_read(&s->g, s->ids + s->n, count), STATUS_OK);
  s->n += count;
}

static void put_string(script *s, const char *text) { put_text(s, text, strlen(text)); }

/* One reply by the definition: drawn tokens up to the blank line or an end; then exactly one blank line is in the
 * tokens. Returns how it ended, and its bytes. */
static generate_finish play_reply(script *s, const generate_options *o, char *reply, size_t *n) {
  *n = 0;
  for (int64_t drawn = 0; drawn < o->max_tokens; drawn++) {
    int32_t id;
    size_t length;
    if (generation_next(&s->g, &o->draw, &id)) fail_msg("%s", last_error());
    if (id == TOKENIZER_END) {
      put_string(s, "\n\n");
      return GENERATE_END;
    }
    const char *bytes = tokenizer_bytes(s->g.model->words, id, &length);
    memcpy(reply + *n, bytes, length);
    *n += length;
    s->ids[s->n++] = id;
    size_t at = 0;
    while (at + 1 < *n && memcmp(reply + at, "\n\n", 2)) at++;
    if (at + 1 >= *n) continue;
    const size_t before = *n - length, stop = at + 2;
    *n = stop - 2;
    if (stop == before + length) return GENERATE_STOP;
    s->n--; /* more than a blank line: bytes up to it instead, which begin in this token */
    s->g.n_waiting--;
    char part[8];
    memcpy(part, bytes, stop - before);
    put_text(s, part, stop - before);
    return GENERATE_STOP;
  }
  put_string(s, "\n\n");
  return GENERATE_LENGTH;
}

static void same_state(generation *a, generation *b) {
  assert_int_equal(generation_settle(a), STATUS_OK);
  assert_int_equal(generation_settle(b), STATUS_OK);
  assert_int_equal(a->state.tokens[0], b->state.tokens[0]);
  tiny_same("logits", a->logits, b->logits, LOGITS, 1e-3);
  tiny_same("state", a->state.memory, b->state.memory, rwkv_state_size(&a->state), 1e-3);
}

/* A fresh reading of all tokens leads there, too. */
static void same_as_tokens(generation *g, const script *s) {
  generation fresh;
  if (generation_new(&fresh, g->c, g->model) || generation_read(&fresh, s->ids, s->n)) fail_msg("%s", last_error());
  same_state(g, &fresh);
  generation_free(&fresh);
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

typedef struct {
  char text[UTF8_STREAM_ROOM(REPLY * 8) + UTF8_STREAM_ROOM(0)];
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

static void expect_text(const catcher *got, const char *reply, size_t n) {
  catcher want = {.n = 0};
  while (n && memchr(" \t\n\v\f\r", *reply, 6)) reply++, n--;
  utf8_stream stream = {.damage = UTF8_REPLACE};
  want.n = utf8_stream_push(&stream, reply, n, want.text);
  want.n += utf8_stream_finish(&stream, want.text + want.n);
  assert_int_equal(got->n, want.n);
  assert_memory_equal(got->text, want.text, want.n);
}

/* What makes replies end in all ways. */
static const logit_bias biases[] = {{TOKENIZER_END, 1},  {BLANK_LINE, 1}, {BLANK_LINE + 1, 1}, {BLANK_LINE + 2, 1},
                                    {BLANK_LINE + 3, 1}, {1 + '\n', 3},   {BLANK_LINE + 5, 2}, {1 + ' ', 1}};

static generate_options options_of(catcher *to, uint64_t seed) {
  generate_options o = {.draw = chat_draw_defaults(), .max_tokens = REPLY, .on_text = catch, .user = to};
  o.draw.sample.top_p = 0.9f;
  o.draw.bias = biases;
  o.draw.n_bias = sizeof biases / sizeof *biases;
  o.draw.seed = seed;
  return o;
}

static void test_state_is_the_format(void **state) {
  static const char *const questions[] = {"hi", "What is\r\n\r\n\na linnet?  ", " \nno \xff UTF-8", "why\n\n\n\nso?"},
                           *const turns[] = {"User: hi\n\nAssistant:", "User: What is\na linnet?\n\nAssistant:",
                                             "User: no \xff UTF-8\n\nAssistant:", "User: why\nso?\n\nAssistant:"};
  int finishes[4] = {0}, beyond = 0;
  for (int form = 0; form < TINY_RWKV_FORMS; form++)
    for (uint64_t seed = 0; seed < 6; seed++) {
      text_model *m = model_of(state, form, seed);
      ctx *c = tiny_context();
      generation g;
      script s = {.n = 0};
      if (generation_new(&g, c, m) || generation_new(&s.g, c, m)) fail_msg("%s", last_error());
      if (seed % 2) {
        assert_int_equal(chat_system(&g, " Be\n\nbrief.\n", 12), STATUS_OK);
        put_string(&s, "System: Be\nbrief.\n\n");
      }
      for (int turn = 0; turn < 4; turn++) {
        catcher to = {.n = 0};
        const generate_options o = options_of(&to, seed);
        char reply[8 * REPLY];
        size_t n, tokens, before = s.n;
        generate_result r;
        assert_int_equal(chat_ask(&g, questions[turn], strlen(questions[turn]), &tokens), STATUS_OK);
        put_string(&s, turns[turn]);
        assert_int_equal(tokens, s.n - before);
        if (chat_reply(&g, &o, &r)) fail_msg("%s", last_error());
        assert_int_equal(r.finish, play_reply(&s, &o, reply, &n));
        expect_text(&to, reply, n);
        same_state(&g, &s.g);
        finishes[r.finish]++;
        beyond += r.beyond > 0;
      }
      same_as_tokens(&g, &s);
      assert_int_equal(chat_system(&g, "late", 4), STATUS_ARGUMENT);
      generation_free(&g);
      generation_free(&s.g);
      ctx_free(c);
      text_model_close(m);
    }
  assert_true(finishes[GENERATE_STOP] > 20 && finishes[GENERATE_END] > 5 && finishes[GENERATE_LENGTH] > 5);
  assert_true(beyond > 5 && beyond < finishes[GENERATE_STOP]);
}

/* A reply that was interrupted is a turn like any other. */
static void test_interrupted(void **state) {
  text_model *m = model_of(state, TINY_RWKV_7, 3);
  ctx *c = tiny_context();
  generation g;
  generate_result r;
  size_t tokens;
  catcher to = {.most = 3};
  generate_options o = options_of(&to, 1);
  logit_bias no_end[] = {{TOKENIZER_END, -INFINITY},  {1 + '\n', -INFINITY},       {BLANK_LINE, -INFINITY},
                         {BLANK_LINE + 1, -INFINITY}, {BLANK_LINE + 2, -INFINITY}, {BLANK_LINE + 3, -INFINITY}};
  o.draw.bias = no_end;
  o.draw.n_bias = 6;
  if (generation_new(&g, c, m)) fail_msg("%s", last_error());
  assert_int_equal(chat_ask(&g, "hi", 2, &tokens), STATUS_OK);
  assert_int_equal(chat_reply(&g, &o, &r), STATUS_OK);
  assert_int_equal(r.finish, GENERATE_INTERRUPTED);
  assert_int_equal(r.tokens, 3);
  assert_int_equal(g.waiting[g.n_waiting - 1], BLANK_LINE);
  assert_int_equal(generation_settle(&g), STATUS_OK);
  assert_int_equal(g.state.tokens[0], tokens + 3 + 1);
  generation_free(&g);
  ctx_free(c);
  text_model_close(m);
}

/* --- cleaning ----------------------------------------------------------------------------------------------------- */

static void test_clean(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"", ""},
      {" \t\r\n\v\f", ""},
      {"a", "a"},
      {" a ", "a"},
      {"a\n\n\nb\n", "a\nb"},
      {"a\r\n\r\nb\r\n", "a\nb"},
      {"a\r\n\n\r\nb", "a\nb"},
      {"a\rb\n \nc", "a\rb\n \nc"},
      {"\n\na\n\n", "a"},
      {"a\r", "a"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[32];
    strcpy(text, cases[i][0]);
    const size_t n = chat_clean(text, strlen(text));
    assert_int_equal(n, strlen(cases[i][1]));
    assert_memory_equal(text, cases[i][1], n);
  }
  char zeros[] = {' ', 0, '\n', '\n', 0, ' '};
  assert_int_equal(chat_clean(zeros, sizeof zeros), 3);
  assert_memory_equal(zeros, "\0\n\0", 3);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_FOLDER(test_state_is_the_format),
      WITH_FOLDER(test_interrupted),
      cmocka_unit_test(test_clean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
