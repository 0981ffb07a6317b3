/* Builds a small vocabulary in the World format (data/tokenizer.h) out of the texts that a model shall write.
 *
 * Its entries, in this order: the 256 single bytes (id = byte + 1); the pieces that were asked for, in the order asked;
 * then the words of the texts, the most frequent first, equals in the order of their bytes, until the vocabulary is
 * full. A word is a run of letters and digits (and bytes beyond ASCII), apostrophes and hyphens between them, with the
 * one space before it if there is one: " red" in mid-sentence and "red" at the start are two entries, and so are " dog"
 * and " dogs". Single characters need no entry of their own. The result depends on the texts, not on their order. */
#ifndef LINNET_DATA_VOCABULARY_H
#define LINNET_DATA_VOCABULARY_H

#include "kernels/base.h"

typedef struct vocabulary_builder vocabulary_builder;

vocabulary_builder *vocabulary_builder_new(void); /* NULL with a sentence if memory is short */
void vocabulary_builder_free(vocabulary_builder *builder);

/* Counts the words of n bytes of text (one caption, or many with newlines between). Fails only for memory. */
status vocabulary_add_text(vocabulary_builder *builder, const char *text, size_t n);
/* Asks for a token such as "\n\n", "User:" or "Assistant:" whatever its frequency. What is there already is not
 * repeated. Refuses an empty piece. */
status vocabulary_add_piece(vocabulary_builder *builder, const char *piece, size_t n);

/* The vocabulary's text, with at most max_entries entries (the largest id is never more), terminated; the caller frees
 * *out. Fails if the bytes and the pieces alone are more. The builder may be added to and written again. */
status vocabulary_write(const vocabulary_builder *builder, uint32_t max_entries, char **out, size_t *n);

#endif
