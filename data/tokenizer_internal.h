/* What a kind of tokenizer provides behind data/tokenizer.h. */
#ifndef LINNET_DATA_TOKENIZER_INTERNAL_H
#define LINNET_DATA_TOKENIZER_INTERNAL_H

#include "data/tokenizer.h"

/* Ids as they are found: counted all, kept as far as there is room. */
typedef struct {
  int32_t *ids;
  size_t capacity, count;
} token_list;

static inline void token_put(token_list *list, int32_t id) {
  if (list->count < list->capacity) list->ids[list->count] = id;
  list->count++;
}

typedef struct {
  tokenizer_kind kind;
  size_t growth; /* the most ids that a byte can give */
  size_t parted; /* bytes that part a token from the one before: the first ones of tokenizer_bytes */
  status (*encode)(const tokenizer *t, const char *text, size_t n, token_list *out);
  status (*text)(const tokenizer *t, char **out, size_t *n);
  void (*free)(tokenizer *t); /* what is the kind's own; may be NULL */
} tokenizer_class;

/* Every kind begins with this, and has its tokens here. A kind's parser allocates the whole with mem_zero and sets
 * `class` at once, so that tokenizer_free works however far it came. */
struct tokenizer {
  const tokenizer_class *class;
  uint32_t size;   /* largest id + 1 */
  char *bytes;     /* all tokens in the order of their ids */
  uint32_t *start; /* [size + 1]: token id is bytes[start[id] .. start[id + 1]) */
};

/* Each returns a tokenizer, or NULL with a sentence that does not say which file it is. n is at most
 * TOKENIZER_MAX_TEXT. */
tokenizer *world_parse(const char *text, size_t n);
tokenizer *bpe_parse(const char *json, size_t n);
tokenizer *midi_new(void);

#endif
