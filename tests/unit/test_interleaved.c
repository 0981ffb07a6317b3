/* Interleaved tensors: the same names, types, shapes, bytes and values as plain ones; files made interleaved, plain and
 * interleaved again; parameters that keep the type of their file, packed in memory or where they lie in the mapping. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"
#include "tests/support/scratch.h"
#include "tests/support/weights_check.h"
#include "weights/convert.h"
#include "weights/interleaved.h"
#include "weights/packing.h"
#include "weights/params.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

enum { ROWS = 48, TYPES = 10 };
static const checkpoint_dtype types[TYPES] = {
    CHECKPOINT_F16,  CHECKPOINT_BF16, CHECKPOINT_Q8_0, CHECKPOINT_Q4_0, CHECKPOINT_Q4_1,
    CHECKPOINT_Q5_0, CHECKPOINT_Q5_1, CHECKPOINT_Q4_K, CHECKPOINT_Q5_K, CHECKPOINT_Q6_K,
};
static const char *const names[TYPES] = {
    "a.weight", "b.weight", "c.weight", "d.weight", "e.weight", "f.weight", "g.weight", "h.weight", "i.weight",
    /* longer than GGUF allows */
    "a.matrix.that.has.a.name.which.is.much.longer.than.what.the.format.allows.weight"};

/* Two blocks of a block type; of 16 bits few and even. */
static int64_t columns_of(int i) {
  const int64_t block = (int64_t)checkpoint_dtype_block(types[i]);
  return block > 1 ? 2 * block : 6;
}

static float *random_values(uint64_t seed, size_t n) {
  float *values = mem_alloc(n, sizeof *values);
  rng g = rng_make(seed, n);
  assert_non_null(values);
  for (size_t i = 0; i < n; i++) values[i] = rng_normal(&g);
  return values;
}

/* One matrix of every type and what is never interleaved, given in pieces that end anywhere. */
static void write_all(const char *path, bool interleaved) {
  writer *w = writer_into(path, GGUF);
  writer_string(w, "general.name", "finch");
  for (int i = 0; i < TYPES; i++) {
    const int64_t dim[2] = {ROWS, columns_of(i)};
    (interleaved ? writer_declare_interleaved : writer_declare)(w, names[i], types[i], 2, dim);
  }
  writer_declare(w, "norm.weight", CHECKPOINT_F32, 1, (int64_t[]){3});
  for (int i = 0; i < TYPES; i++) {
    const size_t n = ROWS * (size_t)columns_of(i), block = checkpoint_dtype_block(types[i]);
    float *values = random_values((uint64_t)i + 1, n);
    for (size_t at = 0, part = block; at < n; at += part, part = part * 3 % (17 * block) + block)
      if (writer_put_f32(w, names[i], values + at, part = at + part < n ? part : n - at)) fail_msg("%s", last_error());
    free(values);
  }
  writer_put_f32(w, "norm.weight", (float[]){1, 2, 3}, 3);
  if (writer_finish(w)) fail_msg("%s", last_error());
}

/* Both files of a scratch folder, opened. */
typedef struct {
  char *plain_path, *packed_path;
  checkpoint *plain, *packed;
} pair;

static pair make_pair(void **state) {
  pair p = {.plain_path = scratch_path(state, "plain.gguf"), .packed_path = scratch_path(state, "packed.gguf")};
  write_all(p.plain_path, false);
  write_all(p.packed_path, true);
  p.plain = opened(p.plain_path);
  p.packed = opened(p.packed_path);
  return p;
}

static void free_pair(pair *p) {
  checkpoint_close(p->plain);
  checkpoint_close(p->packed);
  free(p->plain_path);
  free(p->packed_path);
}

