/* CLIP's tokenizer: byte-level BPE whose words end in "</w>" (A. Radford et al., "Learning transferable visual models
 * from natural language supervision", 2021). OpenAI's CLIP, OpenCLIP and RWKV-CLIP share its vocabulary of 49408
 * tokens. Spec rwkv-clip section 7.
 *
 * A text becomes ids in these steps:
 *   1. repaired as ftfy does (data/fix_text.h);  2. character references of HTML, twice (data/html.h);
 *   3. white space at both ends goes, and each run of it becomes a space;  4. small letters;
 *   5. from the left, the first of these that fits, white space between them left out: start and end as they are
 *      spelt; 's|'t|'re|'ve|'m|'ll|'d; \p{L}+; \p{N}; [^\s\p{L}\p{N}]+
 *   6. a piece's bytes are tokens, the last of them with "</w>", and merge as in data/bpe.h.
 * So texts do not come back as they were: tokens end in the space that is behind every word.
 *
 * The vocabulary is a list of merges: OpenAI's bpe_simple_vocab_16e6.txt, packed by gzip or not, or the merges.txt or
 * the tokenizer.json of Hugging Face. Ids are, in this order: the bytes, the visible ones first; the same with "</w>";
 * a token for each of the first 48894 merges; start; end. */
#ifndef LINNET_DATA_CLIP_BPE_H
#define LINNET_DATA_CLIP_BPE_H

#include "data/bpe.h"

#define CLIP_SUFFIX "</w>"
enum { CLIP_CONTEXT = 77, CLIP_MERGES = 49152 - 256 - 2 };

/* How texts spell start and end, so that they may hold them. */
typedef enum {
  CLIP_SPELT_OPENAI,   /* <|startoftext|> and <|endoftext|> */
  CLIP_SPELT_OPENCLIP, /* <start_of_text> and <end_of_text>; RWKV-CLIP too */
} clip_spelling;

/* Steps 1 to 4. *out is a new string of *size bytes that the caller frees; any bytes, valid UTF-8 or not. Fails only
 * for memory. */
status clip_clean(const char *text, size_t n, char **out, size_t *size);

/* The following want a tokenizer of TOKENIZER_KIND_CLIP; tokenizer_encode is theirs with CLIP_SPELT_OPENAI. */

int32_t clip_start(const tokenizer *t);
int32_t clip_end(const tokenizer *t);
/* All ids of a text as a new array that the caller frees, without start and end. Fails only for memory. */
status clip_ids(const tokenizer *t, clip_spelling spelling, const char *text, size_t n, int32_t **ids, size_t *count);
/* What a model is given: start, the text's ids, end, then zeros up to `length` >= 2. A text that is too long loses its
 * last ids, not its end; *cut, if not NULL, says whether it did (OpenAI's own refuses such texts if not told to cut).
 */
status clip_context(const tokenizer *t, clip_spelling spelling, const char *text, size_t n, int32_t *ids, size_t length,
                    bool *cut);
/* The same of n strings: ids is [n, length], *n_cut how many were cut. */
status clip_contexts(const tokenizer *t, clip_spelling spelling, const char *const *texts, size_t n, int32_t *ids,
                     size_t length, size_t *n_cut);

/* -- For tokenizer.c and bpe_json.c -- */

/* Whether a text is a list of merges; and its tokenizer, or NULL with a sentence. */
bool clip_bpe_is(const char *text, size_t n);
tokenizer *clip_bpe_parse(const char *text, size_t n);
/* Makes an empty BPE one of CLIP's; then, once vocabulary and merges are read, checks that they are in CLIP's order. */
void clip_bpe_make(bpe *b);
status clip_bpe_finish(bpe *b);

#endif
