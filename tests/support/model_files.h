/* Small model files, one of each kind. Those that are made in the folder of scratch.h give their path; free() it.
 * Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_MODEL_FILES_H
#define LINNET_TESTS_MODEL_FILES_H

#include "weights/writer.h"

/* Every type of metadata, and tensors that GGUF cannot hold as they are. Failures stay in the writer. */
void put_odd_model(writer *w);

/* An RWKV-6 model of one layer under its official names, with the prefix that training gives them, in BF16. */
char *finch_file(void **state, const char *file);
/* The same as two shards; the path of their index. */
char *finch_shards(void **state);

/* A GGUF file in two parts; the path of the first. */
char *split_gguf_file(void **state);

/* A PyTorch archive of two dictionaries (state_dict, ema) with tensors whose elements lie apart; the method is libzip's
 * number, stored or deflated. */
char *pth_file(void **state, const char *file, int method);

#endif
