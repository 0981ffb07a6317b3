/* What every hot family's source starts with. Such a source is compiled once for each instruction set; CPU_VARIANT
 * names the one at hand. Everything in it is static but one function, cpu_FAMILY_VARIANT(table), which enters the
 * family's kernels into the table of that instruction set (dispatch.c). */
#ifndef LINNET_KERNELS_CPU_VARIANT_H
#define LINNET_KERNELS_CPU_VARIANT_H

#include "kernels/cpu/cpu.h"

#ifndef CPU_VARIANT
#define CPU_VARIANT generic
#endif
#define CPU_JOIN_NAMES(family, variant) cpu_##family##_##variant
#define CPU_JOIN(family, variant) CPU_JOIN_NAMES(family, variant)
#define CPU_FAMILY(family) CPU_JOIN(family, CPU_VARIANT)

/* Below this many multiplications, or floats moved, waking the other threads costs more than it saves. */
#define CPU_PARALLEL_MIN ((size_t)1 << 15)
/* Loops over long vectors are shared out in blocks of this many floats. */
#define CPU_BLOCK ((size_t)8192)
static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

#endif