static void check_parts(const pair *p, const checkpoint_tensor *a, const checkpoint_tensor *b) {
  const size_t unit = checkpoint_dtype_size(a->dtype), units = a->bytes / unit;
  const int64_t block = (int64_t)checkpoint_dtype_block(a->dtype);
  uint8_t *x = mem_alloc(a->bytes, 1), *y = mem_alloc(a->bytes, 1);
  float *v = mem_alloc(units * (size_t)block, sizeof *v), *w = mem_alloc(units * (size_t)block, sizeof *w);
  rng g = rng_make(7, units);
  for (int trial = 0; trial < 200; trial++) {
    const size_t first = trial ? rng_below(&g, (uint32_t)units) : 0;
    const size_t n = trial ? rng_below(&g, (uint32_t)(units - first) + 1) : units;
    assert_int_equal(checkpoint_read(p->plain, a, first * unit, n * unit, x), STATUS_OK);
    assert_int_equal(checkpoint_read(p->packed, b, first * unit, n * unit, y), STATUS_OK);
    assert_memory_equal(x, y, n * unit);
    assert_int_equal(checkpoint_read_f32_part(p->plain, a, (int64_t)first * block, (int64_t)n * block, v), STATUS_OK);
    assert_int_equal(checkpoint_read_f32_part(p->packed, b, (int64_t)first * block, (int64_t)n * block, w), STATUS_OK);
    assert_memory_equal(v, w, n * (size_t)block * sizeof *v);
  }
  free(x), free(y), free(v), free(w);
}

/* What a file shows does not depend on the order of its data, and what lies there is what kernels/packed.h says. */
static void test_reading(void **state) {
  pair p = make_pair(state);
  check_intact(p.packed);
  assert_true(checkpoint_is_interleaved(p.packed) && !checkpoint_is_interleaved(p.plain));
  assert_int_equal(checkpoint_count(p.packed), TYPES + 1);
  for (int i = 0; i < TYPES; i++) {
    const int64_t dim[2] = {ROWS, columns_of(i)};
    const checkpoint_tensor *a = check_stored(p.plain, names[i], types[i], 2, dim),
                            *b = check_stored(p.packed, names[i], types[i], 2, dim);
    assert_true(!a->packed && a->data && b->packed && !b->data && a->bytes == b->bytes);
    assert_int_equal((uintptr_t)b->packed % INTERLEAVED_ALIGNMENT, 0);
    uint8_t *packed = mem_alloc(a->bytes, 1);
    dtype type = DTYPE_F32;
    assert_true(packed_type(types[i], &type));
    packed_put(type, (size_t)dim[1], 0, ROWS, a->data, packed);
    assert_memory_equal(packed, b->packed, a->bytes);
    for (int from = 0; from < 2; from++) { /* from either order */
      memset(packed, 0x55, a->bytes);
      assert_int_equal(checkpoint_read_packed(from ? p.packed : p.plain, from ? b : a, packed), STATUS_OK);
      assert_memory_equal(packed, b->packed, a->bytes);
    }
    free(packed);
    check_parts(&p, a, b);
  }
  assert_non_null(check_stored(p.packed, "norm.weight", CHECKPOINT_F32, 1, (int64_t[]){3})->data);
  free_pair(&p);
}

/* A value that is not finite is found at the same place: of a type with scales in the first value of its block. */
static void test_nonfinite(void **state) {
  char *path = scratch_path(state, "damaged.gguf");
  for (int i = 0; i < TYPES; i++) {
    const size_t unit = checkpoint_dtype_size(types[i]), block = checkpoint_dtype_block(types[i]);
    const size_t row = (size_t)columns_of(i) / block, bad = 33 * row + 1;
    uint8_t *bytes = mem_zero(ROWS * row, unit);
    const size_t scale = types[i] == CHECKPOINT_Q6_K ? unit - 2 : 0;
    memcpy(bytes + bad * unit + scale, types[i] == CHECKPOINT_BF16 ? "\x80\x7f" : "\0\x7c", 2); /* infinity */
    writer *w = writer_into(path, GGUF);
    writer_declare_interleaved(w, "x.weight", types[i], 2, (int64_t[]){ROWS, columns_of(i)});
    writer_put(w, "x.weight", bytes, ROWS * row * unit);
    if (writer_finish(w)) fail_msg("%s", last_error());
    checkpoint *c = opened(path);
    int64_t at = 0;
    assert_int_equal(checkpoint_first_nonfinite(c, checkpoint_at(c, 0), &at), STATUS_OK);
    assert_int_equal(at, bad * block);
    uint8_t *packed = mem_alloc(checkpoint_at(c, 0)->bytes, 1);
    check_error(checkpoint_read_packed(c, checkpoint_at(c, 0), packed), STATUS_FORMAT, "at [33,");
    free(packed);
    checkpoint_close(c);
    free(bytes);
  }
  free(path);
}

