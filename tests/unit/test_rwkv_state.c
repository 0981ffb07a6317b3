/* States of text models: rows, copies, trained starts, and as bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_rwkv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WIDTH = 24 };

static void test_rows(void **state) {
  (void)state;
  enum { B = 3 };
  static const int source[B + 1] = {2, 0, 1, 2};
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config *k = &tiny_rwkv_forms[form].config;
    tiny_rwkv m;
    tiny_rwkv_new(&m, k, 5);
    ctx *c = tiny_context();
    rwkv_state from, to, copy;
    assert_int_equal(rwkv_state_new(&from, k, B), STATUS_OK);
    assert_int_equal(rwkv_state_new(&to, k, B + 1), STATUS_OK);
    tensor *next = tiny_rows(c, B, 1, WIDTH, 9), *wide = tensor_3d(c, DTYPE_F32, B + 1, 1, WIDTH);
    assert_non_null(rwkv_forward(c, &m.lm, tiny_rows(c, B, 5, WIDTH, 8), &(rwkv_input){.state = &from}));
    rwkv_state_copy_row(&to, 0, &from, 2);
    rwkv_state_copy_row(&to, 1, &from, 0);
    rwkv_state_copy_row(&to, 3, &from, 2); /* row 2 stays a fresh start */
    assert_int_equal(rwkv_state_clone(&copy, &from), STATUS_OK);
    for (int r = 0; r <= B; r++) memcpy(f32(wide) + r * WIDTH, f32(next) + source[r] * WIDTH, WIDTH * sizeof(float));
    tensor *fresh = rwkv_forward(c, &m.lm, tensor_window(c, next, WIDTH, 3, (int64_t[]){1, 1, WIDTH}), NULL);
    tensor *y = rwkv_forward(c, &m.lm, wide, &(rwkv_input){.state = &to});
    tensor *z = rwkv_forward(c, &m.lm, next, &(rwkv_input){.state = &from});
    for (int r = 0; r <= B; r++) {
      tiny_same("row", f32(y) + r * WIDTH, r == 2 ? f32(fresh) : f32(z) + source[r] * WIDTH, WIDTH, 1e-5);
      assert_int_equal(to.tokens[r], r == 2 ? 1 : 6);
    }
    assert_int_equal(copy.tokens[1], 5); /* the original went on without it */
    tensor *again = rwkv_forward(c, &m.lm, next, &(rwkv_input){.state = &copy});
    assert_memory_equal(again->data, z->data, B * WIDTH * sizeof(float));
    assert_memory_equal(copy.memory, from.memory, rwkv_state_size(&from) * sizeof(float));
    rwkv_state_free(&from), rwkv_state_free(&to), rwkv_state_free(&copy);
    ctx_free(c);
    tiny_rwkv_free(&m);
  }
}

/* --- a trained start ---------------------------------------------------------------------------------------------- */

/* Transposed in files, where a sequence starts that has no state, and what a state starts with; every row of a batch
 * starts from it. */
