/* Text models of every version in memory, all of whose parameters are random. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_TINY_RWKV_H
#define LINNET_TESTS_TINY_RWKV_H

#include "lm/rwkv.h"

enum { TINY_RWKV_VOCABULARY = 50 };

typedef struct {
  const char *name;
  rwkv_config config; /* four layers of width 24 */
} tiny_rwkv_form;

/* Versions 4, 5.0, 5.1, 5.2, 6, 7, and two with attention wider than the model. */
enum { TINY_RWKV_FORMS = 8, TINY_RWKV_5 = 1, TINY_RWKV_6 = 4, TINY_RWKV_7 = 5 };
extern const tiny_rwkv_form tiny_rwkv_forms[TINY_RWKV_FORMS];

typedef struct {
  param_set set;
  rwkv lm;
} tiny_rwkv;

void tiny_rwkv_new(tiny_rwkv *m, const rwkv_config *config, uint64_t seed); /* names begin with "t." */
void tiny_rwkv_free(tiny_rwkv *m);

/* A context; random token rows [B,T,D]; tokens [from, from+n) of every row; random ids [B,T]. */
ctx *tiny_context(void);
tensor *tiny_rows(ctx *c, int64_t B, int64_t T, int64_t D, uint64_t seed);
tensor *tiny_columns(ctx *c, const tensor *x, int64_t from, int64_t n);
tensor *tiny_ids(ctx *c, int64_t B, int64_t T, uint64_t seed);

/* Relative L2 error of `got` against `want`, at most `tolerance`. */
void tiny_same(const char *what, const float *got, const float *want, size_t n, double tolerance);

#endif
