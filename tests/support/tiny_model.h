/* A captioner with random weights that is small enough to be made for every test. */
#ifndef LINNET_TESTS_TINY_MODEL_H
#define LINNET_TESTS_TINY_MODEL_H

#include "kernels/base.h"

/* Writes it as f32; the same seed gives the same file. */
status tiny_model_write(const char *path, uint64_t seed);

#endif
