/* Speed of the tokenizers on one core: bench_tokenizers VOCABULARY TEXT... A vocabulary is a World text file, a
 * tokenizer.json, or "midi"; each text is measured for itself: its lines one by one, as training data come, and as one
 * piece. Times are the best of about a second; MB are a million bytes. docs/library.md has figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"
#include "kernels/file.h"

typedef struct {
  const tokenizer *words;
  const char *text;
  size_t n, count;
  int32_t *ids;
} job;

static void encode_whole(job *j) { j->count = tokenizer_encode(j->words, j->text, j->n, j->ids, j->n); }

static void encode_lines(job *j) {
  j->count = 0;
  for (size_t at = 0, length; at < j->n; at += length) {
    const char *end = memchr(j->text + at, '\n', j->n - at);
    length = end ? (size_t)(end - j->text) + 1 - at : j->n - at;
    j->count += tokenizer_encode(j->words, j->text + at, length, j->ids + j->count, j->n - j->count);
  }
}

static void decode(job *j) {
  char *text = NULL;
  if (tokenizer_decode(j->words, j->ids, j->count, &text, NULL)) exit(1);
  free(text);
}

/* Megabytes of text a second. */
static double speed(void (*run)(job *), job *j) {
  double best = 1e9;
  for (const double end = clock_seconds() + 1; clock_seconds() < end;) {
    const double start = clock_seconds();
    run(j);
    const double seconds = clock_seconds() - start;
    if (seconds < best) best = seconds;
  }
  return (double)j->n / best * 1e-6;
}

static double opening(const char *path) {
  double best = 1e9;
  for (int i = 0; i < 5; i++) {
    const double start = clock_seconds();
    tokenizer *t = tokenizer_open(path);
    const double seconds = clock_seconds() - start;
    if (!t) {
      fprintf(stderr, "%s\n", last_error());
      exit(1);
    }
    tokenizer_free(t);
    if (seconds < best) best = seconds;
  }
  return best * 1e3;
}

int main(int n, char **arguments) {
  if (n < 3) {
    fprintf(stderr, "usage: bench_tokenizers VOCABULARY TEXT...\n");
    return 2;
  }
  tokenizer *words = tokenizer_open(arguments[1]);
  printf("%s: opened in %.1f ms\n", arguments[1], opening(arguments[1]));
  printf("%12s %12s %10s %10s %10s\n", "bytes", "tokens", "whole MB/s", "lines MB/s", "back MB/s");
  for (int i = 2; i < n; i++) {
    job j = {.words = words};
    char *text = file_read(arguments[i], (uint64_t)1 << 30, &j.n);
    if (!text || !(j.ids = mem_alloc(j.n, sizeof *j.ids))) {
      fprintf(stderr, "%s\n", last_error());
      return 1;
    }
    j.text = text;
    const double lines = speed(encode_lines, &j), whole = speed(encode_whole, &j);
    if (j.count > j.n) return 1; /* a text that grows in its normal form is none to measure */
    const double back = speed(decode, &j);
    printf("%12zu %12zu %10.1f %10.1f %10.1f  %s\n", j.n, j.count, whole, lines, back, arguments[i]);
    free(j.ids);
    free(text);
  }
  tokenizer_free(words);
  return 0;
}
