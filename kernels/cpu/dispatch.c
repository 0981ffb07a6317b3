/* Chooses the kernels' instruction set: builds one table a variant and picks the best that processor, operating system
 * (its saving of the wide registers, by xgetbv) and build have, or the one that LINNET_CPU names. */
#include "kernels/cpu/cpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define CPU_X86 1
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* Families that every full table has. */
#define FAMILIES(DO, variant)                                                                                          \
  DO(elementwise, variant)                                                                                             \
  DO(norm, variant)                                                                                                    \
  DO(mix, variant)                                                                                                     \
  DO(wkv4, variant)                                                                                                    \
  DO(wkv6, variant)                                                                                                    \
  DO(wkv7, variant)                                                                                                    \
  DO(attention, variant)                                                                                               \
  DO(search_scores, variant)                                                                                           \
  DO(search_filter, variant)                                                                                           \
  DO(loss, variant)                                                                                                    \
  DO(optim, variant)                                                                                                   \
  DO(product_quant, variant)                                                                                           \
  DO(product_half, variant)                                                                                            \
  DO(product_row, variant)                                                                                             \
  DO(product_few, variant)                                                                                             \
  DO(limits, variant)
#define DECLARE(family, variant) void cpu_##family##_##variant(cpu_kernels *);
#define ENTER(family, variant) cpu_##family##_##variant(table);
#define FULL_TABLE(variant)                                                                                            \
  FAMILIES(DECLARE, variant)                                                                                           \
  static void fill_##variant(cpu_kernels *table) { FAMILIES(ENTER, variant) }

FULL_TABLE(generic)
#if defined(LINNET_CPU_VARIANTS) && defined(CPU_X86) /* the build made them: kernels/CMakeLists.txt */
FULL_TABLE(avx2)
FULL_TABLE(avx512)

/* What wider sets add: families whose tables start as another's. */
DECLARE(product_quant, avxvnni)
DECLARE(product_half, avxvnni)
DECLARE(product_row, avxvnni)
DECLARE(product_quant, avx512vnni)
DECLARE(product_half, avx512vnni)
DECLARE(product_row, avx512vnni)
DECLARE(search_scores, avx512vnni)
DECLARE(search_filter, avx512vnni)
DECLARE(limits, avxvnni)
DECLARE(limits, avx512vnni)
static void fill_avxvnni(cpu_kernels *table) {
  ENTER(product_quant, avxvnni)
  ENTER(product_half, avxvnni)
  ENTER(product_row, avxvnni)
  ENTER(limits, avxvnni)
}
static void fill_avx512vnni(cpu_kernels *table) {
  ENTER(product_quant, avx512vnni)
  ENTER(product_half, avx512vnni)
  ENTER(product_row, avx512vnni)
  ENTER(search_scores, avx512vnni)
  ENTER(search_filter, avx512vnni)
  ENTER(limits, avx512vnni)
}
#elif defined(LINNET_CPU_VARIANTS)
/* Families with kernels written for NEON, and what has products of bytes. */
DECLARE(search_scores, neon)
DECLARE(search_filter, neon)
DECLARE(product_quant, neon)
DECLARE(product_half, neon)
DECLARE(product_row, neon)
DECLARE(product_few, neon)
DECLARE(limits, neon)
DECLARE(search_scores, dotprod)
DECLARE(search_filter, dotprod)
DECLARE(product_quant, dotprod)
DECLARE(product_row, dotprod)
DECLARE(limits, dotprod)
static void fill_neon(cpu_kernels *table) {
  ENTER(search_scores, neon)
  ENTER(search_filter, neon)
  ENTER(product_quant, neon)
  ENTER(product_half, neon)
  ENTER(product_row, neon)
  ENTER(product_few, neon)
  ENTER(limits, neon)
}
static void fill_dotprod(cpu_kernels *table) {
  ENTER(search_scores, dotprod)
  ENTER(search_filter, dotprod)
  ENTER(product_quant, dotprod)
  ENTER(product_row, dotprod)
  ENTER(limits, dotprod)
}
#endif

#ifdef CPU_X86
/* The mask of register sets that the operating system saves, or 0. */
static unsigned long long saved_registers(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((unsigned long long)high << 32) | low;
}

static bool has_avx2(void) {
  const unsigned long long wide = 0x6; /* xmm, ymm */
  unsigned a, b, c, d;
  if ((saved_registers() & wide) != wide) return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_AVX) || !(c & bit_FMA) || !(c & bit_F16C)) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