/* What a file cannot hold interleaved, a writer refuses. */
static void test_refused(void **state) {
  static const struct {
    checkpoint_dtype type;
    int n_dims;
    int64_t dim[3];
    int container;
  } bad[] = {
      {CHECKPOINT_F32, 2, {16, 32}, GGUF},       {CHECKPOINT_I8, 2, {16, 32}, GGUF},
      {CHECKPOINT_BF16, 2, {8, 32}, GGUF},       {CHECKPOINT_BF16, 2, {17, 32}, GGUF},
      {CHECKPOINT_BF16, 2, {16, 33}, GGUF},      {CHECKPOINT_BF16, 1, {32}, GGUF},
      {CHECKPOINT_BF16, 3, {1, 16, 32}, GGUF},   {CHECKPOINT_BF16, 2, {0, 32}, GGUF},
      {CHECKPOINT_BF16, 2, {16, 0}, GGUF},       {CHECKPOINT_Q8_0, 2, {16, 48}, GGUF},
      {CHECKPOINT_BF16, 2, {16, 1 << 20}, GGUF}, {CHECKPOINT_BF16, 2, {16, 32}, SAFETENSORS},
  };
  char *path = scratch_path(state, "x");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    writer *w = writer_into(path, bad[i].container);
    const status s = writer_declare_interleaved(w, "x", bad[i].type, bad[i].n_dims, bad[i].dim);
    check_error(s, STATUS_ARGUMENT, bad[i].type == CHECKPOINT_Q8_0 ? "impossible shape" : "cannot be interleaved");
    writer_abandon(w);
  }
  assert_int_equal(scratch_entries(state), 0);
  free(path);
}

/* --- conversion --------------------------------------------------------------------------------------------------- */

static size_t converted(const char *from, const char *to, const convert_options *o) {
  convert_report report;
  checkpoint *c = opened(from);
  if (convert(c, to, o, &report)) fail_msg("%s", last_error());
  checkpoint_close(c);
  c = opened(to);
  check_intact(c);
  checkpoint_close(c);
  return report.interleaved;
}

/* There and back again, each way and through safetensors, with an alignment of the caller's in between. */
static void test_conversion(void **state) {
  static const char *const file[] = {"a.gguf", "b.gguf", "c.gguf", "d.gguf", "e.safetensors", "f.gguf", "g.gguf"};
  char *path[7];
  for (int i = 0; i < 7; i++) path[i] = scratch_path(state, file[i]);
  const convert_options own = {0}, plain = {.plain = true};
  for (int aligned = 0; aligned < 2; aligned++) {
    writer *w = writer_into(path[0], GGUF);
    if (aligned)
      writer_metadata(w, "general.alignment", &(metadata_value){METADATA_U32, (const uint8_t *)"\200\0\0", 4});
    writer_string(w, "general.architecture", "bird");
    writer_declare(w, "a.weight", CHECKPOINT_BF16, 2, (int64_t[]){32, 10});
    writer_declare(w, "odd.weight", CHECKPOINT_BF16, 2, (int64_t[]){33, 10});
    writer_declare(w, "time_w1", CHECKPOINT_BF16, 2, (int64_t[]){32, 10});
    float *values = random_values(1, 330);
    writer_put_f32(w, "a.weight", values, 320);
    writer_put_f32(w, "odd.weight", values, 330);
    writer_put_f32(w, "time_w1", values, 320);
    free(values);
    if (writer_finish(w)) fail_msg("%s", last_error());
    assert_int_equal(converted(path[0], path[1], &own), 1);
    assert_int_equal(converted(path[1], path[2], &plain), 0);
    assert_int_equal(converted(path[2], path[3], &own), 1);
    check_same_files(path[1], path[3]);
    if (!aligned) check_same_files(path[0], path[2]);
    assert_int_equal(converted(path[1], path[4], &own), 0); /* safetensors */
    assert_int_equal(converted(path[4], path[5], &own), 1);
    check_same_files(path[1], path[5]);
    assert_int_equal(converted(path[1], path[6], &own), 1); /* as it is */
    check_same_files(path[1], path[6]);
  }
  for (int i = 0; i < 7; i++) free(path[i]);
}

