/* Parameter sets: declaration, initial values against their formulas (spec language-models 5.4), files. */
#include "weights/params.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/scratch.h"
#include "weights/writer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { V = 1, D, F, H, N, P, SIZES };
enum { BLOCKS = 3, WIDTH = 12, WIDE = 20, WORDS = 30, HEADS = 3, HEAD = 4, PATCH = 2 };

typedef struct {
  tensor *first, *up, *down, *maa, *maa_value, *maa_ffn, *keep, *decay, *bonus, *norm;
} block;

typedef struct {
  param_set set;
  tensor *emb, *patch, *table, *labels;
  block block[BLOCKS];
} model;

#define OF(field) offsetof(model, field)
#define IN(field) offsetof(block, field)
static const param_spec rows[] = {
    {"emb.weight", OF(emb), {-V, -D}, PARAM_EMBEDDING, init_uniform, 0.25f, 0, LAYOUT_SAME},
    {"patch.weight", OF(patch), {-D, 3, -P, -P}, PARAM_MATRIX, init_fan_in, 0, 0, LAYOUT_PATCH},
    {"table", OF(table), {1, 40, -D}, PARAM_POSITION, init_normal, 0.5f, 0, LAYOUT_SAME},
    {"labels.weight", OF(labels), {-V, -D}, PARAM_MATRIX, init_normal, 1, PARAM_TRAINING, LAYOUT_SAME},
    {"blocks.%d.first", IN(first), {-D}, PARAM_NORM, init_constant, 7, PARAM_FIRST_BLOCK, LAYOUT_SAME},
    {"blocks.%d.up.weight", IN(up), {-F, -D}, PARAM_MATRIX, init_orthogonal, 2, 0, LAYOUT_SAME},
    {"blocks.%d.down.weight", IN(down), {-D, -F}, PARAM_MATRIX, init_orthogonal, 0.5f, 0, LAYOUT_SAME},
    {"blocks.%d.maa", IN(maa), {1, 1, -D}, PARAM_MIX, init_maa, 0.5f, 0, LAYOUT_SAME},
    {"blocks.%d.maa_v", IN(maa_value), {1, 1, -D}, PARAM_MIX, init_maa_value, 0, 0, LAYOUT_SAME},
    {"blocks.%d.maa_f", IN(maa_ffn), {1, 1, -D}, PARAM_MIX, init_maa_ffn, 3, 0, LAYOUT_SAME},
    {"blocks.%d.keep", IN(keep), {1, 1, -D}, PARAM_MIX, init_keep, 1, 0, LAYOUT_SAME},
    {"blocks.%d.decay", IN(decay), {1, 1, -D}, PARAM_DECAY, init_decay, 0, 0, LAYOUT_SAME},
    {"blocks.%d.bonus", IN(bonus), {-H, -N}, PARAM_BONUS, init_bonus, 0, 0, LAYOUT_SAME},
    {"blocks.%d.norm", IN(norm), {-D}, PARAM_NORM, init_depth_norm, 0, 0, LAYOUT_SAME},
};
enum { ROWS = sizeof rows / sizeof *rows, OUTSIDE = 4, PARAMS = OUTSIDE + 1 + BLOCKS * 9 };

/* A model with `words` words, not yet initialised. */
static void declare(model *m, int words, int blocks) {
  const int64_t sizes[SIZES] = {[V] = words, [D] = WIDTH, [F] = WIDE, [H] = HEADS, [N] = HEAD, [P] = PATCH};
  memset(m, 0, sizeof *m);
  assert_int_equal(params_declare(&m->set, "a.", rows, ROWS, -1, blocks, sizes, m), STATUS_OK);
  for (int i = 0; i < blocks; i++)
    assert_int_equal(params_declare(&m->set, "a.", rows, ROWS, i, blocks, sizes, &m->block[i]), STATUS_OK);
}

static void make(model *m, int words, uint64_t seed) {
  declare(m, words, BLOCKS);
  assert_int_equal(params_allocate(&m->set), STATUS_OK);
  params_init(&m->set, seed);
}

static const param *named(const param_set *set, const char *name) {
  for (size_t i = 0; i < set->n; i++)
    if (!strcmp(set->item[i].name, name)) return &set->item[i];
  fail_msg("no parameter %s", name);
  return NULL;
}

