/* Byte-level BPE, the tokenizer of the models of the Pile: GPT-NeoX 20B. (CLIP's, data/clip_bpe.h, shares step 5.) Spec
 * language-models 6.2; R. Sennrich et al., "Neural machine translation of rare words with subword units" (2016); A.
 * Radford et al. (GPT-2, 2019).
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
  const char *suffix;  /* what the last token of a piece has behind its bytes: "", or CLIP's "</w>" */
  int32_t last[256];   /* the token of a byte that ends a piece, with the suffix */
  bpe_merge *merges;   /* in the order of their ranks */
  uint32_t n_merges;
  bpe_slot *slots; /* [n_slots], a power of two: the ranks by pair, open addressing, at most half are taken */
  size_t n_slots;
  bpe_added *added;
  uint32_t n_added;
  trie *raw, *normal; /* the added tokens of steps 1 and 3 */
} bpe;

/* Derives single, last, slots and whole from vocabulary, merges and suffix. Refuses a vocabulary that lacks a byte of
 * UTF-8, and a pair that is merged twice. */
status bpe_prepare(bpe *b);
void bpe_free(tokenizer *t);

/* Merging, step 5: start, then a piece of at least one byte after the other, then end. */
typedef struct {
  int32_t id;
  uint32_t rank; /* of the pair with the next symbol; none for what cannot merge and for what has been merged */
  uint32_t previous, next;
} bpe_symbol;

enum { BPE_SHORT = 128 }; /* bytes of a piece that needs no allocation */

typedef struct {
  const bpe *b;
  token_list *out;
  size_t n_suffix;
  bpe_symbol *symbols; /* [room], few or allocated */
  uint64_t *heap;      /* [2 room]: rank, place; each merge takes one out and puts two in at most */
  size_t room, n_heap;
  bpe_symbol few[BPE_SHORT];
  uint64_t few_heap[2 * BPE_SHORT];
} bpe_encoder;

void bpe_encoder_start(bpe_encoder *e, const bpe *b, token_list *out);
void bpe_encoder_end(bpe_encoder *e);
/* The ids of a piece. Fails only for memory. */
status bpe_encode_piece(bpe_encoder *e, const char *piece, size_t n);

#define BPE_LONGEST_TEXT ((size_t)1 << 30) /* places are 32 bits, after normalisation */

/* The ids of a text, which is valid UTF-8 or not. */
status bpe_encode(const tokenizer *t, const char *text, size_t n, token_list *out);
/* The vocabulary as a tokenizer.json. */
status bpe_text(const tokenizer *t, char **out, size_t *n);

#endif
