/* linnet bench: its parts, one file each, which measure and print, and what they share. A new part is declared here and
 * gets its line in bench.c's table. */
#ifndef LINNET_APPS_BENCH_H
#define LINNET_APPS_BENCH_H

#include <jansson.h>

#include "kernels/base.h"

/* The options of all parts. */
typedef struct {
  const char *model, *file; /* file: the operand, or NULL */
  int runs;                 /* 0: as many as the part thinks right (runs_or) */
  int threads, batch, steps, rows, width, queries, k;
  double size;
  const char *faiss, *effort;                                /* FAISS's index: factory string, settings */
  const char *synthetic, *type, *layout, *keep, *vocabulary; /* a model that is made up (synthetic.h) */
  const char *prompts, *answers, *output, *save;             /* lists of numbers; "md", "csv", "json" or NULL */
  int chunk;
} bench_options;

typedef struct {
  const char *word;
  bool usual; /* also measured when no part is named */
  bool takes_file;
  json_t *(*measure)(const bench_options *o); /* the report's entry; NULL with a sentence */
  void (*print)(const bench_options *o, const json_t *found);
} bench_part;

extern const bench_part bench_caption;     /* one picture's way to its caption, stage by stage */
extern const bench_part bench_training;    /* a training step beside the largest matrix product */
extern const bench_part bench_lm_training; /* a training step of a text model, likewise */
extern const bench_part bench_pictures;    /* pictures a second through an image tower, beside the largest product */
extern const bench_part bench_files;       /* opening and reading a model file beside a plain read of it */
extern const bench_part bench_lm;          /* tokens a second of a text model, beside memory and arithmetic */
extern const bench_part bench_search;      /* exact search in made-up vectors beside the speed of memory and FAISS */

static inline int runs_or(const bench_options *o, int usual) { return o->runs ? o->runs : usual; }

/* Of n values in order: the middle one, the mean, the standard deviation (of a sample; 0 for one value). */
double median(double *values, int n); /* sorts them */
double mean(const double *values, int n);
double deviation(const double *values, int n);
json_t *json_rounds(const double *values, int n); /* an array of them */
double number_in(const json_t *object, const char *key);
const char *text_in(const json_t *object, const char *key);

/* The lines of arithmetic: found has gflops, sgemm_gflops and share. */
void print_products(const char *whose, const json_t *found);

/* Makes a folder for the time being in $TMPDIR or /tmp. */
status make_folder(char *path, size_t room);

#endif