/* Quantizing gives the same values in either order. */
static void test_quantizing(void **state) {
  pair p = make_pair(state);
  char *path[2] = {scratch_path(state, "own.gguf"), scratch_path(state, "plain2.gguf")};
  for (int i = 2; i < TYPES; i++) {
    for (int plain = 0; plain < 2; plain++)
      converted(p.packed_path, path[plain], &(convert_options){.type = &types[i], .plain = plain});
    checkpoint *a = opened(path[0]), *b = opened(path[1]);
    assert_true(checkpoint_is_interleaved(a) && !checkpoint_is_interleaved(b));
    for (int t = 0; t < TYPES; t++) {
      const checkpoint_tensor *x = checkpoint_find(a, names[t]), *y = checkpoint_find(b, names[t]);
      assert_true(x && y && x->dtype == y->dtype && x->bytes == y->bytes);
      uint8_t *bytes = mem_alloc(x->bytes, 1);
      assert_int_equal(checkpoint_read(a, x, 0, x->bytes, bytes), STATUS_OK);
      assert_memory_equal(bytes, y->data, y->bytes);
      free(bytes);
    }
    checkpoint_close(a);
    checkpoint_close(b);
  }
  free(path[0]), free(path[1]);
  free_pair(&p);
}

/* --- parameters --------------------------------------------------------------------------------------------------- */

enum { D = 1, F, V, SIZES };
enum { WIDTH = 64, WIDE = 50, WORDS = 35, FEW = 3 };

typedef struct {
  param_set set;
  tensor *emb, *up, *down, *turned, *low, *norm, *few;
} model;

#define OF(field) offsetof(model, field)
static const param_spec rows[] = {
    {"emb.weight", OF(emb), {-V, -D}, PARAM_EMBEDDING, init_normal, 1, 0, LAYOUT_SAME},
    {"up.weight", OF(up), {-F, -D}, PARAM_MATRIX, init_normal, 1, 0, LAYOUT_SAME},
    {"norm.weight", OF(norm), {-D}, PARAM_NORM, init_normal, 1, 0, LAYOUT_SAME},
    {"down.weight", OF(down), {-D, -D}, PARAM_MATRIX, init_normal, 1, 0, LAYOUT_SAME},
    {"turned.weight", OF(turned), {-D, -D}, PARAM_MATRIX, init_normal, 1, 0, LAYOUT_TRANSPOSED},
    {"low.weight", OF(low), {-D, -D}, PARAM_LOW_RANK, init_normal, 1, 0, LAYOUT_SAME},
    {"few.weight", OF(few), {3, -D}, PARAM_MATRIX, init_normal, 1, 0, LAYOUT_SAME},
};
enum { N = sizeof rows / sizeof *rows };

static void declare(model *m) {
  const int64_t sizes[SIZES] = {[D] = WIDTH, [F] = WIDE, [V] = WORDS};
  *m = (model){0};
  assert_int_equal(params_declare(&m->set, "", rows, N, -1, 1, sizes, m), STATUS_OK);
}

static void open_model(model *m, const checkpoint *file, params_purpose purpose) {
  declare(m);
  if (params_open(&m->set, file, purpose)) fail_msg("%s", last_error());
}

/* A model in a GGUF file, whose matrices are of that type and perhaps interleaved. */
static char *model_file(void **state, const char *name, checkpoint_dtype type, bool interleaved) {
  model m;
  char *f32_path = scratch_path(state, "f32.gguf"), *path = scratch_path(state, name);
  declare(&m);
  assert_int_equal(params_allocate(&m.set), STATUS_OK);
  params_init(&m.set, 3);
  if (params_save(&m.set, f32_path, &(params_file){.type = CHECKPOINT_F32})) fail_msg("%s", last_error());
  converted(f32_path, path, &(convert_options){.type = &type, .plain = !interleaved});
  params_free(&m.set);
  free(f32_path);
  return path;
}

static void gather(void *user, const float *values, size_t n) {
  float **at = user;
  memcpy(*at, values, n * sizeof *values);
  *at += n;
}

