#include "train/augment.h"

#include <math.h>
#include <string.h>

status augmentation_check(const augmentation *a, int side) {
  if (a->shift < 0 || a->shift >= side)
    return fail(STATUS_ARGUMENT, "a shift of %d pixels, expected 0 to %d", a->shift, side - 1);
  return a->erase >= 0 && a->erase <= 1
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "erasing with probability %g, expected 0 to 1", a->erase);
}

static int within(int x, int side) { return x < 0 ? 0 : x >= side ? side - 1 : x; }

/* A rectangle that fits; what does not is drawn again, ten times at most. */
static void erase(int side, rng *random, uint8_t *out) {
  const float least = 0.02f, most = 0.33f, narrow = 0.3f;
  for (int i = 0; i < 10; i++) {
    const float area = rng_range(random, least, most) * (float)(side * side);
    const float aspect = expf(rng_range(random, logf(narrow), -logf(narrow)));
    const int h = (int)lroundf(sqrtf(area * aspect)), w = (int)lroundf(sqrtf(area / aspect));
    if (h < 1 || w < 1 || h > side || w > side) continue;
    const int top = (int)rng_below(random, (uint32_t)(side - h + 1));
    const int left = (int)rng_below(random, (uint32_t)(side - w + 1));
    for (int y = 0; y < h; y++)
      for (int x = 0; x < 3 * w; x++) out[3 * ((top + y) * side + left) + x] = (uint8_t)rng_below(random, 256);
    return;
  }
}

void augment(const augmentation *a, int side, const uint8_t *rgb, rng *random, uint8_t *out) {
  const uint32_t places = 2 * (uint32_t)a->shift + 1;
  const int dx = a->shift ? (int)rng_below(random, places) - a->shift : 0;
  const int dy = a->shift ? (int)rng_below(random, places) - a->shift : 0;
  const bool mirror = a->flip && rng_below(random, 2);
  for (int y = 0; y < side; y++)
    for (int x = 0; x < side; x++) {
      const int from = within((mirror ? side - 1 - x : x) + dx, side);
      memcpy(out + 3 * (y * side + x), rgb + 3 * (within(y + dy, side) * side + from), 3);
    }
  if (a->erase > 0 && (double)rng_uniform(random) < a->erase) erase(side, random, out);
}
