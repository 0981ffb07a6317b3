#include "weights/statistics.h"

#include <math.h>
#include <stdlib.h>

/* Sums are taken of differences to the first finite value: a mean far from zero costs no digits. */
typedef struct {
  double first, sum, squares;
  int64_t finite;
} moments;

static void add(tensor_statistics *s, moments *m, float value) {
  const double x = (double)value;
  s->zeros += value == 0;
  s->nans += isnan(value);
  s->infinities += isinf(value);
  if (!isfinite(value)) return;
  if (m->finite++ == 0) m->first = s->min = s->max = x;
  s->min = x < s->min ? x : s->min;
  s->max = x > s->max ? x : s->max;
  m->sum += x - m->first;
  m->squares += (x - m->first) * (x - m->first);
}

static status read_pieces(const checkpoint *c, const checkpoint_tensor *t, float *values, int64_t room,
                          tensor_statistics *s, moments *m) {
  for (int64_t at = 0, n; at < s->count; at += n) {
    n = s->count - at < room ? s->count - at : room;
    if (checkpoint_read_f32_part(c, t, at, n, values)) return last_status();
    for (int64_t i = 0; i < n; i++) add(s, m, values[i]);
  }
  return STATUS_OK;
}

status tensor_statistics_read(const checkpoint *c, const checkpoint_tensor *t, tensor_statistics *out) {
  enum { PIECE = 1 << 19 }; /* values: whole blocks of every type */
  moments m = {0};
  float *values = mem_alloc(PIECE, sizeof *values);
  *out = (tensor_statistics){.count = checkpoint_elements(t)};
  const status s = values ? read_pieces(c, t, values, PIECE, out, &m) : last_status();
  free(values);
  if (s || !m.finite) return s;
  const double n = (double)m.finite, mean = m.sum / n, variance = m.squares / n - mean * mean;
  out->mean = m.first + mean;
  out->deviation = variance > 0 ? sqrt(variance) : 0;
  return STATUS_OK;
}
