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
#endif

#define DECLARE_FAMILIES(variant)                                                                                      \
  void cpu_elementwise_##variant(cpu_kernels *);                                                                       \
  void cpu_norm_##variant(cpu_kernels *);                                                                              \
  void cpu_mix_##variant(cpu_kernels *);                                                                               \
  void cpu_wkv4_##variant(cpu_kernels *);                                                                              \
  void cpu_wkv6_##variant(cpu_kernels *);                                                                              \
  void cpu_wkv7_##variant(cpu_kernels *);                                                                              \
  void cpu_attention_##variant(cpu_kernels *);                                                                         \
  void cpu_search_scores_##variant(cpu_kernels *);                                                                     \
  void cpu_search_filter_##variant(cpu_kernels *);                                                                     \
  void cpu_loss_##variant(cpu_kernels *);                                                                              \
  void cpu_optim_##variant(cpu_kernels *);                                                                             \
  static void fill_##variant(cpu_kernels *table) {                                                                     \
    table->name = #variant;                                                                                            \
    cpu_elementwise_##variant(table);                                                                                  \
    cpu_norm_##variant(table);                                                                                         \
    cpu_mix_##variant(table);                                                                                          \
    cpu_wkv4_##variant(table);                                                                                         \
    cpu_wkv6_##variant(table);                                                                                         \
    cpu_wkv7_##variant(table);                                                                                         \
    cpu_attention_##variant(table);                                                                                    \
    cpu_search_scores_##variant(table);                                                                                \
    cpu_search_filter_##variant(table);                                                                                \
    cpu_loss_##variant(table);                                                                                         \
    cpu_optim_##variant(table);                                                                                        \
  }

DECLARE_FAMILIES(generic)
#ifdef LINNET_CPU_VARIANTS /* the build made them: kernels/CMakeLists.txt */
DECLARE_FAMILIES(avx2)
DECLARE_FAMILIES(avx512)
void cpu_search_scores_avx512vnni(cpu_kernels *);
void cpu_search_filter_avx512vnni(cpu_kernels *);
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

/* 8-bit products; not every processor with AVX-512 has them. */
static bool has_vnni(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_AVX512VNNI);
}
#else
bool cpu_has_avx512(void) { return false; }
#endif

enum { VARIANTS = 3 };
static pthread_once_t once = PTHREAD_ONCE_INIT;
static cpu_kernels tables[VARIANTS]; /* what this machine has, worst first */
static int table_count;
static const cpu_kernels *chosen;
static char report[160];

static const cpu_kernels *find(const char *name) {
  for (int i = 0; i < table_count; i++) {
    if (strcmp(tables[i].name, name) == 0) return &tables[i];
  }
  return NULL;
}

static void choose(void) {
  fill_generic(&tables[table_count++]);
#if defined(LINNET_CPU_VARIANTS) && defined(CPU_X86)
  if (has_avx2()) fill_avx2(&tables[table_count++]);
  if (cpu_has_avx512()) {
    cpu_kernels *table = &tables[table_count++];
    fill_avx512(table);
    if (has_vnni()) {
      cpu_search_scores_avx512vnni(table);
      cpu_search_filter_avx512vnni(table);
    }
  }
#endif
  const char *wish = getenv("LINNET_CPU");
  const cpu_kernels *wished = wish && *wish ? find(wish) : NULL;
  chosen = wished ? wished : &tables[table_count - 1];

  char names[64] = "";
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

const char *cpu_report(void) {
  pthread_once(&once, choose);
  return report;
}
