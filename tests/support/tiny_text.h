/* Text models as files, with vocabularies made on the spot. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_TINY_TEXT_H
#define LINNET_TESTS_TINY_TEXT_H

#include "lm/text.h"

/* Every single byte, as ids 1 to 256, then n words; of the form that files carry. free() it. */
enum { TINY_BYTES = 257 }; /* ids, and that of the first word */
char *tiny_bytes_vocabulary(const char *const *words, int n);

/* A file of a scratch folder (tests/support/scratch.h) with a random model, which carries the vocabulary unless that is
 * NULL; free() its path. */
char *tiny_text_file(void **state, const char *name, const rwkv_config *k, uint64_t seed, const char *vocabulary);
/* Opened; the vocabulary is released. */
text_model *tiny_text_model(void **state, const rwkv_config *k, uint64_t seed, char *vocabulary);

#endif
