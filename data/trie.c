/* A trie of three flat arrays with its nodes in breadth-first order. See trie.h.
 *
 * The children of node i are the nodes first[i] to first[i + 1] - 1, with ascending labels. Words of n bytes together
 * have at most n + 1 nodes. */
#include "data/trie.h"

#include <stdlib.h>
#include <string.h>

#define NO_WORD (-1)

struct trie {
  uint32_t root[256]; /* the root's children by their byte, or 0: the root is nobody's child */
  uint32_t *first;    /* [n_nodes + 1] */
  int32_t *id;        /* [n_nodes]: of the word that ends here, or NO_WORD */
  uint8_t *label;     /* [n_nodes]: the byte that leads here */
};

void trie_free(trie *t) {
  if (!t) return;
  free(t->first);
  free(t->id);
  free(t->label);
  free(t);
}

/* -- Making -------------------------------------------------------------------------------------------------------- */

static int compare_words(const void *a, const void *b) {
  const trie_word *x = a, *y = b;
  int order = memcmp(x->bytes, y->bytes, x->n < y->n ? x->n : y->n);
  if (order) return order;
  return x->n != y->n ? (x->n < y->n ? -1 : 1) : (x->id < y->id ? -1 : x->id > y->id);
}

bool trie_sort(trie_word *words, uint32_t n, int32_t equal[2]) {
  qsort(words, n, sizeof *words, compare_words);
  for (uint32_t i = 1; i < n; i++) {
    const trie_word *w = words + i, *before = w - 1;
    if (w->n != before->n || memcmp(w->bytes, before->bytes, w->n)) continue;
    equal[0] = before->id;
    equal[1] = w->id;
    return false;
  }
  return true;
}

/* A word needs a node for each byte that it does not share with the word before. */
static size_t count_nodes(const trie_word *sorted, uint32_t n) {
  size_t nodes = 1;
  for (uint32_t i = 0; i < n; i++) {
    const trie_word *w = sorted + i, *before = w - 1;
    uint32_t shared = 0;
    while (i && shared < w->n && shared < before->n && w->bytes[shared] == before->bytes[shared]) shared++;
    nodes += w->n - shared;
  }
  return nodes;
}

typedef struct {
  uint32_t low, high; /* the sorted words under a node */
} word_range;

/* Breadth first: the nodes are their own queue. All words of a node share their first `depth` bytes. */
static void build(trie *t, const trie_word *sorted, uint32_t n, word_range *range, size_t n_nodes) {
  size_t made = 1, level_end = 1;
  uint32_t depth = 0;
  range[0] = (word_range){0, n};
  for (size_t node = 0; node < n_nodes; node++) {
    if (node == level_end) {
      depth++;
      level_end = made;
    }
    word_range r = range[node];
    t->first[node] = (uint32_t)made;
    t->id[node] = r.low < r.high && sorted[r.low].n == depth ? sorted[r.low++].id : NO_WORD;
    while (r.low < r.high) {
      char label = sorted[r.low].bytes[depth];
      uint32_t high = r.low + 1;
      while (high < r.high && sorted[high].bytes[depth] == label) high++;
      if (node == 0) t->root[(uint8_t)label] = (uint32_t)made;
      t->label[made] = (uint8_t)label;
      range[made++] = (word_range){r.low, high};
      r.low = high;
    }
  }
  t->first[n_nodes] = (uint32_t)made;
}

trie *trie_new(const trie_word *sorted, uint32_t n) {
  const size_t n_nodes = count_nodes(sorted, n);
  if (n_nodes >= UINT32_MAX) return fail_null(STATUS_MEMORY, "the words have more than 4 billion bytes");
  word_range *range = mem_alloc(n_nodes, sizeof *range);
  trie *t = range ? mem_zero(1, sizeof *t) : NULL;
  if (t) {
    t->first = mem_alloc(n_nodes + 1, sizeof *t->first);
    t->id = mem_alloc(n_nodes, sizeof *t->id);
    t->label = mem_zero(n_nodes, sizeof *t->label);
    if (t->first && t->id && t->label) {
      build(t, sorted, n, range, n_nodes);
    } else {
      trie_free(t);
      t = NULL;
    }
  }
  free(range);
  return t;
}

/* -- Use ----------------------------------------------------------------------------------------------------------- */

/* The child of `node` along `byte`, or 0. */
static uint32_t find_child(const trie *t, uint32_t node, uint8_t byte) {
  uint32_t low = t->first[node], n = t->first[node + 1] - low;
  while (n > 1) { /* the last child whose label is not above the byte */
    uint32_t half = n / 2;
    low += t->label[low + half] <= byte ? half : 0;
    n -= half;
  }
  return n && t->label[low] == byte ? low : 0;
}

size_t trie_longest(const trie *t, const void *text, size_t n, int32_t *id) {
  const uint8_t *p = text;
  size_t longest = 0, at = 0;
  for (uint32_t node = n ? t->root[p[at++]] : 0; node; node = at < n ? find_child(t, node, p[at++]) : 0) {
    if (t->id[node] == NO_WORD) continue;
    *id = t->id[node];
    longest = at;
  }
  return longest;
}

size_t trie_find(const trie *t, const void *text, size_t n, size_t *at, int32_t *id) {
  const uint8_t *p = text;
  size_t i = 0, length = 0;
  while (i < n && (!t->root[p[i]] || !(length = trie_longest(t, p + i, n - i, id)))) i++;
  *at = i;
  return length;
}
