/* Work cut into parts that threads take in turn (omp for schedule(dynamic)): long ones first, since memory is read best
 * from beginning to end, short ones last, so that all threads end together, whatever else their processors do. */
#ifndef LINNET_KERNELS_CPU_PARTS_H
#define LINNET_KERNELS_CPU_PARTS_H

#include <omp.h>
#include <stddef.h>

enum { PARTS_MOST = 1023 }; /* enough for a hundred threads */

/* Part i is the items from[i]..from[i + 1] - 1. */
typedef struct {
  size_t count, from[PARTS_MOST + 1];
} parts;

/* Cuts n items: each part is half a thread's share of what is left. */
static inline void parts_cut(parts *p, size_t n) {
  const size_t shares = 2 * (size_t)omp_get_max_threads();
  p->count = p->from[0] = 0;
  while (p->from[p->count] < n) {
    const size_t at = p->from[p->count++], left = n - at, share = left / shares;
    p->from[p->count] = p->count == PARTS_MOST ? n : at + (share > 0 ? share : 1);
  }
}

#endif
