/* Fuzz target of the picture decoder: any bytes give a picture or a sentence, never a crash; what opens must also
 * survive the transforms. A small pixel cap keeps each run short. */
#include <stdlib.h>

#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const image_limits limits = {.max_pixels = 1 << 16};
  image *im = image_decode(bytes, n, "fuzz", &limits);
  if (!im) {
    if (!*last_error()) abort(); /* a failure without a sentence */
    return 0;
  }
  if (!image_recognised(bytes, n)) abort();
  image_free(image_clip_transform(im, 8));
  image_free(image_fit_square(im, 8));
  image_free(image_to_rgba(im));
  image_free(im);
  return 0;
}
