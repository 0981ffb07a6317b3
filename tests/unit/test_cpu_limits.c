/* What benchmarks compare with: that all is read, and that operations are counted. Never a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/base.h"
#include "tests/support/kernel_check.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* Every word counts, wherever the bytes lie and whether they are asked for ahead or not. */
static void reads_all(const cpu_kernels *k) {
  enum { MOST = 4096 };
  uint8_t *bytes = malloc(MOST + 1);
  assert_non_null(bytes);
  for (size_t i = 0; i < MOST + 1; i++) bytes[i] = (uint8_t)(random_u64(7, 0, i) >> 13);
  for (size_t n = 0; n <= MOST; n += n < 512 ? 64 : 512)
    for (size_t from = 0; from < 2; from++) {
      uint64_t want = 0, word;
      for (size_t at = 0; at < n; at += sizeof word) {
        memcpy(&word, bytes + from + at, sizeof word);
        want += word;
      }
      for (read_way way = 0; way < READ_WAYS; way++) assert_true(k->read_sum(n, bytes + from, way) == want);
    }
  free(bytes);
}

/* Operations grow with the rounds; every table has f32, and one that extends another has all that the other has. */
static void counts(const cpu_kernels *k) {
  const cpu_kernels *base = k->base ? cpu_variant(k->base) : NULL;
  for (peak_kind kind = 0; kind < PEAK_KINDS; kind++) {
    const double one = k->peak(kind, 1);
    assert_true(one >= 0 && k->peak(kind, 1000) == 1000 * one && k->peak(kind, 0) == 0);
    if (kind == PEAK_F32) assert_true(one > 0);
    if (base) assert_true(one >= base->peak(kind, 1));
  }
}

static void test_read_sum(void **state) {
  (void)state;
  for_each_table(reads_all);
}

static void test_peak(void **state) {
  (void)state;
  for_each_table(counts);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_sum), cmocka_unit_test(test_peak)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
