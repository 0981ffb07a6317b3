/* What products of many rows and some panels of weights have in common.
 *
 * Sums of all rows, [row][panels], are kept in one piece until they are complete: rows of y lie pages apart. While
 * tiles are computed memory has nothing else to do: each asks for its share of the weights that come next. */
#ifndef LINNET_KERNELS_CPU_PANELS_H
#define LINNET_KERNELS_CPU_PANELS_H

#include "kernels/cpu/act.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/quant_lanes.h"

/* stream() of lanes. */
static inline void lanes_stream(float *to, lanes x) {
#if defined(__AVX512F__)
  stream(x, to);
#elif defined(__AVX2__)
  stream(x.low, to);
  stream(x.high, to + VEC);
#else
  lanes_store(to, x);
#endif
}

/* --- sums --------------------------------------------------------------------------------------------------------- */

/* A panel's columns of y [rows, ldy]; `columns` are left in a row from the first of them on. Complete sums go through
 * `act`. */
typedef struct {
  size_t rows, panels, columns, ldy;
  float *y;
  act_kind act;
} panel_place;

/* Sums that begin at zero, or at what y holds. */
static inline void panel_sums_begin(const panel_place *p, bool zero, lanes *sum) {
  for (size_t m = 0; m < p->rows; m++)
    for (size_t r = 0; r < p->panels; r++, sum++)
      *sum = zero || p->columns <= r * LANES ? lanes_zero()
                                             : lanes_load_part(p->y + m * p->ldy + r * LANES, p->columns - r * LANES);
}

/* Whole lines of many rows go past the caches. */
enum { STREAM_ROWS = 64 };
static inline void panel_sums_end(const panel_place *p, lanes *sum) {
  lanes_act(p->act, p->rows * p->panels, sum);
  const bool past = p->rows >= STREAM_ROWS && p->columns >= p->panels * LANES &&
                    ((uintptr_t)p->y | p->ldy * sizeof(float)) % sizeof(lanes) == 0;
  for (size_t m = 0; m < p->rows; m++)
    for (size_t r = 0; r < p->panels; r++, sum++)
      if (past)
        lanes_stream(p->y + m * p->ldy + r * LANES, *sum);
      else if (p->columns > r * LANES)
        lanes_store_part(p->y + m * p->ldy + r * LANES, p->columns - r * LANES, *sum);
  if (past) stream_end();
}

/* --- weights that come next --------------------------------------------------------------------------------------- */

enum { NEXT_PANELS = 4 };

/* `share` bytes for each tile, of each panel. */
typedef struct {
  size_t panels, share;
  const uint8_t *at[NEXT_PANELS];
} next_weights;

static inline void ask_for_share(const next_weights *w, size_t tile) {
  for (size_t at = tile * w->share; at < (tile + 1) * w->share; at += CACHE_LINE)
    for (size_t r = 0; r < w->panels; r++) __builtin_prefetch(w->at[r] + at, 0, 2);
}

#endif
