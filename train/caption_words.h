/* The words of a caption as the published caption scores see them (spec visualrwkv section 10.1). */
#ifndef LINNET_TRAIN_CAPTION_WORDS_H
#define LINNET_TRAIN_CAPTION_WORDS_H

#include "kernels/base.h"

/* Splits a caption into Penn Treebank tokens in lower case, drops the punctuation that coco-caption drops, and joins
 * the rest by single spaces: "The man's dog, don't!" becomes "the man 's dog do n't". The caller frees the result. An
 * empty caption, or one of punctuation only, gives "". NULL only if memory is short.
 *
 * The rules are those of the spec, and of CoreNLP's grammar where the spec leaves ordinary captions open: repeated "?!"
 * is one token and stays; "3:30" and "and/or" are one word; "#" and "@" are always split off. CoreNLP's web addresses,
 * smileys and markup are not recognised. Lower case is known for Latin-1, Greek and Cyrillic. */
char *caption_words(const char *caption);

#endif
