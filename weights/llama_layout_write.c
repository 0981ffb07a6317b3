/* Writing official RWKV tensors as llama.cpp keeps them: see llama_layout.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/container.h"
#include "weights/llama_layout.h"
#include "weights/llama_layout_rows.h"
#include "weights/params.h"

enum { PIECE = 1 << 18 }; /* values at a time: whole blocks of every type */

typedef struct {
  const checkpoint *in;
  writer *out;
  const llama_layout_options *o;
  const llama_layout *layout;
  int blocks;
  int64_t held[CHECKPOINT_DTYPES]; /* values that matrices will hold in each type */
  float *values;                   /* PIECE, or as many bytes */
  bool stand_in;                   /* what is written now is written once more, in the place of another tensor */
} conversion;

/* --- finding ------------------------------------------------------------------------------------------------------ */

static const llama_layout *find_layout(const checkpoint *in) {
  for (size_t l = 0; l < llama_layout_count; l++)
    for (size_t i = 0; i < checkpoint_count(in); i++)
      if (!strcmp(checkpoint_at(in, i)->name, llama_layouts[l].mark)) return &llama_layouts[l];
  return fail_null(STATUS_UNSUPPORTED, "%s: llama.cpp's layout is for RWKV-6 and RWKV-7 models, and this is neither",
                   checkpoint_path(in));
}

/* The official tensor of a row; block < 0 outside blocks. */
static const checkpoint_tensor *find_official(const conversion *x, const char *stem, int block) {
  char name[CHECKPOINT_NAME_MAX];
  if (block < 0) return checkpoint_find(x->in, stem);
  snprintf(name, sizeof name, "blocks.%d.%s", block, stem);
  return checkpoint_find(x->in, name);
}

static const checkpoint_tensor *row_tensor(const conversion *x, const llama_row *row, int block) {
  return find_official(x, block == 0 && row->first ? row->first : row->official, block);
}

static void llama_name(const llama_row *row, int block, char *name) {
  if (block < 0)
    snprintf(name, CHECKPOINT_NAME_MAX, "%s", row->llama);
  else
    snprintf(name, CHECKPOINT_NAME_MAX, "blk.%d.%s", block, row->llama);
}

/* --- types and shapes --------------------------------------------------------------------------------------------- */

static bool is_block(checkpoint_dtype type) { return checkpoint_dtype_block(type) > 1; }

static checkpoint_dtype choose_type(const conversion *x, const llama_row *row, const checkpoint_tensor *t) {
  if (row->types == LLAMA_F32) return CHECKPOINT_F32;
  const checkpoint_dtype wanted = x->o->type ? x->o->type(x->o->type_self, t) : t->dtype, choice[] = {wanted, t->dtype};
  const int64_t columns = t->n_dims ? t->dim[t->n_dims - 1] : 1;
  for (size_t i = 0; i < 2; i++)
    if (llama_scales(choice[i]) && (row->types == LLAMA_ANY || !is_block(choice[i])) &&
        columns % (int64_t)checkpoint_dtype_block(choice[i]) == 0)
      return choice[i];
  return CHECKPOINT_F32;
}

static status refuse_shape(const conversion *x, const checkpoint_tensor *t, const char *expected) {
  char shape[CHECKPOINT_SHAPE_TEXT];
  return fail(STATUS_FORMAT, "%s: tensor %s is %s; %s was expected", checkpoint_path(x->in), t->name,
              checkpoint_shape_text(t->n_dims, t->dim, shape), expected);
}

