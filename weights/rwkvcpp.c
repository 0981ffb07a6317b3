/* Reading rwkv.cpp's .bin files (docs/FILE_FORMAT.md of that project), all numbers little-endian and 32 bits wide:
 *   magic "ggmf", version (100 or 101), n_vocab, n_embed, n_layer, data type, then tensors up to the end of the file:
 *   number of dimensions, length of the name, data type, dimensions (innermost first), name, data.
 * Version 101 came with other quantized blocks; those of version 100 are refused.
 *
 * rwkv.cpp's converter does not store what the official files hold (spec language-models sections 2 and 9), so this
 * reader undoes it. Names, shapes and values are the official ones:
 * - shapes: vectors lost their leading ones ([1,1,D]), numbers of heads got a trailing one;
 * - low-rank matrices of RWKV-6 and 7 are stored transposed: turned back when read, exactly (quantized ones as F32);
 * - the six mixes of RWKV-7 are joined into one tensor: cut apart in place, exactly;
 * - RWKV-4 stores time_decay as -exp(x), RWKV-5 as exp(-exp(x)), and RWKV-5 time_first as exp(x): x is computed in
 *   double precision when it is read and rounded to F32. What was stored had been rounded too, which x inherits: about
 *   1e-7 in RWKV-4 and in time_first, and in RWKV-5 about 6e-8 exp(-x) where a decay is close to 1 (1e-5 at x = -5). A
 *   model computes with the stored numbers again, to rounding.
 * Everything else is used where it lies in the file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/bytes.h"
#include "weights/container.h"

enum { MAGIC = 0x67676d66, VERSION_PLAIN = 100, VERSION_BLOCKS = 101, DIMS_MAX = 3, HEADER_BYTES = 24 };

typedef struct {
  uint32_t version, vocabulary, width, layers, type;
} file_header;

/* The data types by their numbers; CHECKPOINT_DTYPES: not read. */
static const struct {
  const char *name;
  checkpoint_dtype dtype;
} types[] = {
    {"FP32", CHECKPOINT_F32},    {"FP16", CHECKPOINT_F16},      {"Q4_0", CHECKPOINT_Q4_0},
    {"Q4_1", CHECKPOINT_Q4_1},   {"Q4_1_O", CHECKPOINT_DTYPES}, {"Q4_2", CHECKPOINT_DTYPES},
    {"Q4_3", CHECKPOINT_DTYPES}, {"Q5_0", CHECKPOINT_Q5_0},     {"Q5_1", CHECKPOINT_Q5_1},
    {"Q8_0", CHECKPOINT_Q8_0},   {"Q8_1", CHECKPOINT_DTYPES},   {"Q2_K", CHECKPOINT_DTYPES},
    {"Q3_K", CHECKPOINT_DTYPES}, {"Q4_K", CHECKPOINT_Q4_K},     {"Q5_K", CHECKPOINT_Q5_K},
    {"Q6_K", CHECKPOINT_Q6_K},   {"Q8_K", CHECKPOINT_DTYPES},
};
enum { TYPES = sizeof types / sizeof *types, TYPE_FP16 = 1 };

/* --- values that are not stored as they are ----------------------------------------------------------------------- */

typedef enum { VALUE_SAME, VALUE_TRANSPOSED, VALUE_LOG, VALUE_LOG_NEGATIVE, VALUE_LOG_LOG } value_change;

/* A tensor that is computed when it is read. */
typedef struct {
  checkpoint_tensor stored;
  value_change change;
} view;

typedef struct {
  checkpoint *file;
  view *views;
  size_t count, capacity;
} view_list;

/* Numbers beyond the reach of f32 were stored as 0 or 1: these stand for them, since the same arithmetic gives them
 * back. What no model stores becomes NaN or infinity, which loaders refuse. */
static double inverted(double stored, value_change change) {
  const double vanishes = -104, saturates = 5; /* expf(-104) is 0, and so is expf(-expf(5)) */
  const double slow = -18;                     /* expf(-expf(-18)) is 1 */
  switch (change) {
  case VALUE_LOG:
    return stored == 0 ? vanishes : log(stored);
  case VALUE_LOG_NEGATIVE:
    return stored == 0 ? vanishes : log(-stored);
  case VALUE_LOG_LOG:
    return stored == 0 ? saturates : stored == 1 ? slow : log(-log(stored));
  default:
    return stored;
  }
}