static void check_start(const rwkv_config *k) {
  enum { B = 2, T = 5, N = 8 };
  tiny_rwkv m;
  tiny_rwkv_new(&m, k, 12);
  param_set set = {0};
  assert_int_equal(rwkv_declare_start(&m.lm, "t.", &set), STATUS_OK);
  assert_int_equal(params_allocate(&set), STATUS_OK);
  assert_int_equal(set.n, k->n_layer);
  assert_string_equal(set.item[1].name, "t.blocks.1.att.time_state");
  ctx *c = tiny_context();
  tensor *x = tiny_rows(c, B, T, WIDTH, 13), *zero = rwkv_forward(c, &m.lm, x, NULL);
  rng g = rng_make(3, 3);
  float file[WIDTH * N], back[WIDTH * N];
  for (size_t i = 0; i < set.n; i++) {
    for (int e = 0; e < WIDTH * N; e++) file[e] = rng_normal(&g);
    param_import(&set.item[i], file, f32(set.item[i].value));
    const float *memory = f32(m.lm.block[i].start);
    for (int h = 0; h < WIDTH / N; h++)
      for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) assert_true(memory[(h * N + a) * N + b] == file[(h * N + b) * N + a]);
    param_export(&set.item[i], memory, back);
    assert_memory_equal(back, file, sizeof file);
  }
  rwkv_state kept;
  assert_int_equal(rwkv_state_new(&kept, k, B), STATUS_OK);
  rwkv_state_start(&kept, &m.lm);
  tensor *y = rwkv_forward(c, &m.lm, x, NULL), *z = rwkv_forward(c, &m.lm, x, &(rwkv_input){.state = &kept});
  tiny_same("from the start in a state", f32(z), f32(y), B * T * WIDTH, 1e-6);
  assert_memory_not_equal(y->data, zero->data, B * T * WIDTH * sizeof(float));
  rwkv_state_free(&kept);
  ctx_free(c);
  params_free(&set);
  tiny_rwkv_free(&m);
}

static void test_trained_start(void **state) {
  (void)state;
  for (int form = TINY_RWKV_5; form <= TINY_RWKV_7; form++) check_start(&tiny_rwkv_forms[form].config);
  tiny_rwkv m;
  param_set set = {0};
  tiny_rwkv_new(&m, &tiny_rwkv_forms[0].config, 1); /* version 4 */
  assert_int_equal(rwkv_declare_start(&m.lm, "t.", &set), STATUS_UNSUPPORTED);
  tiny_rwkv_free(&m);
}

/* --- as bytes ----------------------------------------------------------------------------------------------------- */

typedef struct {
  tiny_rwkv m;
  ctx *c;
  rwkv_state state; /* two rows, after 5 and 3 tokens */
  uint8_t *bytes;   /* of the second */
  size_t n;
} saved;

static void saved_new(saved *s, const rwkv_config *k) {
  tiny_rwkv_new(&s->m, k, 21);
  s->c = tiny_context();
  assert_int_equal(rwkv_state_new(&s->state, k, 2), STATUS_OK);
  const rwkv_input in = {.state = &s->state, .lengths = (int32_t[]){5, 3}};
  assert_non_null(rwkv_forward(s->c, &s->m.lm, tiny_rows(s->c, 2, 5, WIDTH, 22), &in));
  s->n = rwkv_state_bytes(k);
  assert_non_null(s->bytes = malloc(s->n));
  rwkv_state_save(&s->state, 1, &s->m.lm, s->bytes);
}

static void saved_free(saved *s) {
  free(s->bytes);
  rwkv_state_free(&s->state);
  ctx_free(s->c);
  tiny_rwkv_free(&s->m);
}

/* Reading gives the row bit by bit, wherever it goes; a row beside it stays as it was. */
static void test_round_trip(void **state) {
  (void)state;
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config *k = &tiny_rwkv_forms[form].config;
    saved s;
    saved_new(&s, k);
    rwkv_state got, want;
    assert_int_equal(rwkv_state_new(&got, k, 3), STATUS_OK);
    assert_int_equal(rwkv_state_new(&want, k, 3), STATUS_OK);
    rwkv_state_copy_row(&want, 2, &s.state, 1);
    assert_int_equal(rwkv_state_load(&got, 2, &s.m.lm, s.bytes, s.n, "saved"), STATUS_OK);
    assert_memory_equal(got.memory, want.memory, rwkv_state_size(&want) * sizeof(float));
    assert_int_equal(got.tokens[2], 3);
    assert_int_equal(got.tokens[1], 0);
    rwkv_state_free(&got), rwkv_state_free(&want);
    saved_free(&s);
  }
}

