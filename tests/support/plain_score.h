/* A tiny text model with a small vocabulary, and what it says of tokens by a plain computation: one token read after
 * the other, its logits' softmax in double. Mistakes end the running cmocka test. */
#ifndef LINNET_TESTS_PLAIN_SCORE_H
#define LINNET_TESTS_PLAIN_SCORE_H

#include "lm/text.h"
#include "tests/support/tiny_rwkv.h"
#include "train/ratio.h"

enum {
  MOST = 2000, /* tokens of a test's text */
  BYTES = 256, /* entries of the vocabulary that are single bytes: ids 1 to 256 */
  PIECES = 8,
  VOCABULARY = BYTES + PIECES + 1
};
extern const char *const pieces[PIECES]; /* the entries after them */

typedef struct {
  tiny_rwkv tiny;
  text_model model; /* on the tiny one's tensors */
  ctx *c;
} subject;
subject subject_new(int form); /* of tiny_rwkv_forms */
void subject_free(subject *s);

/* nats[i] = -log p(ids[i] | ids before it) for i >= 1; best[i] (NULL: not asked): it is the first largest. */
void plain(const subject *s, const int32_t *ids, size_t n, double *nats, bool *best);

/* Tokens that grow by texts, each encoded by itself, and what they cost. */
typedef struct {
  int32_t ids[MOST];
  size_t n;
  double nats[MOST];
  bool best[MOST];
} sentence;
void say(sentence *to, const subject *s, const char *text);
double cost(sentence *of, const subject *s, size_t first); /* of tokens [first, n) */

/* Mean, and its error, of totals s over sizes n, in two passes. */
estimate two_passes(const double *s, const double *n, size_t units);
void near(const char *what, double got, double want); /* but for rounding */
void near_estimate(const char *what, estimate got, estimate want);

/* Sizes of batches, which results must not depend on. */
enum { BATCHES = 5 };
extern const int batches[BATCHES];

#endif