static status read_inverted(const checkpoint *file, const view *v, size_t first, size_t n, uint8_t *out) {
  float part[256];
  for (size_t done = 0, count; done < n; done += count) {
    count = n - done < 256 ? n - done : 256;
    if (checkpoint_read_f32_part(file, &v->stored, (int64_t)(first + done), (int64_t)count, part)) return last_status();
    for (size_t i = 0; i < count; i++) part[i] = (float)inverted((double)part[i], v->change);
    memcpy(out + done * sizeof *part, part, count * sizeof *part);
  }
  return STATUS_OK;
}

/* stored: [batch, columns, rows]; element `i` of [batch, rows, columns] is stored at: */
static size_t transposed_place(size_t i, size_t rows, size_t columns) {
  const size_t matrix = i / (rows * columns), row = i / columns % rows, column = i % columns;
  return (matrix * columns + column) * rows + row;
}

static void read_transposed(const view *v, size_t size, size_t first, size_t n, uint8_t *out) {
  const int64_t *dim = v->stored.dim + v->stored.n_dims - 2;
  const uint8_t *in = v->stored.data;
  for (size_t i = 0; i < n; i++)
    memcpy(out + i * size, in + size * transposed_place(first + i, (size_t)dim[1], (size_t)dim[0]), size);
}

/* Elements first to first + n of [batch, rows, columns] as f32. A block holds neighbours of one column; each one that
 * is wanted is decoded once. */
static void read_transposed_blocks(const view *v, quant_type type, size_t first, size_t n, uint8_t *out) {
  const int64_t *dim = v->stored.dim + v->stored.n_dims - 2;
  const size_t rows = (size_t)dim[1], columns = (size_t)dim[0], block = quant_block(type), end = first + n;
  float values[QUANT_BLOCK_MAX];
  /* `top`: the first row, of all matrices one below the other, of a row of blocks; rows is a multiple of block */
  for (size_t top = first / columns / block * block; top * columns < end; top += block)
    for (size_t column = 0; column < columns; column++) {
      const size_t place = transposed_place(top * columns + column, rows, columns);
      quant_decode(type, (const uint8_t *)v->stored.data + place / block * quant_bytes(type), block, values);
      for (size_t k = 0; k < block; k++) {
        const size_t i = (top + k) * columns + column;
        if (i >= first && i < end) memcpy(out + (i - first) * sizeof *values, &values[k], sizeof *values);
      }
    }
}

static status view_read(void *self, const checkpoint_tensor *t, size_t offset, size_t bytes, void *out) {
  const view_list *list = self;
  const view *v = &list->views[t->source];
  const size_t size = checkpoint_dtype_size(t->dtype), first = offset / size, n = bytes / size;
  quant_type type;
  if (v->change != VALUE_TRANSPOSED) return read_inverted(list->file, v, first, n, out);
  if (checkpoint_dtype_quant(v->stored.dtype, &type))
    read_transposed_blocks(v, type, first, n, out);
  else
    read_transposed(v, size, first, n, out);
  return STATUS_OK;
}

static void view_close(void *self) {
  view_list *list = self;
  free(list->views);
  free(list);
}

/* Puts a view in the place of a tensor; its shape is set by the caller. */
static status make_view(checkpoint *c, checkpoint_tensor *t, value_change change) {
  view_list *list = c->reader.self;
  const bool blocks = checkpoint_dtype_block(t->dtype) > 1;
  if (blocks && change != VALUE_TRANSPOSED)
    return fail(STATUS_UNSUPPORTED, "tensor %s is stored as %s, which rwkv.cpp never does", t->name,
                checkpoint_dtype_name(t->dtype));
  view *views = mem_room(list->views, list->count, &list->capacity, sizeof *views);
  if (!views) return last_status();
  list->views = views;
  list->views[list->count] = (view){*t, change};
  t->source = list->count++;
  t->data = NULL;
  if (change == VALUE_TRANSPOSED && !blocks) return STATUS_OK;
  const int64_t n = checkpoint_elements(t);
  t->dtype = CHECKPOINT_F32;
  if (checkpoint_shape_bytes(CHECKPOINT_F32, 1, &n, &t->bytes)) return STATUS_OK;
  return fail(STATUS_FORMAT, "tensor %s does not fit into memory", t->name);
}

/* --- what the converter did --------------------------------------------------------------------------------------- */

typedef enum { SHAPE_SAME, SHAPE_ROW, SHAPE_HEADS, SHAPE_FLAT } shape_change;

