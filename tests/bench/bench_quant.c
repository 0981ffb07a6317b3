/* Errors and speed of every block type: bench_quant [CHECKPOINT]. Errors are in units of the root mean square of the
 * values, on the sets of tests/support/quant_data.h and on the matrices of the checkpoint whose rows the type divides,
 * taken together. Speed is of one thread, in millions of values a second: the best of some 50 ms.
 *
 * Built with -DBENCH_GGML and ggml's headers and library it prints ggml's figures beside ours, theirs encoded by
 * ggml_quantize_chunk and by the reference functions, the ratios ours / theirs of error and of encoding speed, and
 * whether both decode ggml's blocks and random bits to the same bits. docs/quantization.md has the commands. */
#include "kernels/base.h"
#include "kernels/quant.h"
#include "tests/support/quant_data.h"
#include "weights/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BENCH_GGML
#include <ggml.h>

static const enum ggml_type theirs[QUANT_TYPES] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0,
                                                   GGML_TYPE_Q5_1, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K};
static void ggml_encode(quant_type type, const float *x, size_t n, void *blocks) {
  ggml_quantize_chunk(theirs[type], x, blocks, 0, 1, (int64_t)n, NULL);
}
static void ggml_encode_reference(quant_type type, const float *x, size_t n, void *blocks) {
  ggml_get_type_traits(theirs[type])->from_float_ref(x, blocks, (int64_t)n);
}
static void ggml_decode(quant_type type, const void *blocks, size_t n, float *out) {
  ggml_get_type_traits(theirs[type])->to_float(blocks, out, (int64_t)n);
}
#endif

typedef void encoder(quant_type, const float *, size_t, void *);
typedef void decoder(quant_type, const void *, size_t, float *);

typedef struct {
  size_t n, capacity;
  float *x, *decoded;
  uint8_t *blocks;
} values;

static bool resize(values *v, size_t n) {
  v->n = n;
  if (n <= v->capacity) return true;
  free(v->x), free(v->decoded), free(v->blocks);
  v->x = mem_alloc(n, sizeof *v->x);
  v->decoded = mem_alloc(n, sizeof *v->decoded);
  v->blocks = mem_alloc(n, 2); /* no type needs more */
  v->capacity = n;
  return v->x && v->decoded && v->blocks;
}

/* Millions of values a second, the best of some 50 ms. */
static double speed(encoder *encode, decoder *decode, quant_type type, values *v) {
  double best = 1e9;
  const double end = clock_seconds() + 0.05;
  do {
    const double start = clock_seconds();
    if (encode)
      encode(type, v->x, v->n, v->blocks);
    else
      decode(type, v->blocks, v->n, v->decoded);
    const double took = clock_seconds() - start;
    if (took < best) best = took;
  } while (clock_seconds() < end);
  return (double)v->n / best * 1e-6;
}

static quant_error measure(encoder *encode, quant_type type, values *v) {
  encode(type, v->x, v->n, v->blocks);
  quant_decode(type, v->blocks, v->n, v->decoded);
  return quant_error_of(v->n, v->x, v->decoded);
}

#ifdef BENCH_GGML
/* The blocks at hand, and then as many of random bits (where a NaN may be any NaN). */
static bool decodes_alike(quant_type type, values *v) {
  const size_t bytes = v->n / quant_block(type) * quant_bytes(type);
  float *theirs_decoded = mem_alloc(v->n, sizeof *theirs_decoded);
  bool same = theirs_decoded != NULL;
  for (int pass = 0; same && pass < 2; pass++) {
    for (size_t i = 0; pass && i < bytes; i++) v->blocks[i] = (uint8_t)random_u64(3, (uint64_t)type, i);
    ggml_decode(type, v->blocks, v->n, theirs_decoded);
    quant_decode(type, v->blocks, v->n, v->decoded);
    for (size_t i = 0; i < v->n; i++)
      same = same && (memcmp(theirs_decoded + i, v->decoded + i, 4) == 0 ||
                      (pass && isnan(theirs_decoded[i]) && isnan(v->decoded[i])));
  }
  free(theirs_decoded);
  return same;
}
#endif

static void print_row(const char *name, quant_type type, values *v) {
  const quant_error e = measure(quant_encode, type, v);
  const double encode = speed(quant_encode, NULL, type, v), decode = speed(NULL, quant_decode, type, v);
  printf("%-13s %-5s %6.4f %10.3e %10.3e %6.0f %6.0f", name, quant_name(type),
         8.0 * (double)quant_bytes(type) / (double)quant_block(type), e.rms, e.worst, encode, decode);
#ifdef BENCH_GGML
  const quant_error reference = measure(ggml_encode_reference, type, v), g = measure(ggml_encode, type, v);
  const double ggml_rate = speed(ggml_encode, NULL, type, v), ggml_decode_rate = speed(NULL, ggml_decode, type, v);
  printf("  %10.3e %10.3e %10.3e %6.0f %6.0f  %6.3f %5.2f  %s", g.rms, reference.rms, g.worst, ggml_rate,
         ggml_decode_rate, e.rms / g.rms, encode / ggml_rate, decodes_alike(type, v) ? "same" : "DIFFERENT");
#endif
  printf("\n");
}

/* All matrices of the file with rows that the type divides, one after the other. */
static bool load_matrices(const checkpoint *c, quant_type type, values *v) {
  for (int pass = 0; pass < 2; pass++) { /* count, read */
    size_t n = 0;
    for (size_t i = 0; i < checkpoint_count(c); i++) {
      const checkpoint_tensor *t = checkpoint_at(c, i);
      if (t->n_dims != 2 || t->dim[0] < 2 || !quant_fits(type, (size_t)t->dim[1])) continue;
      if (pass == 1 && checkpoint_read_f32(c, t, v->x + n) != STATUS_OK) return false;
      n += (size_t)checkpoint_elements(t);
    }
    if (pass == 0 && !resize(v, n)) return false;
  }
  return true;
}

int main(int argc, char **argv) {
  values v = {0};
  printf("values        type    bits       rmse      worst encode decode");
#ifdef BENCH_GGML
  printf("  ggml: rmse  reference      worst encode decode   ratio speed  decoded");
#endif
  printf("\n");
  if (!resize(&v, QUANT_DATA_VALUES)) return 1;
  for (int set = 0; set < QUANT_DATA_SETS; set++) {
    quant_data_fill(set, v.x);
    for (int type = 0; type < QUANT_TYPES; type++) print_row(quant_data_name(set), (quant_type)type, &v);
  }
  checkpoint *c = argc > 1 ? checkpoint_open(argv[1]) : NULL;
  if (argc > 1 && !c) return fprintf(stderr, "bench_quant: %s\n", last_error()), 1;
  for (int type = 0; c && type < QUANT_TYPES; type++) {
    if (!load_matrices(c, (quant_type)type, &v)) return fprintf(stderr, "bench_quant: %s\n", last_error()), 1;
    if (v.n) print_row("checkpoint", (quant_type)type, &v);
  }
  checkpoint_close(c);
  free(v.x), free(v.decoded), free(v.blocks);
  return 0;
}
