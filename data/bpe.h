/* Byte-level BPE, the tokenizer of the models of the Pile: GPT-NeoX 20B. Spec language-models 6.2; R. Sennrich et al.,
 * "Neural machine translation of rare words with subword units" (2016); A. Radford et al. (GPT-2, 2019).
 *
 * A text becomes ids in these steps, each on the pieces that the one before leaves:
 *   1. the added tokens that are matched on raw text are cut out, leftmost first, the longest of them;
 *   2. normalisation form C;
 *   3. the added tokens that are matched on normal text (runs of 2 to 24 spaces) likewise;
 *   4. the split of GPT-2:
 *      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   5. a piece's bytes are tokens; of all neighbours that can merge, those that the list of merges has first do so,
 *      the leftmost of them first, until none can.
 * Bytes that are not UTF-8 are no text: each damaged run becomes one U+FFFD before all else, as Python's
 * decode(errors="replace") has it. What decodes is the text that step 2 left, so not always the one that came in. */
#ifndef LINNET_DATA_BPE_H
#define LINNET_DATA_BPE_H

#include "data/intern.h"
#include "data/tokenizer_internal.h"
#include "data/trie.h"

typedef struct {
  int32_t left, right, made;
} bpe_merge;

typedef struct {
  uint64_t pair; /* left, right; BPE_NO_PAIR in an empty slot */
  uint32_t rank;
} bpe_slot;
#define BPE_NO_PAIR UINT64_MAX

typedef struct {
  int32_t id;
  bool normal; /* matched in step 3, not in step 1 */
} bpe_added;

typedef struct {
  tokenizer base;
  intern *vocabulary;  /* the bytes of the model's own tokens, in the order of their ids 0, 1, 2... */
  bool *whole;         /* [of those]: the merges of its bytes end in just this token */
  int32_t single[256]; /* the token of a byte; -1 for bytes that no text has */
  bpe_merge *merges;   /* in the order of their ranks */
  uint32_t n_merges;
  bpe_slot *slots; /* [n_slots], a power of two: the ranks by pair, open addressing, at most half are taken */
  size_t n_slots;
  bpe_added *added;
  uint32_t n_added;
  trie *raw, *normal; /* the added tokens of steps 1 and 3 */
} bpe;

/* Derives single, slots and whole from vocabulary and merges. Refuses a vocabulary that lacks a byte of UTF-8,
 * and a pair that is merged twice. */
status bpe_prepare(bpe *b);
/* The ids of a text, which is valid UTF-8 or not. */
status bpe_encode(const tokenizer *t, const char *text, size_t n, token_list *out);
/* The vocabulary as a tokenizer.json. */
status bpe_text(const tokenizer *t, char **out, size_t *n);

#endif