static status written_shape(const conversion *x, const llama_row *row, const checkpoint_tensor *t, int *n_dims,
                            int64_t *dim) {
  *n_dims = t->n_dims;
  memcpy(dim, t->dim, sizeof t->dim);
  switch (row->change) {
  case LLAMA_SAME:
  case LLAMA_DIVIDED:
    if (t->n_dims < 1 || t->n_dims > 2) return refuse_shape(x, t, "a vector or a matrix");
    break;
  case LLAMA_HEADS:
    if (t->n_dims != 2) return refuse_shape(x, t, "[heads,head size]");
    break;
  case LLAMA_TRANSPOSED:
    if (t->n_dims < 2 || t->n_dims > 3) return refuse_shape(x, t, "a matrix");
    dim[t->n_dims - 2] = t->dim[t->n_dims - 1];
    dim[t->n_dims - 1] = t->dim[t->n_dims - 2];
    break;
  case LLAMA_VECTOR:
  case LLAMA_HEADS_FLAT:
    *n_dims = 1;
    dim[0] = checkpoint_elements(t);
    break;
  case LLAMA_FUSED:
    *n_dims = 4;
    dim[0] = x->layout->parts;
    dim[1] = dim[2] = 1;
    dim[3] = checkpoint_elements(t);
    break;
  }
  return STATUS_OK;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static status advance(const conversion *x, const checkpoint_tensor *t, checkpoint_dtype written, size_t bytes) {
  if (!x->o->progress || x->stand_in || x->o->progress(x->o->progress_self, t, written, bytes)) return STATUS_OK;
  return fail(STATUS_INTERRUPTED, "stopped");
}

/* Bytes as they are, or divided in their own type. */
static status put_same(conversion *x, const checkpoint_tensor *t, const char *name, int exponent) {
  const size_t size = checkpoint_dtype_size(t->dtype), most = PIECE * sizeof(float) / size * size;
  for (size_t at = 0, n; at < t->bytes; at += n) {
    n = t->bytes - at < most ? t->bytes - at : most;
    if (checkpoint_read(x->in, t, at, n, x->values)) return last_status();
    if (exponent) llama_scale(t->dtype, x->values, n, -exponent);
    if (writer_put(x->out, name, x->values, n) || advance(x, t, t->dtype, n)) return last_status();
  }
  return STATUS_OK;
}

/* Values that the writer converts. It refuses what the type cannot hold. */
static status put_changed(conversion *x, const checkpoint_tensor *t, const char *name, checkpoint_dtype type,
                          int exponent) {
  const int64_t n = checkpoint_elements(t);
  if (checkpoint_check_finite(x->in, t)) return last_status();
  for (int64_t at = 0, part; at < n; at += part) {
    part = n - at < PIECE ? n - at : PIECE;
    if (checkpoint_read_f32_part(x->in, t, at, part, x->values)) return last_status();
    for (int64_t i = 0; exponent && i < part; i++) x->values[i] = ldexpf(x->values[i], -exponent);
    if (writer_put_f32(x->out, name, x->values, (size_t)part) ||
        advance(x, t, type, (size_t)part / checkpoint_dtype_block(t->dtype) * checkpoint_dtype_size(t->dtype)))
      return last_status();
  }
  return STATUS_OK;
}

/* Low-rank matrices are small enough to be held twice. */
static status put_transposed(conversion *x, const checkpoint_tensor *t, const char *name, checkpoint_dtype type) {
  const int64_t n = checkpoint_elements(t), rows = t->dim[t->n_dims - 2], columns = t->dim[t->n_dims - 1];
  float *from = mem_alloc((size_t)n, sizeof *from), *to = mem_alloc((size_t)n, sizeof *to);
  status s = from && to ? checkpoint_check_finite(x->in, t) : last_status();
  if (!s) s = checkpoint_read_f32(x->in, t, from);
  for (int64_t i = 0; !s && i < n; i++) {
    const int64_t matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
    to[(matrix * columns + column) * rows + row] = from[i];
  }
  if (!s) s = writer_put_f32(x->out, name, to, (size_t)n);
  free(from);
  free(to);
  return s ? s : advance(x, t, type, t->bytes);
}

static status put_row(conversion *x, const llama_row *row, int block) {
  char name[CHECKPOINT_NAME_MAX];
  const checkpoint_tensor *t = row_tensor(x, row, block);
  if (!t) return last_status();
  const checkpoint_dtype type = choose_type(x, row, t);
  const bool divided = row->change == LLAMA_DIVIDED && x->o->rescale_every;
  const int exponent = divided ? block / x->o->rescale_every : 0;
  x->stand_in = block == 0 && row->first;
  llama_name(row, block, name);
  if (row->change == LLAMA_TRANSPOSED) return put_transposed(x, t, name, type);
  return type == t->dtype ? put_same(x, t, name, exponent) : put_changed(x, t, name, type, exponent);
}

/* --- what most of the file is held in ----------------------------------------------------------------------------- */

static status count_row(conversion *x, const llama_row *row, int block) {
  const checkpoint_tensor *t = row_tensor(x, row, block);
  if (!t) return last_status();
  if (row->types == LLAMA_ANY) x->held[choose_type(x, row, t)] += checkpoint_elements(t);
  return STATUS_OK;
}

/* llama.cpp's number for files in which this type prevails. */
static uint32_t file_type(const conversion *x) {
  static const struct {
    checkpoint_dtype type;
    uint32_t number;
  } numbers[] = {{CHECKPOINT_F32, 0},   {CHECKPOINT_F16, 1},   {CHECKPOINT_Q4_0, 2}, {CHECKPOINT_Q4_1, 3},
                 {CHECKPOINT_Q8_0, 7},  {CHECKPOINT_Q5_0, 8},  {CHECKPOINT_Q5_1, 9}, {CHECKPOINT_Q4_K, 14},
                 {CHECKPOINT_Q5_K, 16}, {CHECKPOINT_Q6_K, 18}, {CHECKPOINT_BF16, 32}};
  size_t most = 0;
  for (size_t i = 1; i < sizeof numbers / sizeof *numbers; i++)
    if (x->held[numbers[i].type] > x->held[numbers[most].type]) most = i;
  return numbers[most].number;
}

/* --- declaring ---------------------------------------------------------------------------------------------------- */

static status declare_row(conversion *x, const llama_row *row, int block) {
  char name[CHECKPOINT_NAME_MAX];
  int n_dims;
  int64_t dim[CHECKPOINT_DIMS];
  const checkpoint_tensor *t = row_tensor(x, row, block);
  if (!t || written_shape(x, row, t, &n_dims, dim)) return last_status();
  if (row->change == LLAMA_FUSED && row->part > 0) {
    const checkpoint_tensor *first = row_tensor(x, row - row->part, block);
    return first && checkpoint_elements(first) == checkpoint_elements(t)
               ? STATUS_OK
               : refuse_shape(x, t, "a vector as long as the others of its layer");
  }
  llama_name(row, block, name);
  return writer_declare(x->out, name, choose_type(x, row, t), n_dims, dim);
}

/* Calls a function for every row that is written, in the order of the file. */
static status each_row(conversion *x, status (*call)(conversion *, const llama_row *, int)) {
  for (size_t i = 0; i < llama_outer_count; i++)
    if (call(x, &llama_outer[i], -1)) return last_status();
  for (int block = 0; block < x->blocks; block++)
    for (size_t i = 0; i < x->layout->n_rows; i++)
      if (!x->layout->rows[i].old && call(x, &x->layout->rows[i], block)) return last_status();
  return STATUS_OK;
}

/* Whether one of a block's rows has this official name. */
static bool has_place(const conversion *x, const char *name) {
  for (size_t i = 0; i < llama_outer_count; i++)
    if (!strcmp(llama_outer[i].official, name)) return true;
  const size_t digits = strncmp(name, "blocks.", 7) ? 0 : strspn(name + 7, "0123456789");
  for (size_t i = 0; digits && name[7 + digits] == '.' && i < x->layout->n_rows; i++)
    if (!strcmp(x->layout->rows[i].official, name + 8 + digits)) return true;
  return false;
}

static status refuse_strangers(const conversion *x) {
  for (size_t i = 0; i < checkpoint_count(x->in); i++)
    if (!has_place(x, checkpoint_at(x->in, i)->name))
      return fail(STATUS_UNSUPPORTED, "%s: llama.cpp has no place for tensor %s", checkpoint_path(x->in),
                  checkpoint_at(x->in, i)->name);
  return STATUS_OK;
}

static status write_all(conversion *x) {
  if (refuse_strangers(x) || each_row(x, count_row) ||
      llama_layout_describe(x->in, x->out, x->o, x->layout, x->blocks, file_type(x)))
    return last_status();
  return each_row(x, declare_row) ? last_status() : each_row(x, put_row);
}

status llama_layout_write(const checkpoint *in, writer *w, const llama_layout_options *options) {
  conversion x = {.in = in, .out = w, .o = options, .layout = find_layout(in)};
  if (!x.layout) return last_status();
  if (options->rescale_every < 0)
    return fail(STATUS_ARGUMENT, "a model cannot be rescaled every %d layers", options->rescale_every);
  x.blocks = checkpoint_blocks(in, "", "blocks.");
  if (!(x.values = mem_alloc(PIECE, sizeof *x.values))) return last_status();
  const status s = write_all(&x);
  free(x.values);
  return s;
}
