/* Parameters: one table per architecture, and the set of tensors that a table declares.
 *
 * A table row (param_spec) states once a parameter's official name, shape, file layout, class and initial values. That
 * one table serves loading, shape checks, initialisation, the optimizer's groups and saving. (Which tensors a block
 * type is for is told by names and shapes, for every system alike: convert.h.)
 *
 * For training, all values of a set are f32 and lie in one buffer, all gradients in another of the same layout. For
 * use, matrices and tables keep the type that their file has for them, if it is one that can be packed
 * (kernels/packed.h), and of an interleaved file these, and what is f32, stay where they lie in its mapping; the buffer
 * then holds the rest. Of such a set no gradients are wanted, and values are read by param_values(). */
#ifndef LINNET_WEIGHTS_PARAMS_H
#define LINNET_WEIGHTS_PARAMS_H

#include "kernels/tensor.h"
#include "weights/checkpoint.h"

/* What a training recipe maps to learning rate and weight decay. */
typedef enum {
  PARAM_MATRIX,
  PARAM_EMBEDDING,
  PARAM_LOW_RANK,
  PARAM_MIX,
  PARAM_DECAY,
  PARAM_BONUS,
  PARAM_LOG_BONUS, /* a bonus in the log domain */
  PARAM_NORM,
  PARAM_BIAS,
  PARAM_POSITION,
  PARAM_STATE, /* a trained initial state */
  PARAM_CLASSES
} param_class;

/* What initial values depend on. */
typedef struct {
  const int64_t *dim; /* file shape */
  int n_dims, layer, n_layers;
  float gain; /* the row's number; its meaning is the function's */
  rng random;
} init_site;
typedef void (*init_fn)(init_site *site, float *data, int64_t n);

/* How the file lays a tensor out, against the layout kernels want. */
typedef enum {
  LAYOUT_SAME,
  LAYOUT_PATCH,      /* file [D,3,P,P] -> memory [D, P*P*3] in (row, column, channel) order */
  LAYOUT_TRANSPOSED, /* the last two dimensions exchanged */
} param_layout;

enum { PARAM_DIMS = 4 };
enum {
  PARAM_FIRST_BLOCK = 1,  /* exists in block 0 only */
  PARAM_TRAINING = 2,     /* not part of a model for use: left out of exported files, not required when loading */
  PARAM_LATER_BLOCKS = 4, /* exists in every block but block 0 */
  PARAM_CUT = 8,          /* a matrix that is used in parts, and so is f32 for use too */
  /* bits from 8 on are the declarer's own */
};

typedef struct {
  const char *name;    /* "%d" stands for the block number */
  size_t field;        /* offset of the tensor pointer in the struct that declares it */
  int dim[PARAM_DIMS]; /* file shape: > 0 a number, < 0 the entry -dim of `sizes`, 0 ends */
  param_class class;
  init_fn init;
  float gain;
  unsigned flags;
  param_layout layout;
} param_spec;

typedef struct {
  char *name;
  const param_spec *spec;
  int layer; /* 0 for parameters outside blocks */
  int n_layers;
  float gain; /* the row's, for its initial values; its declarer may change it */
  int n_dims;
  int64_t dim[PARAM_DIMS]; /* file shape */
  tensor *value, **slot;   /* the tensor, and where its owner points to it */
  dtype type;              /* F32, or packed */
  const void *mapped;      /* in the mapping of the set's file; else NULL */
  size_t first;            /* unless mapped: offset in the set's buffers, in floats; packed: in `packed`, in bytes */
} param;

typedef struct {
  param *item;
  size_t n, capacity;
  tensor *tensors;
  float *values, *grads; /* 64-byte aligned, `count` floats each; grads NULL unless params_want_grads */
  size_t count;
  uint8_t *packed; /* 64-byte aligned */
  size_t packed_bytes;
  checkpoint *file; /* the set's share of the one in whose mapping parameters lie; NULL if none does */
} param_set;

/* Adds the rows of a table whose name has no "%d" (block < 0) or has one (block >= 0), with `prefix` before each name.
 * `owner` is the struct with the tensor pointers, which params_allocate fills; it must stay where it is. sizes[i] is
 * what dim -i means (sizes[0] is unused). */
status params_declare(param_set *set, const char *prefix, const param_spec *rows, size_t n_rows, int block,
                      int n_blocks, const int64_t *sizes, void *owner);
/* Makes the tensors and stores them in their owners. Call once, after every declaration. */
status params_allocate(param_set *set);
void params_free(param_set *set); /* and closes its share of the file */

typedef enum { PARAMS_FOR_TRAINING, PARAMS_FOR_USE } params_purpose;
/* Checks names and shapes, allocates and loads a whole model. Of parameters that stay in the file's mapping the values
 * are not looked at: that they are finite shows when they are used. The checkpoint remains the caller's, to be closed
 * at any time. */
status params_open(param_set *set, const checkpoint *file, params_purpose purpose);

/* Allocates (or frees) zeroed gradients and marks every parameter as wanting one. */
status params_want_grads(param_set *set, bool want);
void params_zero_grads(param_set *set);

/* Initial values: a pure function of seed, name and shape. */
void params_init(param_set *set, uint64_t seed);
/* Every parameter from the file, shape checked, widened to f32, permuted to memory layout. Missing ones, wrong shapes
 * and values that are not finite are errors that name file and tensor; rows marked PARAM_TRAINING may be absent (then
 * they keep their values). With `partial`, any parameter that is absent or of another shape keeps its value (warm
 * start), and *n_loaded (may be NULL) counts those that were read. */
status params_load(param_set *set, const checkpoint *file, bool partial, size_t *n_loaded);
/* Names and shapes alone, by the same rules as a load that is not partial, before params_allocate: so that a file with
 * absurd sizes is refused before memory is asked for. */
