/* What a caption says, against what is in the picture: kinds of things, how many, which colour.
 *
 * N-gram scores reward wording. For generated scenes the truth is known, so a caption can be read for its content: each
 * noun phrase "two red apples" is a mention (kind, count, colour). Reading is exact and closed: the words of the kinds,
 * as their table gives them in singular and plural, no synonyms.
 *
 * The rules of reading:
 * - Words are runs of letters, digits, apostrophes and hyphens; case does not matter. A kind may have several words;
 * the longest kind that fits is taken, from the left.
 * - A count ("a", "an", a number word, digits) and a colour word belong to the kind that follows. Other words between
 * them do no harm ("two small red toy apples"), but a conjunction, a preposition or punctuation begins a new phrase. Of
 * several colour words the last counts.
 * - A word that is a colour and a kind ("orange") is the colour if a kind or another colour follows at once.
 * - A kind without a count is one if it stands in the singular, of unknown number if only in the plural.
 * - The same mention said twice is one mention. */
#ifndef LINNET_TRAIN_CAPTION_SCORE_H
#define LINNET_TRAIN_CAPTION_SCORE_H

#include "kernels/base.h"

typedef struct {
  const char *singular, *plural;
} kind_words;

/* A noun phrase, said or true. `count` 0 = not said. `colour` is an index into the colour words, 0 = none. */
typedef struct {
  uint32_t kind, count, colour;
} caption_mention;

/* The words that captions are read with. It does not change once made and may be shared by threads. */
typedef struct caption_lexicon caption_lexicon;

/* Copies all words. Words [0] of `colours` ("none") and of `numbers` ("no") are not used: colours[i] is colour i,
 * numbers[i] means i; they are single words in lower case. If one kind's plural is also another kind's singular, the
 * singular is meant; of two equal plurals the first kind's. Fails if a kind has no word or two kinds have the same
 * singular. The caller frees. */
caption_lexicon *caption_lexicon_new(const kind_words *kinds, uint32_t n_kinds, const char *const *colours,
                                     uint32_t n_colours, const char *const *numbers, uint32_t n_numbers);
void caption_lexicon_free(caption_lexicon *lexicon);

/* The mentions of a caption in the order said; the caller frees *mentions. Fails only for memory. */
status caption_read(const caption_lexicon *lexicon, const char *caption, caption_mention **mentions, size_t *n);

/* Sums over a corpus; start with zeros. Tallies of parts add up field by field. */
typedef struct {
  uint64_t scenes;
  double recall, precision; /* sums of the scenes' values */
  uint64_t colours, colours_right, counts, counts_right;
} caption_tally;

/* Judges one caption against its scene's n >= 1 true groups.
 * Recall and precision are of the sets of kinds; a caption that names no kind has precision 0. A true group whose kind
 * is named is judged for its count, and for its colour if it has one (not 0). If a kind has several true groups or
 * mentions, the first mentions, as many as there are groups, are matched with them in the way that makes most colours
 * right, then most counts, so that listing alternatives gains nothing; a group that is left over is wrong. */
status caption_tally_add(caption_tally *tally, const caption_lexicon *lexicon, const char *caption,
                         const caption_mention *groups, size_t n);

typedef struct {
  double recall, precision; /* means over scenes */
  double colour_accuracy;   /* colours_right / colours */
  double count_accuracy;    /* counts_right / counts */
} caption_content;
/* NaN where there was nothing to judge. */
caption_content caption_tally_scores(const caption_tally *tally);

#endif
