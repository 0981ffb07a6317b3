/* BLEU, ROUGE-L and CIDEr-D over counted n-grams. See metrics.h; formulas: spec visualrwkv section 10.
 *
 * Each distinct n-gram of the corpus has a number: a word's comes from its letters, a longer one's from the number of
 * the n-gram without its last word and the number of that word. A caption is then four sorted lists of (number, count),
 * and everything that compares captions is a merge of two such lists. */
#include "train/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/intern.h"

#define ORDERS 4

typedef struct {
  uint32_t id, count;
} gram;

/* A caption. Its words are also kept in order for ROUGE-L, which splits at single spaces: there two spaces in a row
 * have an empty word between them, and an empty caption is one empty word. */
typedef struct {
  gram *grams;                /* the four lists, one after the other */
  size_t n_grams[ORDERS];     /* distinct ones */
  uint32_t *sequence;         /* as ROUGE-L splits */
  size_t n_sequence, n_words; /* n_words as BLEU and CIDEr-D split, at any white space */
} counted;

typedef struct {
  intern *words, *grams;
  counted *captions; /* per image: the hypothesis, then the references */
  size_t n_captions;
  uint32_t *df, *seen; /* [distinct n-grams]: images that have it in a reference; the last one of these, + 1 */
  double log_images;
} corpus_counts;

static void corpus_free(corpus_counts *c) {
  for (size_t i = 0; c->captions && i < c->n_captions; i++) {
    free(c->captions[i].grams);
    free(c->captions[i].sequence);
  }
  free(c->captions);
  free(c->df);
  free(c->seen);
  intern_free(c->words);
  intern_free(c->grams);
}

/* -- Counting ------------------------------------------------------------------------------------------------------ */

static status add_word(corpus_counts *c, const char *word, size_t n, uint32_t *list, size_t *length) {
  return intern_add(c->words, word, n, &list[(*length)++]);
}

/* Numbers the words of a text, split at single spaces (exact) or at any white space. */
static status number_words(corpus_counts *c, const char *text, bool exact, uint32_t *list, size_t *length) {
  static const char blank[] = " \t\n\v\f\r";
  *length = 0;
  for (;;) {
    if (!exact) text += strspn(text, blank);
    size_t n = strcspn(text, exact ? " " : blank);
    if (exact || n) {
      status code = add_word(c, text, n, list, length);
      if (code) return code;
    }
    text += n;
    if (!*text) return STATUS_OK;
    text++;
  }
}

