/* A small RWKV-CLIP pair with a vocabulary of its own, all of whose parameters are random, so that each of them shows
 * in its embeddings. */
#ifndef LINNET_TESTS_TINY_CLIP_H
#define LINNET_TESTS_TINY_CLIP_H

#include "fusion/clip_model.h"

enum { TINY_CLIP_SIDE = 16, TINY_CLIP_WIDTH = 24, TINY_CLIP_CONTEXT = 12, TINY_CLIP_VOCABULARY = 300 };

/* Two layers each, patches of 8; pictures are fitted into a white square. */
clip_config tiny_clip_config(void);
/* Single bytes, and the words of a few captions: fewer tokens than TINY_CLIP_VOCABULARY. free() it; NULL with a
 * sentence on failure. */
char *tiny_clip_vocabulary(void);
/* Writes it as f32, whatever container the name ends in; the same seed gives the same file. */
status tiny_clip_write(const char *path, uint64_t seed);

/* The same, opened, in a scratch folder (tests/support/scratch.h). Mistakes end the running cmocka test. */
clip_model *tiny_clip_model(void **state, uint64_t seed);

#endif
