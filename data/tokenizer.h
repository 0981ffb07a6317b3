/* The tokenizer of the RWKV World models, and of our own small vocabularies in the same format.
 *
 * A vocabulary is a text of lines `ID LITERAL BYTELEN` (spec language-models section 6.1): ids 1, 2, 3... in order,
 * each with a Python literal of its bytes (data/literal.h) and their number. All 256 single bytes are there, so that
 * any bytes encode, valid UTF-8 or not, and decode to the same bytes. Encoding takes the longest token that fits, from
 * the left; it adds nothing, trims nothing and knows no special tokens. Id 0 is the end of a text: no text encodes to
 * it.
 *
 * A tokenizer does not change after it was opened and may be shared by threads. */
#ifndef LINNET_DATA_TOKENIZER_H
#define LINNET_DATA_TOKENIZER_H

#include "kernels/base.h"

#define TOKENIZER_END 0                       /* the id that ends a text */
#define TOKENIZER_MAX_TEXT ((size_t)16 << 20) /* bytes of a vocabulary; World has 1.1 million */

typedef struct tokenizer tokenizer;

/* Reads a vocabulary file. Lines may end in LF or CR LF, the last one in nothing. NULL with a sentence that names the
 * file and the line otherwise. */
tokenizer *tokenizer_open(const char *path);
/* The same from n bytes in memory, which are not kept. `name` is used in error sentences. */
tokenizer *tokenizer_parse(const void *text, size_t n, const char *name);
void tokenizer_free(tokenizer *t);

/* The largest id + 1 (id 0 counts). A model's logits may be wider; what is beyond has no bytes. */
uint32_t tokenizer_size(const tokenizer *t);

/* Writes the ids of text[0..n), up to `capacity` of them, and returns how many there are; never more than n. With
 * capacity 0, `ids` may be NULL. */
size_t tokenizer_encode(const tokenizer *t, const char *text, size_t n, int32_t *ids, size_t capacity);

/* The bytes of one token; no terminator. *n = 0 for the end token and for ids that the vocabulary does not have. Valid
 * as long as the tokenizer. */
const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n);
/* The bytes of n ids in a row as a new string, terminated, that the caller frees. *size, if not NULL, gets its length:
 * text may contain the byte 0. Fails only for memory. Streams of tokens go through utf8_stream (kernels/utf8.h). */
status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, char **out, size_t *size);

/* The vocabulary as a text with LF after every line, in one canonical form: equal vocabularies give equal texts,
 * whatever file they came from. Made to be embedded in a model file and parsed again. Terminated; the caller frees
 * *out. */
status tokenizer_text(const tokenizer *t, char **out, size_t *n);

/* One entry of a vocabulary to be written. */
typedef struct {
  const char *bytes;
  size_t n;
} vocabulary_entry;
/* The canonical text of the entries with ids 1, 2, 3... in order; does not check them. As tokenizer_text. */
status vocabulary_text(const vocabulary_entry *entries, uint32_t n_entries, char **out, size_t *n);

#endif