/* `used` has the values of `trained`, exactly, and is of the types that it should be of. */
static void check_same_values(const model *trained, const model *used, dtype packed) {
  for (size_t i = 0; i < N; i++) {
    const tensor *t = trained->set.item[i].value, *u = used->set.item[i].value;
    const size_t n = (size_t)tensor_count(t);
    const bool keeps = u == used->emb || u == used->up || u == used->down;
    assert_int_equal(t->type, DTYPE_F32);
    assert_int_equal(u->type, keeps ? packed : DTYPE_F32);
    float *values = mem_alloc(n, sizeof *values);
    param_values(u, 0, n, values);
    assert_memory_equal(values, f32(t), n * sizeof *values);
    for (size_t e = 0; e < n; e += 37) {
      param_values(u, e, 1, values);
      assert_memory_equal(values, f32(t) + e, sizeof *values);
    }
    free(values);
  }
  float *all = mem_zero(trained->set.count, sizeof *all), *end = all;
  params_each_value(&used->set, gather, &end);
  assert_int_equal(end - all, trained->set.count);
  assert_memory_equal(all, trained->set.values, trained->set.count * sizeof *all);
  free(all);
}

/* One row through the table and two matrices, in float64. */
static void check_use(const model *trained, const model *used, double tolerance) {
  ctx *c = ctx_new();
  tensor *ids = tensor_1d(c, DTYPE_I32, 2);
  i32(ids)[0] = 1, i32(ids)[1] = WORDS - 1;
  const tensor *y = linear(c, linear(c, embedding(c, ids, used->emb), used->down, NULL), used->up, NULL);
  assert_non_null(y);
  double error = 0, size = 0;
  for (int b = 0; b < 2; b++) {
    const float *x = f32(trained->emb) + i32(ids)[b] * WIDTH;
    double middle[WIDTH] = {0};
    for (int o = 0; o < WIDTH; o++)
      for (int i = 0; i < WIDTH; i++) middle[o] += (double)x[i] * (double)f32(trained->down)[o * WIDTH + i];
    for (int o = 0; o < WIDE; o++) {
      double sum = 0;
      for (int i = 0; i < WIDTH; i++) sum += middle[i] * (double)f32(trained->up)[o * WIDTH + i];
      const double found = (double)f32(y)[b * WIDE + o];
      error += (found - sum) * (found - sum);
      size += sum * sum;
    }
  }
  assert_true(size > 0 && sqrt(error / size) <= tolerance);
  ctx_free(c);
}

static void test_for_use(void **state) {
  for (int interleaved = 0; interleaved < 2; interleaved++)
    for (int i = 0; i < 7; i++) { /* the types of 256 do not fit rows of 64 */
      const bool blocks = checkpoint_dtype_block(types[i]) > 1;
      char *path = model_file(state, "model.gguf", types[i], interleaved);
      checkpoint *file = opened(path);
      model trained, used;
      dtype type = DTYPE_F32;
      packed_type(types[i], &type);
      open_model(&trained, file, PARAMS_FOR_TRAINING);
      open_model(&used, file, PARAMS_FOR_USE);
      const bool mapped = used.down->data == checkpoint_find(file, "down.weight")->packed;
      assert_int_equal(mapped, interleaved);
      const checkpoint_tensor *norm = checkpoint_find(file, "norm.weight");
      assert_int_equal(norm->dtype, blocks ? CHECKPOINT_F32 : types[i]);
      assert_int_equal(used.norm->data == norm->data, interleaved && norm->dtype == CHECKPOINT_F32);
      assert_true(used.up->data != checkpoint_find(file, "up.weight")->data); /* 50 rows */
      assert_true(used.set.count < trained.set.count && !trained.set.packed && !trained.set.file);
      checkpoint_close(file); /* the model's share remains */
      check_same_values(&trained, &used, type);
      check_use(&trained, &used, blocks ? 0.02 : 2e-3);
      params_free(&trained.set);
      params_free(&used.set);
      free(path);
    }
}

