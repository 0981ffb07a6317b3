/* Sums of some panels and all rows, [row][panels], kept in one piece until they are complete: rows of y lie pages
 * apart.
 */
#ifndef LINNET_KERNELS_CPU_PANEL_SUMS_H
#define LINNET_KERNELS_CPU_PANEL_SUMS_H

#include "kernels/cpu/quant_lanes.h"

#if defined(__AVX512F__)
static inline void lanes_stream(float *to, lanes x) { _mm512_stream_ps(to, x); }
static inline void stream_end(void) { _mm_sfence(); }
#elif defined(__AVX2__)
static inline void lanes_stream(float *to, lanes x) {
  _mm256_stream_ps(to, x.low);
  _mm256_stream_ps(to + 8, x.high);
}
static inline void stream_end(void) { _mm_sfence(); }
#else
static inline void lanes_stream(float *to, lanes x) { lanes_store(to, x); }
static inline void stream_end(void) {}
#endif

/* A panel's columns of y [rows, ldy]; `columns` are left in a row from the first of them on. */
typedef struct {
  size_t rows, panels, columns, ldy;
  float *y;
} panel_place;

/* Sums that begin at zero, or at what y holds. */
static inline void panel_sums_begin(const panel_place *p, bool zero, lanes *sum) {
  for (size_t m = 0; m < p->rows; m++)
    for (size_t r = 0; r < p->panels; r++, sum++)
      *sum = zero || p->columns <= r * LANES ? lanes_zero()
                                             : lanes_load_part(p->y + m * p->ldy + r * LANES, p->columns - r * LANES);
}

/* Whole lines of many rows go past the caches, which they would push others out of, and into which they would be read
 * only to be overwritten. */
enum { STREAM_ROWS = 64 };
static inline void panel_sums_end(const panel_place *p, const lanes *sum) {
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

#endif