bool cpu_has_avx512(void) {
  const unsigned long long wide = 0xe6; /* also the masks and both halves of zmm */
  const unsigned parts = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  unsigned a, b, c, d;
  if (!has_avx2() || (saved_registers() & wide) != wide) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & parts) == parts;
}

/* The bits of leaf 7: sub-leaf 0's ecx, sub-leaf 1's eax. */
typedef struct {
  unsigned c0, a1;
} extensions;

static extensions read_extensions(void) {
  unsigned a, b, c, d;
  extensions e = {0};
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return e;
  const unsigned most = a;
  e.c0 = c;
  if (most >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) e.a1 = a;
  return e;
}
static bool has_avxvnni(void) { return has_avx2() && read_extensions().a1 >> 4 & 1; }
static bool has_avx512vnni(void) { return cpu_has_avx512() && read_extensions().c0 & bit_AVX512VNNI; }
#else
bool cpu_has_avx512(void) { return false; }
#if defined(__aarch64__) && defined(__linux__)
/* Products of bytes, and what version 8.2 of the architecture brings that compilers use unasked. */
static bool has_dotprod(void) {
  const unsigned long parts = HWCAP_ASIMDDP | HWCAP_ASIMDRDM | HWCAP_ATOMICS;
  return (getauxval(AT_HWCAP) & parts) == parts;
}
#elif defined(__aarch64__)
static bool has_dotprod(void) { return false; }
#endif
#endif

/* Every variant, the plainest first; one that a machine has is preferred to those before it. `base`: the table that it
 * starts as, which such a machine has too. */
static bool has_generic(void) { return true; }
static const struct {
  const char *name, *base;
  bool (*has)(void);
  void (*fill)(cpu_kernels *table);
} variants[] = {
    {"generic", NULL, has_generic, fill_generic},
#if defined(LINNET_CPU_VARIANTS) && defined(CPU_X86)
    {"avx2", NULL, has_avx2, fill_avx2},
    {"avxvnni", "avx2", has_avxvnni, fill_avxvnni},
    {"avx512", NULL, cpu_has_avx512, fill_avx512},
    {"avx512vnni", "avx512", has_avx512vnni, fill_avx512vnni},
#endif
#if defined(LINNET_CPU_VARIANTS) && defined(__aarch64__)
    {"neon", "generic", has_generic, fill_neon}, /* aarch64 always has it */
    {"dotprod", "neon", has_dotprod, fill_dotprod},
#endif
};

enum { VARIANTS = sizeof variants / sizeof *variants };
static pthread_once_t once = PTHREAD_ONCE_INIT;
static cpu_kernels tables[VARIANTS]; /* what this machine has, worst first */
static int table_count;
static const cpu_kernels *chosen;
static char report[240];

static const cpu_kernels *find(const char *name) {
  for (int i = 0; i < table_count; i++) {
    if (strcmp(tables[i].name, name) == 0) return &tables[i];
  }
  return NULL;
}

static void choose(void) {
  for (int i = 0; i < VARIANTS; i++) {
    if (!variants[i].has()) continue;
    cpu_kernels *table = &tables[table_count];
    if (variants[i].base) *table = *find(variants[i].base);
    table->name = variants[i].name;
    table->base = variants[i].base;
    variants[i].fill(table);
    table_count++;
  }
  const char *wish = getenv("LINNET_CPU");
  const cpu_kernels *wished = wish && *wish ? find(wish) : NULL;
  chosen = wished ? wished : &tables[table_count - 1];

  char names[120] = "";
  for (int i = 0, at = 0; i < table_count; i++) {
    at += snprintf(names + at, sizeof names - (size_t)at, "%s%s", i ? ", " : "", tables[i].name);
  }
  int length = snprintf(report, sizeof report, "%s (of %s)", chosen->name, names);
  if (wish && *wish && !wished) {
    snprintf(report + length, sizeof report - (size_t)length, "; LINNET_CPU=%.32s is not among them and was ignored",
             wish);
  }
}

const cpu_kernels *cpu(void) {
  pthread_once(&once, choose);
  return chosen;
}

const cpu_kernels *cpu_variant(const char *name) {
  pthread_once(&once, choose);
  return find(name);
}

const cpu_kernels *cpu_variant_at(int i) {
  pthread_once(&once, choose);
  return i >= 0 && i < table_count ? &tables[i] : NULL;
}

const char *cpu_report(void) {
  pthread_once(&once, choose);
  return report;
}