static void check_error(status expected, const char *file, const char *item) {
  assert_int_equal(last_status(), expected);
  if (!strstr(last_error(), file) || !strstr(last_error(), item))
    fail_msg("'%s' names not both %s and %s", last_error(), file, item);
}

/* --- declaration -------------------------------------------------------------------------------------------------- */

static void test_declaration(void **state) {
  (void)state;
  model m;
  make(&m, WORDS, 1);
  assert_int_equal(m.set.n, PARAMS);
  assert_string_equal(m.set.item[0].name, "a.emb.weight");
  assert_string_equal(m.set.item[OUTSIDE].name, "a.blocks.0.first");
  assert_string_equal(m.set.item[OUTSIDE + 1].name, "a.blocks.0.up.weight");
  assert_string_equal(m.set.item[OUTSIDE + 10].name, "a.blocks.1.up.weight");
  assert_string_equal(m.set.item[PARAMS - 1].name, "a.blocks.2.norm");
  assert_int_equal(m.set.item[PARAMS - 1].layer, 2);
  assert_int_equal(m.set.item[PARAMS - 1].n_layers, BLOCKS);
  assert_non_null(m.block[0].first);
  assert_null(m.block[1].first);

  const param *patch = named(&m.set, "a.patch.weight");
  assert_int_equal(patch->n_dims, 4);
  assert_int_equal(patch->dim[1], 3);
  assert_int_equal(m.patch->n_dims, 2);
  assert_int_equal(m.patch->dim[0], WIDTH);
  assert_int_equal(m.patch->dim[1], PATCH * PATCH * 3);
  assert_int_equal(m.block[2].maa->n_dims, 3);
  assert_int_equal(m.block[2].up->dim[0], WIDE);
  assert_int_equal(m.block[2].up->dim[1], WIDTH);
  size_t end = 0;
  for (size_t i = 0; i < m.set.n; i++) {
    const param *p = &m.set.item[i];
    assert_ptr_equal(*p->slot, p->value);
    assert_ptr_equal(f32(p->value), m.set.values + p->first);
    assert_int_equal((uintptr_t)p->value->data % 64, 0);
    assert_true(p->first >= end);
    end = p->first + (size_t)tensor_count(p->value);
  }
  assert_true(end <= m.set.count);
  params_free(&m.set);
  assert_int_equal(m.set.n, 0);
}

static void test_too_large(void **state) {
  (void)state;
  model m = {0};
  const int64_t beyond[SIZES] = {[V] = INT64_MAX / 2, [D] = 16, [F] = 1, [H] = 1, [N] = 1, [P] = 1};
  assert_int_equal(params_declare(&m.set, "", rows, ROWS, -1, 1, beyond, &m), STATUS_MEMORY);
  params_free(&m.set);
  const int64_t large[SIZES] = {[V] = INT64_MAX / 32, [D] = 16, [F] = 1, [H] = 1, [N] = 1, [P] = 1};
  status s = params_declare(&m.set, "", rows, ROWS, -1, 1, large, &m); /* fits a count, but not as bytes */
  if (!s) s = params_allocate(&m.set);
  assert_int_equal(s, STATUS_MEMORY);
  params_free(&m.set);
}

static void test_gradients(void **state) {
  (void)state;
  model m;
  make(&m, WORDS, 1);
  assert_null(m.emb->grad);
  assert_int_equal(params_want_grads(&m.set, true), STATUS_OK);
  for (size_t i = 0; i < m.set.n; i++) {
    const tensor *t = m.set.item[i].value;
    assert_true(t->needs_grad);
    assert_ptr_equal(f32(t->grad), m.set.grads + m.set.item[i].first);
    assert_int_equal(tensor_count(t->grad), tensor_count(t));
    for (int64_t k = 0; k < tensor_count(t); k++) {
      assert_float_equal(f32(t->grad)[k], 0, 0);
      f32(t->grad)[k] = 3;
    }
  }
  params_zero_grads(&m.set);
  for (size_t i = 0; i < m.set.count; i++) assert_float_equal(m.set.grads[i], 0, 0);
  assert_int_equal(params_want_grads(&m.set, false), STATUS_OK);
  assert_null(m.set.grads);
  assert_null(m.emb->grad);
  assert_false(m.emb->needs_grad);
  params_free(&m.set);
}

/* --- initial values ----------------------------------------------------------------------------------------------- */

