/* What a small picture is changed by before a classifier learns from it: shifted, mirrored, partly erased. */
#ifndef LINNET_TRAIN_AUGMENT_H
#define LINNET_TRAIN_AUGMENT_H

#include "kernels/base.h"

typedef struct {
  int shift;    /* crops of the picture padded by so many pixels, its border repeated */
  bool flip;    /* mirrored or not, as likely */
  double erase; /* probability of a rectangle of noise: random erasing, arXiv 1708.04896, with 2 to 33 % of the area and
                   an aspect of 0.3 to 3.3 */
} augmentation;

/* STATUS_ARGUMENT if one is out of bounds for pictures of this side. */
status augmentation_check(const augmentation *a, int side);
/* side*side*3 bytes of one into the other. As many random numbers are drawn as the options and chance ask for. */
void augment(const augmentation *a, int side, const uint8_t *rgb, rng *random, uint8_t *out);

#endif
