/* The shipped text model says what llama.cpp says with the same weights: tests/records/llama_greedy.tsv, whose head
 * says how it was made. Where llama.cpp's two largest logits lie closer together than MARGIN, its rounding may choose
 * otherwise than ours; its choice is read on in either case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lm/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MODEL "weights/text.gguf"
#define RECORD "tests/records/llama_greedy.tsv"
static const double MARGIN = 0.05;
enum { LINE = 1 << 16, PROMPT = 256, TOKENS = 64 };

typedef struct {
  const text_model *model;
  ctx *c;
  rwkv_state state;
  float *logits;
  int compared, close; /* of the text so far */
} text;

static void say(text *t, const int32_t *ids, int64_t n) {
  assert_int_equal(rwkv_read(t->c, &t->model->lm, ids, n, NULL, RWKV_CHUNK, &t->state, t->logits), STATUS_OK);
}

static int32_t likeliest(const text *t) {
  int32_t best = 0;
  for (int32_t i = 1; i < t->model->lm.config.vocab_size; i++)
    if (t->logits[i] > t->logits[best]) best = i;
  return best;
}

/* "prompt<TAB>" and the prompt's ids. */
static void begin(text *t, const char *ids) {
  int32_t prompt[PROMPT];
  int64_t n = 0;
  char *end;
  for (long id; id = strtol(ids, &end, 10), end != ids; ids = end) {
    assert_true(n < PROMPT);
    prompt[n++] = (int32_t)id;
  }
  rwkv_state_start(&t->state, &t->model->lm);
  say(t, prompt, n);
}

static void greedy_text_is_that_of_llama_cpp(void **state) {
  (void)state;
  static char line[LINE];
  text_model *model = text_model_open(MODEL, NULL);
  if (!model) fail_msg("%s", last_error());
  text t = {.model = model, .c = ctx_new()};
  t.logits = malloc((size_t)model->lm.config.vocab_size * sizeof *t.logits);
  assert_true(t.c && t.logits && !rwkv_state_new(&t.state, &model->lm.config, 1));
  FILE *record = fopen(RECORD, "r");
  assert_non_null(record);
  int texts = 0, tokens = 0;
  while (fgets(line, sizeof line, record)) {
    if (*line == '#') continue;
    int32_t id;
    double margin;
    if (!strncmp(line, "prompt\t", 7)) {
      assert_int_equal(tokens, texts * TOKENS);
      begin(&t, line + 7);
      texts++;
      continue;
    }
    assert_int_equal(sscanf(line, "%d\t%lf", &id, &margin), 2);
    if (margin > MARGIN) {
      if (likeliest(&t) != id) fail_msg("text %d, token %d: %d, not %d", texts, tokens % TOKENS, likeliest(&t), id);
      t.compared++;
    } else {
      t.close++;
    }
    say(&t, &id, 1);
    tokens++;
  }
  fclose(record);
  assert_true(texts > 0);
  assert_int_equal(tokens, texts * TOKENS);
  assert_true(t.compared > 9 * t.close); /* the comparison is one */
  print_message("%d texts of %d tokens: %d equal, %d too close to tell\n", texts, TOKENS, t.compared, t.close);
  rwkv_state_free(&t.state);
  free(t.logits);
  ctx_free(t.c);
  text_model_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_text_is_that_of_llama_cpp)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
