/* A captioner in memory whose every parameter is random, so that each of them shows in what it says (initial values,
 * with their zero matrices, would hide mistakes). Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_TINY_CAPTIONER_H
#define LINNET_TESTS_TINY_CAPTIONER_H

#include "fusion/visualrwkv.h"

enum { TINY_IMAGE = 20, TINY_VOCABULARY = 300 }; /* pixels a side; rows of the embedding, more than there are tokens */

/* 3 layers of text, 2 of pictures, patches of 8 (so that the last are padded), position table 4 x 4 (so that it is
 * resized), 2 x 2 image tokens. */
visualrwkv_config tiny_captioner_config(void);
/* A vocabulary of single bytes, the blank line, and the words of a few captions. free() it. */
char *tiny_captioner_vocabulary(void);

typedef enum {
  TINY_WILD, /* says any bytes */
  TINY_TIDY, /* says the vocabulary's words, and ends with the blank line after a while */
} tiny_speech;
void tiny_captioner(visualrwkv *m, uint64_t seed, tiny_speech speech); /* visualrwkv_free */

/* A captioner that answers every picture with the same pieces, each a token of its own, all different, at most 60. Then
 * comes the blank line, or the end token. */
void tiny_script(visualrwkv *m, const char *const *pieces, int n, bool ends_with_stop);

/* Moves every parameter of a set away from its initial value. */
void tiny_disturb(param_set *set, uint64_t seed);
/* n pictures, [n,TINY_IMAGE,TINY_IMAGE,3]; free() them. */
float *tiny_pictures(int n, uint64_t seed);

#endif