typedef double (*curve)(double c, double C, double l, double L);
static double maa(double c, double C, double l, double L) { return 1 - pow(c / C, 0.5 * (1 - l / L)); }
static double maa_v(double c, double C, double l, double L) {
  return 1 - (pow(c / C, 1 - l / L) + 0.3 * (L > 1 ? l / (L - 1) : 0));
}
static double maa_f(double c, double C, double l, double L) {
  double b = 1 - l / L;
  return 1 - pow(c / C, b * b * b);
}
static double keep(double c, double C, double l, double L) { return pow(c / C, 1 - l / L); }
static double decay(double c, double C, double l, double L) {
  return -6 + 5 * pow(c / (C - 1), 0.7 + 1.3 * (L > 1 ? l / (L - 1) : 0));
}
static double bonus(double c, double C, double l, double L) {
  static const double zigzag[3] = {0, 0.1, -0.1}; /* ((c+1) mod 3) - 1, tenths: 1, 2, 0 -> 0, 1, -1 */
  return (L > 1 ? l / (L - 1) : 0) * (1 - c / (C - 1)) + zigzag[(int)c % 3];
}
static double norm(double c, double C, double l, double L) {
  (void)c, (void)C;
  return pow((1 + l) / L, 0.7);
}

static void test_curves(void **state) {
  (void)state;
  static const struct {
    const char *name;
    curve of;
  } all[] = {{"maa", maa},     {"maa_v", maa_v}, {"maa_f", maa_f}, {"keep", keep},
             {"decay", decay}, {"bonus", bonus}, {"norm", norm}};
  for (int blocks = 1; blocks <= BLOCKS; blocks += BLOCKS - 1) { /* one layer has no depth to divide by */
    model m;
    declare(&m, WORDS, blocks);
    assert_int_equal(params_allocate(&m.set), STATUS_OK);
    params_init(&m.set, 5);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      for (int l = 0; l < blocks; l++) {
        char name[64];
        snprintf(name, sizeof name, "a.blocks.%d.%s", l, all[i].name);
        const param *p = named(&m.set, name);
        for (int c = 0; c < WIDTH; c++) {
          double want = all[i].of(c, WIDTH, l, blocks), got = f32(p->value)[c];
          if (!(fabs(got - want) <= 1e-6)) fail_msg("%s[%d] is %g instead of %g", name, c, got, want);
        }
      }
    params_free(&m.set);
  }
}

static void test_uniform_and_normal(void **state) {
  (void)state;
  model m;
  make(&m, WORDS, 11);
  double largest = 0, sum = 0, squares = 0;
  int64_t n = tensor_count(m.emb);
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)f32(m.emb)[i])), sum += f32(m.emb)[i];
  assert_true(largest <= 0.25 && largest > 0.24);
  assert_true(fabs(sum / (double)n) < 5 * 0.25 / sqrt(3.0 * (double)n));
  largest = 0;
  double bound = 1 / sqrt(3.0 * PATCH * PATCH); /* the fan is of the three further dimensions */
  for (int64_t i = 0; i < tensor_count(m.patch); i++) largest = fmax(largest, fabs((double)f32(m.patch)[i]));
  assert_true(largest <= bound * (1 + 1e-6) && largest > 0.95 * bound);
  n = tensor_count(m.table);
  sum = 0;
  for (int64_t i = 0; i < n; i++) sum += f32(m.table)[i], squares += (double)f32(m.table)[i] * f32(m.table)[i];
  assert_true(fabs(sum / (double)n) < 5 * 0.5 / sqrt((double)n));
  assert_true(fabs(squares / (double)n / 0.25 - 1) < 5 * sqrt(2 / (double)n));
  assert_float_equal(f32(m.block[0].first)[WIDTH - 1], 7, 0);
  params_free(&m.set);
}

/* The vectors of the shorter side are orthogonal and as long as the gain. */
static void check_orthogonal(const tensor *t, double gain) {
  int64_t R = t->dim[0], C = t->dim[1], shorter = R < C ? R : C, longer = R < C ? C : R;
  for (int64_t i = 0; i < shorter; i++)
    for (int64_t j = 0; j < shorter; j++) {
      double dot = 0;
      for (int64_t e = 0; e < longer; e++)
        dot += R < C ? (double)f32(t)[i * C + e] * f32(t)[j * C + e] : (double)f32(t)[e * C + i] * f32(t)[e * C + j];
      assert_true(fabs(dot - (i == j ? gain * gain : 0)) < 2e-6 * gain * gain);
    }
}