/* By version and by what follows "blocks.N."; the first that fits. A star stands for any end. */
static const struct {
  int version;
  const char *name;
  shape_change shape;
  value_change value;
} changes[] = {
    {4, "att.time_decay", SHAPE_SAME, VALUE_LOG_NEGATIVE},
    {4, "att.time_mix_*", SHAPE_ROW, VALUE_SAME},
    {4, "ffn.time_mix_*", SHAPE_ROW, VALUE_SAME},
    {5, "att.time_decay", SHAPE_HEADS, VALUE_LOG_LOG},
    {5, "att.time_first", SHAPE_HEADS, VALUE_LOG},
    {5, "att.time_faaaa", SHAPE_HEADS, VALUE_SAME},
    {5, "att.time_mix_*", SHAPE_ROW, VALUE_SAME},
    {5, "ffn.time_mix_*", SHAPE_ROW, VALUE_SAME},
    {6, "att.time_decay", SHAPE_FLAT, VALUE_SAME},
    {6, "att.time_decay_w1", SHAPE_SAME, VALUE_TRANSPOSED},
    {6, "att.time_decay_w2", SHAPE_SAME, VALUE_TRANSPOSED},
    {6, "att.time_faaaa", SHAPE_HEADS, VALUE_SAME},
    {6, "att.time_maa_w1", SHAPE_SAME, VALUE_TRANSPOSED},
    {6, "att.time_maa_w2", SHAPE_SAME, VALUE_TRANSPOSED},
    {6, "att.time_maa_*", SHAPE_ROW, VALUE_SAME},
    {6, "ffn.time_maa_*", SHAPE_ROW, VALUE_SAME},
    {7, "att.w1", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.w2", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.a1", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.a2", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.v1", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.v2", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.g1", SHAPE_SAME, VALUE_TRANSPOSED},
    {7, "att.g2", SHAPE_SAME, VALUE_TRANSPOSED},
};

/* What follows "blocks.N.", and N; NULL for other names. */
static const char *in_block(const char *name, long *block) {
  if (strncmp(name, "blocks.", 7) || name[7] < '0' || name[7] > '9') return NULL;
  char *end;
  *block = strtol(name + 7, &end, 10); /* LONG_MAX if it does not fit */
  return *end == '.' ? end + 1 : NULL;
}

static bool fits(const char *name, const char *pattern) {
  const size_t length = strlen(pattern);
  return pattern[length - 1] == '*' ? !strncmp(name, pattern, length - 1) : !strcmp(name, pattern);
}

static void set_shape(checkpoint_tensor *t, int n_dims, int64_t a, int64_t b, int64_t c) {
  const int64_t dim[] = {a, b, c};
  t->n_dims = n_dims;
  memcpy(t->dim, dim, sizeof dim);
}

/* [heads, size, 1] of [heads, size], and with the ones that the converter dropped: [heads, 1, 1] and [heads, 1] of
 * [heads], [width, 1] of [1, width]. */
static void restore_heads(checkpoint_tensor *t, int64_t width) {
  if (t->n_dims < 2 || t->dim[t->n_dims - 1] != 1) return;
  if (t->n_dims == 3 && t->dim[1] > 1)
    t->n_dims = 2;
  else if (t->n_dims == 2 && t->dim[0] == width)
    set_shape(t, 2, 1, width, 0);
  else
    t->n_dims = 1;
}

static status restore(checkpoint *c, checkpoint_tensor *t, shape_change shape, value_change value, int64_t width) {
  if (value == VALUE_TRANSPOSED && t->n_dims < 2)
    return fail(STATUS_FORMAT, "tensor %s has %d dimension, not 2 or 3", t->name, t->n_dims);
  if (value != VALUE_SAME && make_view(c, t, value)) return last_status();
  if (value == VALUE_TRANSPOSED) {
    int64_t *dim = t->dim + t->n_dims - 2;
    const int64_t rows = dim[1];
    dim[1] = dim[0];
    dim[0] = rows;
  }
  if (shape == SHAPE_ROW && t->n_dims == 1) set_shape(t, 3, 1, 1, t->dim[0]);
  if (shape == SHAPE_FLAT && checkpoint_dtype_block(t->dtype) == 1) set_shape(t, 3, 1, 1, checkpoint_elements(t));
  if (shape == SHAPE_HEADS) restore_heads(t, width);
  return STATUS_OK;
}

