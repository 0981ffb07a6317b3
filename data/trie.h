/* A set of byte strings, each with an id, that finds the longest one that a text begins with: World's tokens, and the
 * added tokens of a byte-level BPE. It takes memory linear in the strings, whatever they are. */
#ifndef LINNET_DATA_TRIE_H
#define LINNET_DATA_TRIE_H

#include "kernels/base.h"

typedef struct {
  const char *bytes;
  uint32_t n; /* at least 1 */
  int32_t id; /* not negative */
} trie_word;

typedef struct trie trie;

/* Sorts n words by their bytes. False, and the two ids, if two words are equal. */
bool trie_sort(trie_word *words, uint32_t n, int32_t equal[2]);
/* Of n words that trie_sort has sorted; their bytes are not kept. There may be none. NULL if memory is short. */
trie *trie_new(const trie_word *sorted, uint32_t n);
void trie_free(trie *t);

/* The length of the longest word that text[0..n) begins with, and its id; 0 if there is none. */
size_t trie_longest(const trie *t, const void *text, size_t n, int32_t *id);
/* The same where the first word begins: *at is how many bytes come before it, n if there is none. */
size_t trie_find(const trie *t, const void *text, size_t n, size_t *at, int32_t *id);

#endif