static void test_orthogonal(void **state) {
  (void)state;
  model m;
  make(&m, WORDS, 3);
  for (int l = 0; l < BLOCKS; l++) {
    check_orthogonal(m.block[l].up, 2);
    check_orthogonal(m.block[l].down, 0.5);
  }
  assert_memory_not_equal(m.block[0].up->data, m.block[1].up->data, WIDE * WIDTH * sizeof(float));
  params_free(&m.set);
}

static void test_initial_values_are_a_function_of_seed_and_name(void **state) {
  (void)state;
  model a, b, other, alone = {0};
  make(&a, WORDS, 77);
  make(&b, WORDS, 77);
  make(&other, WORDS, 78);
  assert_memory_equal(a.set.values, b.set.values, a.set.count * sizeof(float));
  assert_memory_not_equal(a.emb->data, other.emb->data, WORDS * WIDTH * sizeof(float));
  assert_memory_not_equal(a.block[0].up->data, other.block[0].up->data, WIDE * WIDTH * sizeof(float));
  const int64_t sizes[SIZES] = {[V] = WORDS, [D] = WIDTH, [F] = WIDE, [H] = HEADS, [N] = HEAD, [P] = PATCH};
  assert_int_equal(params_declare(&alone.set, "a.", rows + 2, 1, -1, BLOCKS, sizes, &alone), STATUS_OK);
  assert_int_equal(params_declare(&alone.set, "b.", rows, 1, -1, BLOCKS, sizes, &alone), STATUS_OK);
  assert_int_equal(params_allocate(&alone.set), STATUS_OK);
  params_init(&alone.set, 77);
  assert_memory_equal(alone.table->data, a.table->data, 40 * WIDTH * sizeof(float));    /* whatever else is declared */
  assert_memory_not_equal(alone.emb->data, a.emb->data, WORDS * WIDTH * sizeof(float)); /* another name */
  params_free(&a.set), params_free(&b.set), params_free(&other.set), params_free(&alone.set);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void save(const model *m, const char *path, checkpoint_dtype type, bool training) {
  static const char *const pairs[1][2] = {{"made.by", "a test"}};
  const params_file what = {.type = type, .training = training, .n_metadata = 1, .metadata = pairs};
  assert_int_equal(params_save(&m->set, path, &what), STATUS_OK);
}

static checkpoint *opened(const char *path) {
  checkpoint *file = checkpoint_open(path);
  if (!file) fail_msg("%s", last_error());
  return file;
}

static void check_same(const model *a, const model *b) {
  for (size_t i = 0; i < a->set.n; i++) {
    const param *p = &a->set.item[i], *q = &b->set.item[i];
    size_t bytes = (size_t)tensor_count(p->value) * sizeof(float);
    if (memcmp(p->value->data, q->value->data, bytes)) fail_msg("%s differs", p->name);
  }
}

static void f32_round_trip(void **state, const char *name) {
  char *path = scratch_path(state, name);
  model a, b;
  make(&a, WORDS, 1);
  make(&b, WORDS, 2);
  const float odd[] = {-0.0f, 1e-42f, 3.4028235e38f, -1.1754944e-38f, 0.1f};
  memcpy(a.emb->data, odd, sizeof odd);
  save(&a, path, CHECKPOINT_F32, true);
  checkpoint *file = opened(path);
  assert_string_equal(checkpoint_metadata(file, "made.by"), "a test");
  assert_int_equal(checkpoint_count(file), PARAMS);
  size_t loaded = 0;
  assert_int_equal(params_check(&b.set, file), STATUS_OK);
  assert_int_equal(params_load(&b.set, file, false, &loaded), STATUS_OK);
  assert_int_equal(loaded, PARAMS);
  check_same(&a, &b);
  checkpoint_close(file);
  params_free(&a.set), params_free(&b.set);
  free(path);
}

static void test_f32_round_trip(void **state) {
  f32_round_trip(state, "a.safetensors");
  f32_round_trip(state, "a.gguf");
}

static void test_patch_layout(void **state) {
  char *path = scratch_path(state, "p.safetensors");
  model m;
  make(&m, WORDS, 4);
  const param *p = named(&m.set, "a.patch.weight");
  save(&m, path, CHECKPOINT_F32, false);
  checkpoint *file = opened(path);
  const checkpoint_tensor *t = checkpoint_find(file, "a.patch.weight");
  assert_int_equal(t->n_dims, 4);
  float *stored = malloc(t->bytes);
  float *back = malloc(t->bytes);
  assert_int_equal(checkpoint_read_f32(file, t, stored), STATUS_OK);
  for (int d = 0; d < WIDTH; d++)
    for (int k = 0; k < 3; k++)
      for (int y = 0; y < PATCH; y++)
        for (int x = 0; x < PATCH; x++) {
          float in_file = stored[((d * 3 + k) * PATCH + y) * PATCH + x];
          float in_memory = f32(m.patch)[((d * PATCH + y) * PATCH + x) * 3 + k];
          assert_memory_equal(&in_file, &in_memory, sizeof in_file);
        }
  param_import(p, stored, back);
  assert_memory_equal(back, m.patch->data, t->bytes);
  float *again = malloc(t->bytes);
  param_export(p, back, again);
  assert_memory_equal(again, stored, t->bytes);
  checkpoint_close(file);
  free(stored), free(back), free(again);
  params_free(&m.set);
  free(path);
}

static void test_rounding(void **state) {
  static const struct {
    float value, f16, bf16;
  } cases[] = {
      {1 + 0x1p-11f, 1, 1},                        /* f16: halfway, to even */
      {1 + 0x1.8p-10f, 1 + 0x1p-9f, 1},            /* f16: halfway, to even upwards */
      {1 + 0x1p-8f, 1 + 0x1p-8f, 1},               /* bf16: halfway, to even */
      {1 + 0x1.8p-7f, 1 + 0x1.8p-7f, 1 + 0x1p-6f}, /* bf16: halfway, to even upwards */
      {65519, 65504, 65536},                       /* the most that f16 takes */
      {-0x1p-24f, -0x1p-24f, -0x1p-24f},
      {0x1p-25f, 0, 0x1p-25f},
      {-3.5f, -3.5f, -3.5f},
  };
  enum { CASES = sizeof cases / sizeof *cases };
  char *path = scratch_path(state, "r.safetensors");
  model a, b;
  for (int half = 0; half < 2; half++) {
    make(&a, WORDS, 1);
    make(&b, WORDS, 2);
    for (int i = 0; i < CASES; i++) f32(a.emb)[i] = cases[i].value;
    save(&a, path, half ? CHECKPOINT_BF16 : CHECKPOINT_F16, true);
    checkpoint *file = opened(path);
    assert_int_equal(checkpoint_find(file, "a.emb.weight")->dtype, half ? CHECKPOINT_BF16 : CHECKPOINT_F16);
    assert_int_equal(params_load(&b.set, file, false, NULL), STATUS_OK);
    for (int i = 0; i < CASES; i++) {
      float want = half ? cases[i].bf16 : cases[i].f16;
      assert_memory_equal(&f32(b.emb)[i], &want, sizeof want);
    }
    for (size_t i = 0; i < a.set.n; i++) {
      const param *p = &a.set.item[i], *q = &b.set.item[i];
      for (int64_t k = 0; k < tensor_count(p->value); k++) {
        double x = f32(p->value)[k], y = f32(q->value)[k];
        assert_true(fabs(x - y) <= fabs(x) * (half ? 0x1p-8 : 0x1p-11) + 0x1p-25);
      }
    }
    checkpoint_close(file);
    params_free(&a.set), params_free(&b.set);
  }
  free(path);
}

static void test_values_beyond_f16_are_refused(void **state) {
  char *path = scratch_path(state, "b.safetensors");
  model m;
  make(&m, WORDS, 1);
  f32(m.block[1].up)[3] = -65520;
  assert_int_equal(params_save(&m.set, path, &(params_file){.type = CHECKPOINT_F16}), STATUS_UNSUPPORTED);
  assert_non_null(strstr(last_error(), "a.blocks.1.up.weight"));
  assert_int_equal(scratch_entries(state), 0);
  save(&m, path, CHECKPOINT_BF16, false);
  params_free(&m.set);
  free(path);
}

static void test_training_rows(void **state) {
  char *path = scratch_path(state, "t.safetensors");
  model a, b;
  make(&a, WORDS, 1);
  make(&b, WORDS, 2);
  float before = f32(b.labels)[0];
  save(&a, path, CHECKPOINT_F32, false);
  checkpoint *file = opened(path);
  assert_null(checkpoint_find(file, "a.labels.weight"));
  size_t loaded = 0;
  assert_int_equal(params_check(&b.set, file), STATUS_OK);
  assert_int_equal(params_load(&b.set, file, false, &loaded), STATUS_OK);
  assert_int_equal(loaded, PARAMS - 1);
  assert_memory_equal(f32(b.labels), &before, sizeof before); /* kept */
  assert_memory_equal(b.emb->data, a.emb->data, WORDS * WIDTH * sizeof(float));
  checkpoint_close(file);
  params_free(&a.set), params_free(&b.set);
  free(path);
}

static void test_partial_load(void **state) {
  char *path = scratch_path(state, "w.safetensors");
  model a, b, fresh;
  make(&a, WORDS - 3, 1);
  make(&b, WORDS, 2);
  make(&fresh, WORDS, 2);
  save(&a, path, CHECKPOINT_F32, true);
  checkpoint *file = opened(path);
  size_t loaded = 0;
  assert_int_equal(params_load(&b.set, file, true, &loaded), STATUS_OK);
  assert_int_equal(loaded, PARAMS - 2); /* the two tables of words do not fit */
  assert_memory_equal(b.emb->data, fresh.emb->data, WORDS * WIDTH * sizeof(float));
  assert_memory_equal(b.labels->data, fresh.labels->data, WORDS * WIDTH * sizeof(float));
  assert_memory_equal(b.patch->data, a.patch->data, (size_t)tensor_count(a.patch) * sizeof(float));
  assert_memory_equal(b.block[2].up->data, a.block[2].up->data, WIDE * WIDTH * sizeof(float));

  assert_int_equal(params_load(&b.set, file, false, NULL), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "a.emb.weight");
  assert_non_null(strstr(last_error(), "[27,12]"));
  assert_non_null(strstr(last_error(), "[30,12]"));
  model bare; /* no memory is needed to see it */
  declare(&bare, WORDS, BLOCKS);
  assert_int_equal(params_check(&bare.set, file), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "a.emb.weight");
  params_free(&bare.set);
  checkpoint_close(file);
  params_free(&a.set), params_free(&b.set), params_free(&fresh.set);
  free(path);
}

static void test_missing_tensor(void **state) {
  char *path = scratch_path(state, "m.safetensors");
  model a, b;
  declare(&a, WORDS, BLOCKS - 1);
  assert_int_equal(params_allocate(&a.set), STATUS_OK);
  params_init(&a.set, 1);
  make(&b, WORDS, 2);
  save(&a, path, CHECKPOINT_F32, true);
  checkpoint *file = opened(path);
  assert_int_equal(params_load(&b.set, file, false, NULL), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "a.blocks.2.up.weight");
  assert_int_equal(params_check(&b.set, file), STATUS_FORMAT);
  checkpoint_close(file);
  params_free(&a.set), params_free(&b.set);
  free(path);
}

static void test_values_that_are_not_finite(void **state) {
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  char *path = scratch_path(state, "n.safetensors");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    model a, b;
    make(&a, WORDS, 1);
    make(&b, WORDS, 2);
    f32(a.block[1].decay)[WIDTH - 1] = bad[i];
    save(&a, path, CHECKPOINT_F32, true);
    checkpoint *file = opened(path);
    assert_int_equal(params_load(&b.set, file, false, NULL), STATUS_FORMAT);
    check_error(STATUS_FORMAT, path, "a.blocks.1.decay");
    assert_int_equal(params_load(&b.set, file, true, NULL), STATUS_FORMAT); /* a warm start does not take them either */
    checkpoint_close(file);
    params_free(&a.set), params_free(&b.set);
  }
  free(path);
}