status params_check(const param_set *set, const checkpoint *file);
/* The values first .. first + n - 1 of a parameter as they lie in memory, whatever its type, exact. */
void param_values(const tensor *value, size_t first, size_t n, float *out);
/* Gives all values to `take`, in pieces: for both purposes the same, those of set->values after params_allocate(). */
void params_each_value(const param_set *set, void (*take)(void *user, const float *values, size_t n), void *user);
/* For whoever uses a model: STATUS_FORMAT if what it computed is not finite, since of weights that stay in a mapping
 * nobody has looked whether they are. */
status params_check_result(const float *values, size_t n);
/* One parameter's values in file layout, into `out` (tensor_count floats). */
void param_export(const param *p, const float *memory, float *out);
void param_import(const param *p, const float *file, float *memory);

/* A further buffer of the set's layout in the same file (an optimizer's moments): every parameter's part under
 * prefix + name, as f32. */
typedef struct {
  const char *prefix;
  float *values;
} param_buffer;

/* A tensor of one dimension beside the set's, as f32. */
typedef struct {
  const char *name;
  const float *values;
  size_t n;
} param_extra;

/* What to write. */
typedef struct {
  checkpoint_dtype type;
  bool training; /* also the rows marked PARAM_TRAINING */
  size_t n_metadata;
  const char *const (*metadata)[2]; /* key, value */
  size_t n_buffers;
  const param_buffer *buffers;
  size_t n_extra;
  const param_extra *extra;
} params_file;

/* Writes a set into a .safetensors or .gguf file, whole or not at all (writer.h). Values that the type would make
 * infinite are refused. */
status params_save(const param_set *set, const char *path, const params_file *what);
/* Reads a further buffer back; every parameter must be there. */
status params_load_buffer(const param_set *set, const checkpoint *file, const param_buffer *buffer);
/* The same of n values that were written as a param_extra. */
status params_load_extra(const checkpoint *file, const char *name, float *values, size_t n);

/* --- configs from files ------------------------------------------------------------------------------------------- */
/* The shape of tensor prefix+name, which must have n_dims dimensions, each at least 1 and below 2^31. */
status checkpoint_shape(const checkpoint *file, const char *prefix, const char *name, int n_dims, int64_t *dim);
/* 1 + the largest number N for which a tensor prefix+stem+N+"."... exists; 0 if there is none. */
int checkpoint_blocks(const checkpoint *file, const char *prefix, const char *stem);

/* --- initial values (init.c); formulas: spec language-models 5.4, rwkv-clip 10.3 ---------------------------------- */
/* In curves, c runs over the last dimension(s) flattened (C values), a = layer/(layers-1), b = 1 - layer/layers. */
void init_constant(init_site *s, float *d, int64_t n); /* gain */
void init_uniform(init_site *s, float *d, int64_t n);  /* U(-gain, gain) */
void init_normal(init_site *s, float *d, int64_t n);   /* N(0, gain^2) */
void init_fan_in(init_site *s, float *d, int64_t n);   /* U(-1/sqrt(f), 1/sqrt(f)), f = product of dims but the first */
void init_normal_in(init_site *s, float *d, int64_t n);       /* N(0, gain^2 / last dimension) */
void init_normal_out(init_site *s, float *d, int64_t n);      /* N(0, gain^2 / first dimension) */
void init_residual(init_site *s, float *d, int64_t n);        /* N(0, gain^2 / (first dimension * 2 * layers)) */
void init_orthogonal(init_site *s, float *d, int64_t n);      /* semi-orthogonal [out,in] times gain */
void init_orthogonal_tall(init_site *s, float *d, int64_t n); /* and times sqrt(out/in) where out > in */
void init_maa(init_site *s, float *d, int64_t n);             /* 1 - (c/C)^(gain b) */
void init_maa_value(init_site *s, float *d, int64_t n);       /* 1 - ((c/C)^b + 0.3 a) */
void init_maa_ffn(init_site *s, float *d, int64_t n);         /* 1 - (c/C)^(b^gain) */
void init_keep(init_site *s, float *d, int64_t n);            /* (c/C)^(gain b) */
void init_keep_value(init_site *s, float *d, int64_t n);      /* (c/C)^b + 0.3 a */
void init_decay(init_site *s, float *d, int64_t n);           /* -6 + 5 (c/(C-1))^(0.7+1.3a) */
void init_decay4(init_site *s, float *d, int64_t n);          /* -5 + 8 (c/(C-1))^(0.7+1.3a) */
void init_bonus(init_site *s, float *d, int64_t n);           /* a (1 - c/(C-1)) + 0.1 ((c+1) mod 3 - 1) */
void init_bonus4(init_site *s, float *d, int64_t n);          /* ln 0.3 + 0.5 ((c+1) mod 3 - 1) */
void init_bonus_heads(init_site *s, float *d, int64_t n);     /* a (1 - c/(C-1)) */
void init_depth_norm(init_site *s, float *d, int64_t n);      /* ((1+layer)/layers)^0.7 */
/* RWKV-7: with e = c/(C-1) - 0.5 and, in heads of N = gain channels, z = q|q|, q = 2 (c mod N)/(N-1) - 1 */
void init_decay7(init_site *s, float *d, int64_t n);     /* -5.5 + 6 (c/(C-1))^(1+a^0.3) + 2.5 z */
void init_rate7(init_site *s, float *d, int64_t n);      /* -0.19 + 0.3 z + 0.4 e */
void init_value7(init_site *s, float *d, int64_t n);     /* 0.73 - 0.4 e */
void init_key_scale7(init_site *s, float *d, int64_t n); /* 0.71 - 0.1 e */

#endif