/* The layout of the inference package: att_x, the recurrence, ffn_x; version 7's states are value by key. */
static void test_layout(void **state) {
  (void)state;
  enum { N = 8, HEADER = 56 };
  for (int form = TINY_RWKV_6; form <= TINY_RWKV_7; form++) {
    saved s;
    saved_new(&s, &tiny_rwkv_forms[form].config);
    const size_t per_layer = 2 * WIDTH + WIDTH * N;
    assert_int_equal(s.n, HEADER + 4 * 4 * per_layer);
    assert_memory_equal(s.bytes, "rwkvstat", 8);
    assert_int_equal(little32(s.bytes + 12), s.m.lm.config.version);
    for (int layer = 0; layer < 4; layer++) {
      const rwkv6_carry carry = rwkv_state_layer(s.c, &s.state, layer);
      const float *att_x = f32(carry.att_x) + WIDTH, *ffn_x = f32(carry.ffn_x) + WIDTH;
      const float *wkv = f32(carry.wkv) + WIDTH * N;
      float file[2 * WIDTH + WIDTH * N];
      memcpy(file, s.bytes + HEADER + 4 * per_layer * (size_t)layer, sizeof file);
      assert_memory_equal(file, att_x, WIDTH * sizeof *file);
      assert_memory_equal(file + WIDTH + WIDTH * N, ffn_x, WIDTH * sizeof *file);
      for (int h = 0; h < WIDTH / N; h++)
        for (int key = 0; key < N; key++)
          for (int value = 0; value < N; value++) {
            const int at = form == TINY_RWKV_7 ? value * N + key : key * N + value;
            assert_true(file[WIDTH + h * N * N + at] == wkv[h * N * N + key * N + value]);
          }
    }
    saved_free(&s);
  }
}

static void refused(saved *s, const uint8_t *bytes, size_t n, const char *words) {
  rwkv_state got, fresh;
  assert_int_equal(rwkv_state_new(&got, &s->m.lm.config, 1), STATUS_OK);
  assert_int_equal(rwkv_state_new(&fresh, &s->m.lm.config, 1), STATUS_OK);
  assert_int_equal(rwkv_state_load(&got, 0, &s->m.lm, bytes, n, "saved"), STATUS_FORMAT);
  if (!strstr(last_error(), words)) fail_msg("'%s' instead of '%s'", last_error(), words);
  assert_memory_equal(got.memory, fresh.memory, rwkv_state_size(&got) * sizeof(float));
  assert_int_equal(got.tokens[0], 0);
  rwkv_state_free(&got), rwkv_state_free(&fresh);
}

static void test_damaged_bytes(void **state) {
  (void)state;
  enum { SIZES_AT = 8, IDENTITY_AT = 40, TOKENS_AT = 48, VALUES_AT = 56 };
  static const char *const words[] = {"format", "version",   "layers",          "width",
                                      "heads",  "head size", "attention width", "parts"};
  saved s;
  saved_new(&s, &tiny_rwkv_forms[TINY_RWKV_7].config);
  uint8_t *bytes = malloc(s.n + 4);
  assert_non_null(bytes);
  for (size_t n = 0; n < s.n; n++) { /* exactly so many bytes, so that a sanitizer sees what lies behind them */
    uint8_t *part = malloc(n + 1);
    assert_non_null(part);
    memcpy(part, s.bytes, n);
    refused(&s, part, n, n < VALUES_AT ? "not a saved state" : "bytes, expected");
    free(part);
    if (n > VALUES_AT + 8) n += 97;
  }
  memcpy(bytes, s.bytes, s.n);
  refused(&s, bytes, s.n + 4, "bytes, expected");
  for (int i = 0; i < 8; i++) {
    memcpy(bytes, s.bytes, s.n);
    bytes[SIZES_AT + 4 * i + 1] ^= 1;
    refused(&s, bytes, s.n, words[i]);
  }
  memcpy(bytes, s.bytes, s.n);
  bytes[0] ^= 1;
  refused(&s, bytes, s.n, "not a saved state");
  memcpy(bytes, s.bytes, s.n);
  bytes[IDENTITY_AT + 3] ^= 1;
  refused(&s, bytes, s.n, "another model");
  memcpy(bytes, s.bytes, s.n);
  bytes[TOKENS_AT + 7] = 0x80;
  refused(&s, bytes, s.n, "token count");
  memcpy(bytes, s.bytes, s.n);
  put_little(bytes + s.n - 4, 0x7fc00000, 4);
  refused(&s, bytes, s.n, "NaN");
  free(bytes);
  saved_free(&s);
}