static void test_buffers(void **state) {
  char *path = scratch_path(state, "o.safetensors");
  model a, b;
  make(&a, WORDS, 1);
  make(&b, WORDS, 2);
  float *moment = calloc(a.set.count, sizeof *moment), *back = calloc(a.set.count, sizeof *back);
  for (size_t i = 0; i < a.set.n; i++)
    for (int64_t k = 0; k < tensor_count(a.set.item[i].value); k++)
      moment[a.set.item[i].first + (size_t)k] = (float)(i + 1) + 0x1p-20f * (float)k;
  const param_buffer buffers[] = {{"moment.", moment}, {"again.", moment}};
  params_file what = {.type = CHECKPOINT_BF16, .training = true, .n_buffers = 2, .buffers = buffers};
  assert_int_equal(params_save(&a.set, path, &what), STATUS_OK);
  checkpoint *file = opened(path);
  assert_int_equal(checkpoint_count(file), 3 * PARAMS);
  const checkpoint_tensor *t = checkpoint_find(file, "moment.a.patch.weight");
  assert_int_equal(t->dtype, CHECKPOINT_F32); /* whatever the type of the weights */
  assert_int_equal(t->n_dims, 4);
  assert_int_equal(params_load_buffer(&b.set, file, &(param_buffer){"again.", back}), STATUS_OK);
  assert_memory_equal(back, moment, a.set.count * sizeof *back);
  assert_int_equal(params_load_buffer(&b.set, file, &(param_buffer){"other.", back}), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "other.a.emb.weight");
  checkpoint_close(file);

  what.training = false;
  assert_int_equal(params_save(&a.set, path, &what), STATUS_OK);
  file = opened(path);
  assert_int_equal(checkpoint_count(file), 3 * (PARAMS - 1));
  assert_int_equal(params_load_buffer(&b.set, file, &buffers[0]), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "moment.a.labels.weight");
  checkpoint_close(file);
  free(moment), free(back);
  params_free(&a.set), params_free(&b.set);
  free(path);
}

