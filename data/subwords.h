/* Builds a vocabulary in the World format (data/tokenizer.h) for open text, where words never come to an end: byte pair
 * encoding (R. Sennrich et al., "Neural machine translation of rare words with subword units", 2016).
 *
 * The texts are cut into pieces: one space, if there is one, and what follows it of one sort, which is letters, digits,
 * or anything else. (Letters are also the bytes beyond ASCII.) The entries are the 256 single bytes (id = byte + 1),
 * then, one after the other, the two entries that stand most often side by side within a piece, joined; equals in the
 * order of their ids. The result depends on the texts, not on their order. The tokenizer takes the longest entry that
 * fits, not the joints of this order: the ids differ from those of BPE in few places. */
#ifndef LINNET_DATA_SUBWORDS_H
#define LINNET_DATA_SUBWORDS_H

#include "data/tally.h"

enum { SUBWORD_MAX_BYTES = 32 }; /* longer pieces are cut */

/* Counts the pieces of n bytes of text. Fails only for memory. */
status subwords_count(tally *pieces, const char *text, size_t n);
/* The vocabulary's text, of at most max_entries entries, terminated; the caller frees *out. There are fewer if no two
 * entries stand side by side more than once. Refuses room for less than the bytes, or pieces beyond 2^31 bytes. */
status subwords_write(const tally *pieces, uint32_t max_entries, char **out, size_t *n);

#endif