/* One number of one parameter tells models apart, and so does a size that no state shows. */
static void test_identity(void **state) {
  (void)state;
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    saved s;
    saved_new(&s, &tiny_rwkv_forms[form].config);
    const uint64_t own = rwkv_identity(&s.m.lm);
    assert_true(own == rwkv_identity(&s.m.lm));
    tensor *const touched[] = {s.m.lm.emb, s.m.lm.head, s.m.lm.block[3].ffn.key};
    for (size_t i = 0; i < sizeof touched / sizeof *touched; i++) {
      const float kept = *f32(touched[i]);
      *f32(touched[i]) += 1;
      assert_true(own != rwkv_identity(&s.m.lm));
      refused(&s, s.bytes, s.n, "another model");
      *f32(touched[i]) = kept;
    }
    s.m.lm.config.dim_ffn++;
    assert_true(own != rwkv_identity(&s.m.lm));
    s.m.lm.config.dim_ffn--;
    assert_true(own == rwkv_identity(&s.m.lm));
    saved_free(&s);
  }
}

/* A model that keeps its file's types is the same model as one that does not, and computes the same. */
static void test_purposes(void **state) {
  enum { PURPOSES = 2, T = 9 };
  char *path = scratch_path(state, "model.safetensors");
  for (int form = 0; form < TINY_RWKV_FORMS; form++) {
    const rwkv_config *k = &tiny_rwkv_forms[form].config;
    tiny_rwkv made, m[PURPOSES] = {0};
    float logits[PURPOSES][TINY_RWKV_VOCABULARY];
    tiny_rwkv_new(&made, k, 31);
    if (params_save(&made.set, path, &(params_file){.type = CHECKPOINT_BF16})) fail_msg("%s", last_error());
    checkpoint *file = checkpoint_open(path);
    assert_non_null(file);
    for (int i = 0; i < PURPOSES; i++) {
      const params_purpose purpose = i ? PARAMS_FOR_USE : PARAMS_FOR_TRAINING;
      if (rwkv_new(&m[i].lm, k, "t.", &m[i].set) || params_open(&m[i].set, file, purpose)) fail_msg("%s", last_error());
      ctx *c = tiny_context();
      rwkv_state s;
      assert_int_equal(rwkv_state_new(&s, k, 1), STATUS_OK);
      assert_int_equal(rwkv_read(c, &m[i].lm, i32(tiny_ids(c, 1, T, 4)), T, NULL, 4, &s, logits[i]), STATUS_OK);
      rwkv_state_free(&s);
      ctx_free(c);
    }
    checkpoint_close(file);
    assert_int_equal(m[0].lm.emb->type, DTYPE_F32);
    assert_int_equal(m[1].lm.emb->type, DTYPE_BF16);
    assert_int_equal(m[1].lm.block[3].ffn.value->type, DTYPE_BF16);
    assert_true(rwkv_identity(&m[0].lm) == rwkv_identity(&m[1].lm));
    assert_true(rwkv_identity(&m[0].lm) != rwkv_identity(&made.lm)); /* rounded */
    tiny_same(tiny_rwkv_forms[form].name, logits[1], logits[0], TINY_RWKV_VOCABULARY, 0.02);
    for (int i = 0; i < PURPOSES; i++) tiny_rwkv_free(&m[i]);
    tiny_rwkv_free(&made);
  }
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),
      cmocka_unit_test(test_trained_start),
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_layout),
      cmocka_unit_test(test_damaged_bytes),
      cmocka_unit_test(test_identity),
      cmocka_unit_test_setup_teardown(test_purposes, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
