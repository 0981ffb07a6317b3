/* Models of every version whose matrices keep the type of their file, against the same values widened to f32: token by
 * token, as a whole, and several sequences at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"
#include "weights/convert.h"

#include <cmocka.h>

enum { WIDTH = 64, WIDE = 256, TOKENS = 20, ROWS = 3 };

/* How far rounding of activations may lead: of 16-bit types few rows are exact, many are not; block types round them to
 * 8 bits, which such small models, full of norms, feel: a wrong weight would still be far beyond. */
static const struct {
  checkpoint_dtype type;
  double few, many;
} cases[] = {
    {CHECKPOINT_F16, 2e-5, 3e-3}, {CHECKPOINT_BF16, 2e-5, 3e-3}, {CHECKPOINT_Q8_0, 0.2, 0.2},
    {CHECKPOINT_Q5_1, 0.2, 0.2},  {CHECKPOINT_Q4_K, 0.2, 0.2},
};
enum { CASES = sizeof cases / sizeof *cases };

static rwkv_config sized(rwkv_config k, int width) {
  k.n_embd = k.dim_att = width;
  k.dim_ffn = 2 * width;
  return k;
}

static void open_for(tiny_rwkv *m, const rwkv_config *k, const checkpoint *file, params_purpose purpose) {
  memset(m, 0, sizeof *m);
  if (rwkv_new(&m->lm, k, "t.", &m->set) || params_open(&m->set, file, purpose)) fail_msg("%s", last_error());
}

static checkpoint *converted(void **state, const rwkv_config *k, checkpoint_dtype type) {
  char *plain = scratch_path(state, "plain.gguf"), *path = scratch_path(state, "model.gguf");
  tiny_rwkv m;
  convert_report report;
  tiny_rwkv_new(&m, k, 5);
  if (params_save(&m.set, plain, &(params_file){.type = CHECKPOINT_F32})) fail_msg("%s", last_error());
  checkpoint *in = checkpoint_open(plain);
  if (!in || convert(in, path, &(convert_options){.type = &type}, &report)) fail_msg("%s", last_error());
  checkpoint_close(in);
  tiny_rwkv_free(&m);
  checkpoint *file = checkpoint_open(path);
  if (!file) fail_msg("%s", last_error());
  free(plain), free(path);
  return file;
}

static tensor *logits_of(ctx *c, const tiny_rwkv *m, const tensor *ids) {
  tensor *y = rwkv_logits(c, &m->lm, rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, ids), NULL));
  assert_non_null(y);
  return y;
}

/* Logits [T,V] of one sequence, token by token. */
static tensor *stepwise(ctx *c, const tiny_rwkv *m, const tensor *ids) {
  const int64_t T = ids->dim[1], V = m->lm.config.vocab_size;
  tensor *all = tensor_2d(c, DTYPE_F32, T, V);
  rwkv_state s;
  assert_int_equal(rwkv_state_new(&s, &m->lm.config, 1), STATUS_OK);
  for (int64_t t = 0; t < T; t++) {
    const tensor *one = tensor_wrap(c, DTYPE_I32, i32(ids) + t, 2, (int64_t[]){1, 1});
    const tensor *y =
        rwkv_logits(c, &m->lm, rwkv_forward(c, &m->lm, rwkv_embed(c, &m->lm, one), &(rwkv_input){.state = &s}));
    assert_non_null(y);
    memcpy(f32(all) + t * V, f32(y), (size_t)V * sizeof(float));
  }
  rwkv_state_free(&s);
  return all;
}

static void check(void **state, const tiny_rwkv_form *form, size_t i) {
  const rwkv_config k = sized(form->config, checkpoint_dtype_block(cases[i].type) == WIDE ? WIDE : WIDTH);
  checkpoint *file = converted(state, &k, cases[i].type);
  tiny_rwkv used, widened;
  open_for(&used, &k, file, PARAMS_FOR_USE);
  open_for(&widened, &k, file, PARAMS_FOR_TRAINING);
  checkpoint_close(file);
  assert_true(dtype_is_packed(used.lm.head->type) && dtype_is_packed(used.lm.emb->type));
  assert_true(dtype_is_packed(used.lm.block[3].ffn.key->type));
  ctx *c = tiny_context();
  tensor *ids = tiny_ids(c, 1, TOKENS, 3), *rows = tiny_ids(c, ROWS, TOKENS, 4);
  const tensor *want = logits_of(c, &widened, ids), *steps = stepwise(c, &used, ids);
  const size_t n = (size_t)tensor_count(want);
  tiny_same(form->name, f32(steps), f32(want), n, cases[i].few);
  tiny_same(form->name, f32(logits_of(c, &used, ids)), f32(want), n, cases[i].many);
  tiny_same(form->name, f32(logits_of(c, &used, rows)), f32(logits_of(c, &widened, rows)), ROWS * n, cases[i].many);
  ctx_free(c);
  tiny_rwkv_free(&used);
  tiny_rwkv_free(&widened);
}

static void test_types(void **state) {
  for (size_t i = 0; i < CASES; i++)
    for (int f = 0; f < TINY_RWKV_FORMS; f++)
      if (tiny_rwkv_forms[f].config.dim_att == tiny_rwkv_forms[f].config.n_embd) check(state, &tiny_rwkv_forms[f], i);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_types, scratch_setup, scratch_teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