static int compare_ids(const void *a, const void *b) {
  const uint32_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* Sorts and counts ids; returns the number of distinct ones. */
static size_t count_ids(uint32_t *ids, size_t n, gram *out) {
  size_t distinct = 0;
  qsort(ids, n, sizeof *ids, compare_ids);
  for (size_t i = 0; i < n; i++) {
    if (i && ids[i] == ids[i - 1]) {
      out[distinct - 1].count++;
    } else {
      out[distinct++] = (gram){ids[i], 1};
    }
  }
  return distinct;
}

/* words: [n_words]; prefix, scratch: room for as many. */
static status count_grams(corpus_counts *c, counted *caption, const uint32_t *words, uint32_t *prefix,
                          uint32_t *scratch) {
  size_t used = 0;
  for (size_t order = 0; order < ORDERS; order++) {
    size_t n = caption->n_words > order ? caption->n_words - order : 0;
    for (size_t i = 0; i < n; i++) {
      uint32_t key[2] = {order ? prefix[i] : INTERN_NONE, words[i + order]};
      status code = intern_add(c->grams, key, sizeof key, &prefix[i]);
      if (code) return code;
    }
    if (n) memcpy(scratch, prefix, n * sizeof *scratch);
    caption->n_grams[order] = count_ids(scratch, n, caption->grams + used);
    used += caption->n_grams[order];
  }
  return STATUS_OK;
}

static status count_caption(corpus_counts *c, const char *text, counted *caption) {
  const size_t room = strlen(text) + 1; /* a bound on the number of words */
  uint32_t *scratch = mem_alloc(room, 3 * sizeof *scratch);
  caption->sequence = mem_alloc(room, sizeof *caption->sequence);
  status code = STATUS_MEMORY;
  if (scratch && caption->sequence) code = number_words(c, text, true, caption->sequence, &caption->n_sequence);
  if (!code) code = number_words(c, text, false, scratch, &caption->n_words);
  if (!code) {
    caption->grams = mem_alloc(caption->n_words, ORDERS * sizeof *caption->grams);
    code = caption->grams ? count_grams(c, caption, scratch, scratch + room, scratch + 2 * room) : STATUS_MEMORY;
  }
  free(scratch);
  return code;
}

static size_t total_grams(const counted *caption) {
  size_t n = 0;
  for (size_t order = 0; order < ORDERS; order++) n += caption->n_grams[order];
  return n;
}

/* df of every n-gram: in how many images some reference has it. */
static status count_documents(corpus_counts *c, const caption_case *cases, size_t n) {
  c->df = mem_zero(intern_count(c->grams), sizeof *c->df);
  c->seen = mem_zero(intern_count(c->grams), sizeof *c->seen);
  if (!c->df || !c->seen) return STATUS_MEMORY;
  const counted *caption = c->captions;
  for (size_t i = 0; i < n; i++) {
    caption++; /* the hypothesis does not count */
    for (size_t r = 0; r < cases[i].n_references; r++, caption++) {
      for (size_t k = 0, m = total_grams(caption); k < m; k++) {
        uint32_t id = caption->grams[k].id;
        c->df[id] += c->seen[id] != i + 1;
        c->seen[id] = (uint32_t)(i + 1);
      }
    }
  }
  return STATUS_OK;
}

static status count_corpus(corpus_counts *c, const caption_case *cases, size_t n) {
  if (!n || n >= UINT32_MAX) return fail(STATUS_ARGUMENT, "caption metrics need at least one image");
  for (size_t i = 0; i < n; i++) {
    if (!cases[i].n_references) return fail(STATUS_ARGUMENT, "image %zu of the captions has no reference", i);
    if (!size_add(c->n_captions, cases[i].n_references, &c->n_captions) || !size_add(c->n_captions, 1, &c->n_captions))
      return fail(STATUS_MEMORY, "there are too many captions");
  }
  c->words = intern_new();
  c->grams = intern_new();
  c->captions = mem_zero(c->n_captions, sizeof *c->captions);
  if (!c->words || !c->grams || !c->captions) return STATUS_MEMORY;
  c->log_images = log((double)n);
  counted *caption = c->captions;
  for (size_t i = 0; i < n; i++) {
    status code = count_caption(c, cases[i].hypothesis, caption++);
    for (size_t r = 0; !code && r < cases[i].n_references; r++)
      code = count_caption(c, cases[i].references[r], caption++);
    if (code) return code;
  }
  return count_documents(c, cases, n);
}

/* -- BLEU (section 10.2) ------------------------------------------------------------------------------------------- */

typedef struct {
  double guess[ORDERS], correct[ORDERS], length, reference_length;
} bleu_counts;

/* most[i] = max(most[i], the count in b of a's n-gram i). */
static void take_maximum(const gram *a, size_t n_a, const gram *b, size_t n_b, uint32_t *most) {
  for (size_t i = 0, j = 0; i < n_a && j < n_b;) {
    if (a[i].id == b[j].id && b[j].count > most[i]) most[i] = b[j].count;
    if (a[i].id <= b[j].id) {
      i++;
    } else {
      j++;
    }
  }
}

/* most: room for the hypothesis' longest list. */
static bleu_counts count_bleu(const counted *hypothesis, const counted *references, size_t n, uint32_t *most) {
  bleu_counts b = {.length = (double)hypothesis->n_words};
  const gram *grams = hypothesis->grams;
  for (size_t order = 0; order < ORDERS; order++) {
    size_t n_grams = hypothesis->n_grams[order];
    if (n_grams) memset(most, 0, n_grams * sizeof *most);
    for (size_t r = 0; r < n; r++) {
      const gram *other = references[r].grams;
      for (size_t k = 0; k < order; k++) other += references[r].n_grams[k];
      take_maximum(grams, n_grams, other, references[r].n_grams[order], most);
    }
    for (size_t i = 0; i < n_grams; i++) b.correct[order] += grams[i].count < most[i] ? grams[i].count : most[i];
    b.guess[order] = hypothesis->n_words > order ? (double)(hypothesis->n_words - order) : 0;
    grams += n_grams;
  }
  b.reference_length = (double)references[0].n_words;
  for (size_t r = 1; r < n; r++) { /* the closest, ties to the shorter */
    double length = (double)references[r].n_words, d = fabs(length - b.length),
           best = fabs(b.reference_length - b.length);
    if (d < best || (d == best && length < b.reference_length)) b.reference_length = length;
  }
  return b;
}

static void add_bleu(bleu_counts *sum, const bleu_counts *b) {
  for (size_t order = 0; order < ORDERS; order++) {
    sum->guess[order] += b->guess[order];
    sum->correct[order] += b->correct[order];
  }
  sum->length += b->length;
  sum->reference_length += b->reference_length;
}

static void bleu_scores(const bleu_counts *b, double out[ORDERS]) {
  const double tiny = 1e-15, small = 1e-9;
  double product = 1, ratio = (b->length + tiny) / (b->reference_length + small);
  for (size_t order = 0; order < ORDERS; order++) {
    product *= (b->correct[order] + tiny) / (b->guess[order] + small);
    out[order] = pow(product, 1.0 / (double)(order + 1));
    if (ratio < 1) out[order] *= exp(1 - 1 / ratio);
  }
}

/* -- ROUGE-L (section 10.3) ---------------------------------------------------------------------------------------- */

/* The length of the longest common subsequence; row: [b->n_sequence + 1]. */
static size_t common_subsequence(const counted *a, const counted *b, size_t *row) {
  memset(row, 0, (b->n_sequence + 1) * sizeof *row);
  for (size_t i = 0; i < a->n_sequence; i++) {
    size_t diagonal = 0; /* row[j] of the row above */
    for (size_t j = 0; j < b->n_sequence; j++) {
      size_t above = row[j + 1];
      if (a->sequence[i] == b->sequence[j]) {
        row[j + 1] = diagonal + 1;
      } else if (row[j] > above) {
        row[j + 1] = row[j];
      }
      diagonal = above;
    }
  }
  return row[b->n_sequence];
}

static double rouge_l(const counted *hypothesis, const counted *references, size_t n, size_t *row) {
  const double beta2 = 1.2 * 1.2;
  double precision = 0, recall = 0;
  for (size_t r = 0; r < n; r++) {
    double common = (double)common_subsequence(hypothesis, references + r, row);
    precision = fmax(precision, common / (double)hypothesis->n_sequence);
    recall = fmax(recall, common / (double)references[r].n_sequence);
  }
  if (precision == 0 || recall == 0) return 0;
  return (1 + beta2) * precision * recall / (recall + beta2 * precision);
}

/* -- CIDEr-D (section 10.4) ---------------------------------------------------------------------------------------- */

static double weight(const corpus_counts *c, gram g) {
  return g.count * (c->log_images - log(fmax(1, (double)c->df[g.id])));
}

static double norm(const corpus_counts *c, const gram *grams, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    double w = weight(c, grams[i]);
    sum += w * w;
  }
  return sqrt(sum);
}

