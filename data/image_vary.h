/* Pictures changed a little, as training wants them. */
#ifndef LINNET_DATA_IMAGE_VARY_H
#define LINNET_DATA_IMAGE_VARY_H

#include "data/image.h"

typedef struct {
  float area,
      aspect; /* the part that is kept has at least this share of the area, and an aspect up to this or 1/this */
  bool flip;  /* mirrored every other time */
  bool fit;   /* put whole on a white square; else stretched to the square */
} image_variation;
/* RWKV-CLIP's own (spec rwkv-clip 10.2). */
#define IMAGE_VARIATION_CLIP                                                                                           \
  (image_variation) { .area = 0.7f, .aspect = 1.25f, .flip = true }

/* A random part of a picture of any mode as RGB pixels [side,side]. NULL with a sentence if memory is short. */
image *image_vary(const image *im, const image_variation *how, int side, rng *random);

#endif