static int model_version(const checkpoint *c) {
  int version = 4;
  for (size_t i = 0; i < c->count; i++) {
    long block;
    const char *name = in_block(c->tensors[i].name, &block);
    if (!name) continue;
    const int found = !strcmp(name, "att.r_k")       ? 7
                      : fits(name, "att.time_maa_*") ? 6
                      : fits(name, "att.ln_x.*")     ? 5
                                                     : 4;
    if (found > version) version = found;
  }
  return version;
}

static status restore_all(checkpoint *c, int64_t width) {
  const int version = model_version(c);
  view_list *list = mem_zero(1, sizeof *list);
  if (!list) return last_status();
  list->file = c;
  c->reader = (checkpoint_reader){view_read, NULL, view_close, list};
  for (size_t i = 0; i < c->count; i++) {
    long block;
    const char *name = in_block(c->tensors[i].name, &block);
    for (size_t k = 0; name && k < sizeof changes / sizeof *changes; k++) {
      if (changes[k].version != version || !fits(name, changes[k].name)) continue;
      if (restore(c, &c->tensors[i], changes[k].shape, changes[k].value, width)) return last_status();
      break;
    }
  }
  return STATUS_OK;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

static status cut_short(const char *what, size_t need, size_t room) {
  return fail(STATUS_FORMAT, "%s takes %zu bytes, but only %zu follow: is the file cut short?", what, need, room);
}

/* Whether a file of this version may hold a type, and we read it. */
static status check_type(uint32_t version, uint32_t type, const char *what) {
  if (type >= TYPES)
    return fail(STATUS_FORMAT, "%s has data type %u, but there are only 0 to %d", what, type, TYPES - 1);
  if (types[type].dtype == CHECKPOINT_DTYPES)
    return fail(STATUS_UNSUPPORTED, "%s is quantized as %s, which is not read: quantize the original again", what,
                types[type].name);
  if (type > TYPE_FP16 && version == VERSION_PLAIN)
    return fail(STATUS_UNSUPPORTED,
                "%s holds %s blocks of file version 100, whose layout was given up in May 2023: quantize the original "
                "again",
                what, types[type].name);
  return STATUS_OK;
}

static status read_header(const checkpoint *c, file_header *h) {
  if (c->size < HEADER_BYTES) return cut_short("the header", HEADER_BYTES, c->size);
  if (little32(c->data) != MAGIC) return fail(STATUS_FORMAT, "is not an rwkv.cpp file");
  h->version = little32(c->data + 4);
  h->vocabulary = little32(c->data + 8);
  h->width = little32(c->data + 12);
  h->layers = little32(c->data + 16);
  h->type = little32(c->data + 20);
  if (h->version == 1)
    return fail(STATUS_UNSUPPORTED, "is a llama.cpp file of before May 2023 (ggmf): convert the original to GGUF");
  if (h->version != VERSION_PLAIN && h->version != VERSION_BLOCKS)
    return fail(STATUS_UNSUPPORTED, "has file version %u; rwkv.cpp's are 100 and 101", h->version);
  return check_type(h->version, h->type, "the file");
}

/* The six mixes of a block of RWKV-7 that the converter joined: [6,1,D] to six [1,1,D]. */
static status add_joined(checkpoint *c, const checkpoint_tensor *all) {
  static const char letters[] = "rwkvag";
  const size_t stem = strlen(all->name) - strlen("rwkvag");
  char name[CHECKPOINT_NAME_MAX + 1];
  checkpoint_tensor t = *all;
  if (all->n_dims != 3 || all->dim[0] != 6 || all->dim[1] != 1)
    return fail(STATUS_FORMAT, "tensor %s does not have the shape [6,1,D]", all->name);
  t.dim[0] = 1;
  t.bytes /= 6;
  t.name = name;
  memcpy(name, all->name, stem);
  for (size_t i = 0; letters[i]; i++) {
    name[stem] = letters[i];
    name[stem + 1] = 0;
    t.data = (const uint8_t *)all->data + i * t.bytes;
    if (checkpoint_add(c, &t)) return last_status();
  }
  return STATUS_OK;
}

/* Dimensions at `at`, innermost first. */
static status read_shape(checkpoint_tensor *t, const uint8_t *at) {
  for (int i = 0; i < t->n_dims; i++) {
    t->dim[i] = (int32_t)little32(at + 4 * (t->n_dims - 1 - i));
    if (t->dim[i] < 1) return fail(STATUS_FORMAT, "tensor %s has a dimension of %lld", t->name, (long long)t->dim[i]);
  }
  char shape[CHECKPOINT_SHAPE_TEXT];
  if (checkpoint_shape_bytes(t->dtype, t->n_dims, t->dim, &t->bytes)) return STATUS_OK;
  return fail(STATUS_FORMAT, "tensor %s has the shape %s, which is impossible for %s", t->name,
              checkpoint_shape_text(t->n_dims, t->dim, shape), checkpoint_dtype_name(t->dtype));
}

/* The tensor at *at, which moves behind it. */
static status read_tensor(checkpoint *c, const file_header *h, size_t *at) {
  const uint8_t *p = c->data + *at;
  const size_t room = c->size - *at;
  if (room < 12) return cut_short("a tensor", 12, room);
  const uint32_t n_dims = little32(p), length = little32(p + 4), type = little32(p + 8);
  if (n_dims < 1 || n_dims > DIMS_MAX)
    return fail(STATUS_FORMAT, "the tensor at byte %zu has %u dimensions, not 1 to %d", *at, n_dims, DIMS_MAX);
  if (length < 1 || length > CHECKPOINT_NAME_MAX)
    return fail(STATUS_FORMAT, "the tensor at byte %zu has a name of %u bytes, not 1 to %d", *at, length,
                CHECKPOINT_NAME_MAX);
  const size_t start = 12 + 4 * (size_t)n_dims + length;
  if (room < start) return cut_short("a tensor", start, room);
  char name[CHECKPOINT_NAME_MAX + 1];
  memcpy(name, p + start - length, length);
  name[length] = 0;
  if (strlen(name) != length) return fail(STATUS_FORMAT, "the tensor at byte %zu has a zero byte in its name", *at);
  if (checkpoint_check_name(name) || check_type(h->version, type, name)) return last_status();
  if (type > TYPE_FP16 && type != h->type)
    return fail(STATUS_FORMAT, "tensor %s is %s, but the header says %s", name, types[type].name, types[h->type].name);
  checkpoint_tensor t = {.name = name, .dtype = types[type].dtype, .n_dims = (int)n_dims, .data = p + start};
  if (read_shape(&t, p + 12)) return last_status();
  if (t.bytes > room - start) return cut_short(name, t.bytes, room - start);
  *at += start + t.bytes;
  long block;
  const char *in = in_block(name, &block);
  return in && !strcmp(in, "att.x_rwkvag") ? add_joined(c, &t) : checkpoint_add(c, &t);
}

static status check_matrix(const checkpoint *c, const file_header *h, const char *name) {
  size_t i = 0;
  while (i < c->count && strcmp(c->tensors[i].name, name)) i++;
  if (i == c->count) return fail(STATUS_FORMAT, "there is no tensor %s: is the file cut short?", name);
  const checkpoint_tensor *t = &c->tensors[i];
  char shape[CHECKPOINT_SHAPE_TEXT];
  if (t->n_dims == 2 && t->dim[0] == h->vocabulary && t->dim[1] == h->width) return STATUS_OK;
  return fail(STATUS_FORMAT, "the header says %u tokens of width %u, but %s is %s", h->vocabulary, h->width, name,
              checkpoint_shape_text(t->n_dims, t->dim, shape));
}

/* The header's numbers against the tensors. Both matrices are asked for since the head is written last: a file that was
 * cut between two tensors lacks it. */
static status check_header(const checkpoint *c, const file_header *h) {
  long layers = 0;
  for (size_t i = 0; i < c->count; i++) {
    long block;
    if (in_block(c->tensors[i].name, &block) && block >= layers) layers = block < INT32_MAX ? block + 1 : INT32_MAX;
  }
  if (check_matrix(c, h, "emb.weight") || check_matrix(c, h, "head.weight")) return last_status();
  if (layers == (long)h->layers) return STATUS_OK;
  return fail(STATUS_FORMAT, "the header says %u layers, but the tensors make %ld", h->layers, layers);
}

status rwkvcpp_read(checkpoint *c) {
  file_header h;
  size_t at = HEADER_BYTES;
  if (read_header(c, &h)) return last_status();
  while (at < c->size)
    if (read_tensor(c, &h, &at)) return last_status();
  return check_header(c, &h) ? last_status() : restore_all(c, h.width);
}
