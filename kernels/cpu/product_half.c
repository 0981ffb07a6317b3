/* y = x w^T with weights of 16 bits. Few rows: memory decides, and the weights are widened to f32 (half_exact.h). Many:
 * integers of 16 bits, of which a processor multiplies twice as many as floats (half_fixed.h). An output is summed in
 * the order of its values, however many threads there are. */
#if defined(CPU_NEON)
#include "kernels/cpu/half_exact.h"
#else
#include "kernels/cpu/half_fixed.h"
#endif
#include "kernels/cpu/parts.h"

static void few_rows(const packed_product *p) {
  const packed_matrix *w = &p->w;
  const size_t M = p->M;
  static const size_t rows[EXACT_MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  parts work;
  parts_cut(&work, (w->N + PACKED_ROWS - 1) / PACKED_ROWS);
#pragma omp parallel for schedule(dynamic) if (M * w->N * w->K >= CPU_PARALLEL_MIN)
  for (size_t part = 0; part < work.count; part++)
    for (size_t panel = work.from[part]; panel < work.from[part + 1]; panel++)
      for (size_t m = 0; m < M; m += EXACT_MOST) exact_rows(p, panel, smaller(EXACT_MOST, M - m), m, rows);
}

#if defined(CPU_NEON)
/* Here integers of 16 bits are not multiplied any faster than floats. */
static void many_rows(const packed_product *p) { few_rows(p); }
#else
static void many_rows(const packed_product *all) {
  const fixed_product product = fixed_open(all), *p = &product;
  const size_t M = all->M, N = all->w.N, panels = (N + PACKED_ROWS - 1) / PACKED_ROWS;
  parts work;
  parts_cut(&work, (panels + FIXED_PANELS - 1) / FIXED_PANELS);
#pragma omp parallel if (M * N * all->w.K >= CPU_PARALLEL_MIN)
  {
#pragma omp for schedule(static)
    for (size_t m = 0; m < M; m++) fixed_row(p, m);
#pragma omp for schedule(dynamic)
    for (size_t part = 0; part < work.count; part++)
      for (size_t i = work.from[part]; i < work.from[part + 1]; i++)
        fixed_panels(p, i * FIXED_PANELS, smaller(FIXED_PANELS, panels - i * FIXED_PANELS));
  }
}
#endif

static void product_half(const packed_product *p) { p->M <= EXACT_MOST ? few_rows(p) : many_rows(p); }

void CPU_FAMILY(product_half)(cpu_kernels *table);
void CPU_FAMILY(product_half)(cpu_kernels *table) { table->product_half = product_half; }