static void test_cannot_write(void **state) {
  char *path = scratch_path(state, "nowhere/x.safetensors");
  model m;
  make(&m, WORDS, 1);
  assert_int_equal(params_save(&m.set, path, &(params_file){.type = CHECKPOINT_F32}), STATUS_IO);
  check_error(STATUS_IO, "nowhere", "");
  params_free(&m.set);
  free(path);
}

/* --- configs from files ------------------------------------------------------------------------------------------- */

static void test_shapes_from_files(void **state) {
  static const char *const names[] = {"p.b.0.x", "p.b.11.y", "p.b.5", "p.b.x.y", "p.b.99999999999999999999.z",
                                      "q.b.40.x"};
  char *path = scratch_path(state, "c.safetensors");
  writer *w = writer_create(path, NULL);
  const int64_t dim[2] = {3, 2}, none[2] = {0, 2};
  const float values[6] = {0};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) writer_declare(w, names[i], CHECKPOINT_F32, 2, dim);
  writer_declare(w, "p.empty", CHECKPOINT_F32, 2, none);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) writer_put_f32(w, names[i], values, 6);
  assert_int_equal(writer_finish(w), STATUS_OK);
  checkpoint *file = opened(path);
  int64_t found[4];
  assert_int_equal(checkpoint_blocks(file, "p.", "b."), 12);
  assert_int_equal(checkpoint_blocks(file, "q.", "b."), 41);
  assert_int_equal(checkpoint_blocks(file, "p.", "c."), 0);
  assert_int_equal(checkpoint_shape(file, "p.", "b.0.x", 2, found), STATUS_OK);
  assert_int_equal(found[0], 3);
  assert_int_equal(found[1], 2);
  assert_int_equal(checkpoint_shape(file, "p.", "b.0.x", 3, found), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "p.b.0.x");
  assert_int_equal(checkpoint_shape(file, "p.", "empty", 2, found), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "p.empty");
  assert_int_equal(checkpoint_shape(file, "p.", "absent", 2, found), STATUS_FORMAT);
  check_error(STATUS_FORMAT, path, "p.absent");
  checkpoint_close(file);
  free(path);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_declaration),
      cmocka_unit_test(test_too_large),
      cmocka_unit_test(test_gradients),
      cmocka_unit_test(test_curves),
      cmocka_unit_test(test_uniform_and_normal),
      cmocka_unit_test(test_orthogonal),
      cmocka_unit_test(test_initial_values_are_a_function_of_seed_and_name),
      IN_SCRATCH(test_f32_round_trip),
      IN_SCRATCH(test_patch_layout),
      IN_SCRATCH(test_rounding),
      IN_SCRATCH(test_values_beyond_f16_are_refused),
      IN_SCRATCH(test_training_rows),
      IN_SCRATCH(test_partial_load),
      IN_SCRATCH(test_missing_tensor),
      IN_SCRATCH(test_values_that_are_not_finite),
      IN_SCRATCH(test_buffers),
      IN_SCRATCH(test_cannot_write),
      IN_SCRATCH(test_shapes_from_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