/* Values in a mapping are written like those in memory. */
static void test_saved_again(void **state) {
  char *path = model_file(state, "model.gguf", CHECKPOINT_BF16, true), *plain = scratch_path(state, "plain.gguf"),
       *saved = scratch_path(state, "saved.gguf");
  checkpoint *file = opened(path);
  model trained, used;
  open_model(&trained, file, PARAMS_FOR_TRAINING);
  open_model(&used, file, PARAMS_FOR_USE);
  checkpoint_close(file);
  const params_file what = {.type = CHECKPOINT_F32};
  if (params_save(&trained.set, plain, &what) || params_save(&used.set, saved, &what)) fail_msg("%s", last_error());
  size_t size, saved_size;
  char *bytes = scratch_read(plain, &size), *saved_bytes = scratch_read(saved, &saved_size);
  assert_int_equal(size, saved_size);
  assert_memory_equal(bytes, saved_bytes, size);
  params_free(&trained.set);
  params_free(&used.set);
  free(bytes);
  free(saved_bytes);
  free(path);
  free(plain);
  free(saved);
}

/* Of bytes in memory, which are the caller's, nothing is kept. */
static void test_in_memory(void **state) {
  size_t size;
  char *path = model_file(state, "model.gguf", CHECKPOINT_BF16, true), *bytes = scratch_read(path, &size);
  checkpoint *file = checkpoint_parse(bytes, size, "memory"), *again = opened(path);
  model trained, used;
  assert_non_null(file);
  assert_null(checkpoint_share(file));
  open_model(&used, file, PARAMS_FOR_USE);
  open_model(&trained, again, PARAMS_FOR_TRAINING);
  assert_true(used.down->data != checkpoint_find(file, "down.weight")->packed && !used.set.file);
  checkpoint_close(file);
  checkpoint_close(again);
  memset(bytes, 0xff, size);
  free(bytes);
  check_same_values(&trained, &used, DTYPE_BF16);
  params_free(&trained.set);
  params_free(&used.set);
  free(path);
}

/* A type that cannot be packed is widened; a wrong shape is refused; a value that is not finite is refused where values
 * are read, and shows in what is computed where they are not. */
static void test_damage(void **state) {
  char *path = model_file(state, "model.gguf", CHECKPOINT_F32, true);
  checkpoint *file = opened(path);
  model m, other;
  open_model(&m, file, PARAMS_FOR_USE);
  assert_true(m.down->type == DTYPE_F32 && !m.set.packed && !m.set.file);
  declare(&other);
  other.set.item[1].dim[0]++;
  check_error(params_open(&other.set, file, PARAMS_FOR_USE), STATUS_FORMAT, "up.weight has shape");
  params_free(&other.set);
  checkpoint_close(file);
  f32(m.down)[5] = INFINITY;
  if (params_save(&m.set, path, &(params_file){.type = CHECKPOINT_BF16})) fail_msg("%s", last_error());
  params_free(&m.set);
  char *own = scratch_path(state, "own.gguf");
  converted(path, own, &(convert_options){0});
  for (int interleaved = 0; interleaved < 2; interleaved++) {
    file = opened(interleaved ? own : path);
    declare(&m);
    if (!interleaved) {
      check_error(params_open(&m.set, file, PARAMS_FOR_USE), STATUS_FORMAT, "down.weight (BF16) holds an infinite");
    } else {
      assert_int_equal(params_open(&m.set, file, PARAMS_FOR_USE), STATUS_OK);
      ctx *c = ctx_new();
      tensor *x = tensor_2d(c, DTYPE_F32, 1, WIDTH);
      for (int i = 0; i < WIDTH; i++) f32(x)[i] = 1;
      const tensor *good = linear(c, x, m.up, NULL), *bad = linear(c, x, m.down, NULL);
      assert_int_equal(params_check_result(f32(good), WIDE), STATUS_OK);
      check_error(params_check_result(f32(bad), WIDTH), STATUS_FORMAT, "its weights are damaged");
      ctx_free(c);
    }
    params_free(&m.set);
    checkpoint_close(file);
  }
  free(own);
  free(path);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_reading),     IN_SCRATCH(test_nonfinite),  IN_SCRATCH(test_refused),
      IN_SCRATCH(test_conversion),  IN_SCRATCH(test_quantizing), IN_SCRATCH(test_for_use),
      IN_SCRATCH(test_saved_again), IN_SCRATCH(test_in_memory),  IN_SCRATCH(test_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
