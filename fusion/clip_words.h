/* Texts as a pair of towers reads them: the vocabulary and the shape of a row of ids. Spec rwkv-clip section 7.
 *
 * The vocabulary is the one that the pair's file carries (TEXT_VOCABULARY of lm/text.h), or a file of CLIP's merges,
 * which published pairs do not carry. A row of CLIP's is what clip_context (data/clip_bpe.h) makes; of any other
 * vocabulary it is the ids of the plain text, the end (id 0), and zeros up to the length. A text that is too long loses
 * its last ids, not its end. */
#ifndef LINNET_FUSION_CLIP_WORDS_H
#define LINNET_FUSION_CLIP_WORDS_H

#include "data/clip_bpe.h"
#include "fusion/clip.h"

typedef struct {
  tokenizer *words; /* NULL: neither the file nor the caller had one */
  clip_spelling spelling;
  int length; /* ids of a row */
} clip_words;

/* `vocabulary`: a file for tokenizer_open; NULL takes what the pair's open file carries, which may be nothing: then
 * only texts are refused. The vocabulary must not have more tokens than the text tower. Free it, also after a failure.
 */
status clip_words_open(clip_words *w, const clip_pair *m, const checkpoint *file, const char *vocabulary);
/* The same with a vocabulary that is open, which is the row-maker's from here on, also after a failure. */
status clip_words_take(clip_words *w, const clip_pair *m, tokenizer *words);
void clip_words_free(clip_words *w);

/* The plain text that vocabularies other than CLIP's are for: repaired, white space single, small letters (clip_clean),
 * and a space before it, so that a word is the same at the beginning. *out is a new string that the caller frees. */
status clip_words_plain(const char *text, size_t n, char **out, size_t *size);

/* n strings -> ids [n,length]; *n_cut (may be NULL): how many were cut. */
status clip_words_ids(const clip_words *w, const char *const *texts, size_t n, int32_t *ids, size_t *n_cut);

#endif