/* The clipped cosine of two captions' n-grams of one order. */
static double similarity(const corpus_counts *c, const gram *h, size_t n_h, const gram *r, size_t n_r) {
  double sum = 0, norm_h = norm(c, h, n_h), norm_r = norm(c, r, n_r);
  for (size_t i = 0, j = 0; i < n_h && j < n_r;) {
    if (h[i].id == r[j].id) {
      double wr = weight(c, r[j]);
      sum += fmin(weight(c, h[i]), wr) * wr;
    }
    if (h[i].id <= r[j].id) {
      i++;
    } else {
      j++;
    }
  }
  return norm_h != 0 && norm_r != 0 ? sum / (norm_h * norm_r) : sum;
}

static double cider_d(const corpus_counts *c, const counted *hypothesis, const counted *references, size_t n) {
  const double sigma = 6;
  double total = 0;
  for (size_t r = 0; r < n; r++) {
    const gram *a = hypothesis->grams, *b = references[r].grams;
    double sum = 0;
    for (size_t order = 0; order < ORDERS; order++) {
      sum += similarity(c, a, hypothesis->n_grams[order], b, references[r].n_grams[order]);
      a += hypothesis->n_grams[order];
      b += references[r].n_grams[order];
    }
    /* The reference measures a caption's length in 2-grams. */
    double length_h = (double)(hypothesis->n_words ? hypothesis->n_words - 1 : 0);
    double length_r = (double)(references[r].n_words ? references[r].n_words - 1 : 0);
    double difference = length_h - length_r;
    total += sum * exp(-(difference * difference) / (2 * sigma * sigma));
  }
  return 10 * total / (ORDERS * (double)n);
}

/* -- All of it ----------------------------------------------------------------------------------------------------- */

static void score_corpus(const corpus_counts *c, const caption_case *cases, size_t n, metric_scores *corpus,
                         metric_scores *images, uint32_t *most, size_t *row) {
  bleu_counts sum = {.length = 0};
  const counted *caption = c->captions;
  *corpus = (metric_scores){.rouge_l = 0};
  for (size_t i = 0; i < n; i++) {
    const counted *hypothesis = caption++;
    bleu_counts b = count_bleu(hypothesis, caption, cases[i].n_references, most);
    metric_scores own;
    bleu_scores(&b, own.bleu);
    own.rouge_l = rouge_l(hypothesis, caption, cases[i].n_references, row);
    own.cider = cider_d(c, hypothesis, caption, cases[i].n_references);
    add_bleu(&sum, &b);
    corpus->rouge_l += own.rouge_l / (double)n;
    corpus->cider += own.cider / (double)n;
    if (images) images[i] = own;
    caption += cases[i].n_references;
  }
  bleu_scores(&sum, corpus->bleu);
}

status caption_metrics(const caption_case *cases, size_t n, metric_scores *corpus, metric_scores *images) {
  corpus_counts c = {.n_captions = 0};
  status code = count_corpus(&c, cases, n);
  if (!code) {
    size_t longest = 0;
    for (size_t i = 0; i < c.n_captions; i++)
      if (c.captions[i].n_sequence + c.captions[i].n_words > longest)
        longest = c.captions[i].n_sequence + c.captions[i].n_words;
    uint32_t *most = mem_alloc(longest, sizeof *most);
    size_t *row = mem_alloc(longest + 1, sizeof *row);
    code = most && row ? STATUS_OK : STATUS_MEMORY;
    if (!code) score_corpus(&c, cases, n, corpus, images, most, row);
    free(most);
    free(row);
  }
  corpus_free(&c);
  return code;
}
