/* Texts to ids by merges. See bpe.h.
 *
 * The symbols of a piece are a linked list; the pairs that can merge stand in a heap by rank and place, so that a piece
 * of n bytes takes n log n however long it is. Most pieces of real text are one token and need no merging: `whole` says
 * so. */
#include "data/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "kernels/utf8.h"

#define NO_RANK UINT32_MAX
#define NO_TOKEN (-1)

/* -- Merging ------------------------------------------------------------------------------------------------------- */

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

/* The slot that holds the pair or would. */
static size_t find_slot(const bpe *b, uint64_t pair) {
  uint64_t h = pair * 0x9e3779b97f4a7c15u;
  size_t i = (size_t)(h ^ h >> 32) & (b->n_slots - 1);
  while (b->slots[i].pair != pair && b->slots[i].pair != BPE_NO_PAIR) i = (i + 1) & (b->n_slots - 1);
  return i;
}

static uint32_t rank_of(const bpe *b, int32_t left, int32_t right) {
  return b->slots[find_slot(b, pair_of(left, right))].rank; /* NO_RANK in an empty one */
}

void bpe_encoder_start(bpe_encoder *e, const bpe *b, token_list *out) {
  e->b = b;
  e->out = out;
  e->symbols = e->few;
  e->heap = e->few_heap;
  e->n_suffix = strlen(b->suffix);
  e->room = BPE_SHORT;
  e->n_heap = 0;
}

void bpe_encoder_end(bpe_encoder *e) {
  if (e->symbols != e->few) free(e->symbols);
  if (e->heap != e->few_heap) free(e->heap);
}

static status make_room(bpe_encoder *e, size_t n) {
  if (n <= e->room) return STATUS_OK;
  bpe_encoder_end(e);
  e->symbols = mem_alloc(n, sizeof *e->symbols);
  e->heap = mem_alloc(n, 2 * sizeof *e->heap);
  e->room = n;
  return e->symbols && e->heap ? STATUS_OK : STATUS_MEMORY;
}

static void push(bpe_encoder *e, uint64_t key) {
  size_t i = e->n_heap++;
  for (; i && e->heap[(i - 1) / 2] > key; i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
  e->heap[i] = key;
}

static uint64_t pop(bpe_encoder *e) {
  const uint64_t least = e->heap[0], last = e->heap[--e->n_heap];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < e->n_heap; i = child) {
    child += child + 1 < e->n_heap && e->heap[child + 1] < e->heap[child];
    if (e->heap[child] >= last) break;
    e->heap[i] = e->heap[child];
  }
  e->heap[i] = last;
  return least;
}

/* Looks up what the symbol at i and the next one make. */
static void pair_up(bpe_encoder *e, uint32_t i, uint32_t n) {
  bpe_symbol *s = e->symbols + i;
  s->rank = s->next < n ? rank_of(e->b, s->id, e->symbols[s->next].id) : NO_RANK;
  if (s->rank != NO_RANK) push(e, (uint64_t)s->rank << 32 | i);
}

/* Merges a piece of n bytes; the tokens are e->symbols from 0 on, along `next`, to n. */
static status merge(bpe_encoder *e, const char *piece, size_t size) {
  if (make_room(e, size)) return STATUS_MEMORY;
  const uint32_t n = (uint32_t)size;
  bpe_symbol *s = e->symbols;
  for (uint32_t i = 0; i < n; i++) s[i] = (bpe_symbol){e->b->single[(uint8_t)piece[i]], NO_RANK, i - 1, i + 1};
  if (n) s[n - 1].id = e->b->last[(uint8_t)piece[n - 1]];
  for (uint32_t i = 0; i < n; i++) pair_up(e, i, n);
  while (e->n_heap) {
    const uint64_t key = pop(e);
    const uint32_t rank = (uint32_t)(key >> 32), left = (uint32_t)key;
    if (s[left].rank != rank) continue; /* one of the two has been merged since, and the pair is another */
    const uint32_t right = s[left].next;
    s[left].id = e->b->merges[rank].made;
    s[left].next = s[right].next;
    s[right].rank = NO_RANK;
    if (s[left].next < n) s[s[left].next].previous = left;
    pair_up(e, left, n);
    if (left) pair_up(e, s[left].previous, n);
  }
  return STATUS_OK;
}

/* The id of a piece that is one token. One too long to be looked up is merged like any other. */
static uint32_t find_whole_piece(const bpe_encoder *e, const char *piece, size_t n) {
  char word[BPE_SHORT];
  if (e->n_suffix == 0) return intern_find(e->b->vocabulary, piece, n);
  if (n + e->n_suffix > sizeof word) return INTERN_NONE;
  memcpy(word, piece, n);
  memcpy(word + n, e->b->suffix, e->n_suffix);
  return intern_find(e->b->vocabulary, word, n + e->n_suffix);
}

status bpe_encode_piece(bpe_encoder *e, const char *piece, size_t n) {
  const uint32_t id = find_whole_piece(e, piece, n);
  if (id != INTERN_NONE && e->b->whole[id]) return token_put(e->out, (int32_t)id), STATUS_OK;
  status code = merge(e, piece, n);
  for (size_t i = 0; i < n && !code; i = e->symbols[i].next) token_put(e->out, e->symbols[i].id);
  return code;
}

/* -- Splitting ----------------------------------------------------------------------------------------------------- */

/* Where the characters of one class that text[at] begins with end; *last is where the last of them begins. */
static size_t run_end(const char *text, size_t n, size_t at, unicode_class class, size_t *last) {
  size_t length;
  *last = at;
  while (at < n && unicode_class_at(text + at, n - at, &length) == class) {
    *last = at;
    at += length;
  }
  return at;
}

/* The length of 's, 't, 're, 've, 'm, 'll or 'd at the start of the text, or 0. */
static size_t contraction(const char *text, size_t n) {
  if (n < 2 || *text != '\'') return 0;
  if (memchr("stmd", text[1], 4)) return 2;
  return n > 2 && (!memcmp(text + 1, "re", 2) || !memcmp(text + 1, "ve", 2) || !memcmp(text + 1, "ll", 2)) ? 3 : 0;
}

/* The length of the first piece of n >= 1 bytes by GPT-2's pattern. */
static size_t first_piece(const char *text, size_t n) {
  size_t length = contraction(text, n), last, next;
  if (length) return length;
  unicode_class class = unicode_class_at(text, n, &length);
  if (*text == ' ' && n > 1) {
    unicode_class behind = unicode_class_at(text + 1, n - 1, &next);
    if (behind != UNICODE_SPACE) return run_end(text, n, 1, behind, &last);
  }
  size_t end = run_end(text, n, 0, class, &last);
  /* White space leaves its last character to the word behind it, if it has more than that one. */
  return class == UNICODE_SPACE && end < n && last ? last : end;
}

/* -- The steps ----------------------------------------------------------------------------------------------------- */

typedef status step(bpe_encoder *e, const char *text, size_t n);

/* Puts the added tokens and gives what lies between to the next step. */
static status cut_out(bpe_encoder *e, const trie *added, const char *text, size_t n, step *between) {
  for (size_t at = 0, found, length;; at += found + length) {
    int32_t id;
    length = trie_find(added, text + at, n - at, &found, &id);
    status code = found ? between(e, text + at, found) : STATUS_OK;
    if (code || !length) return code;
    token_put(e->out, id);
  }
}

static status encode_words(bpe_encoder *e, const char *text, size_t n) {
  status code = STATUS_OK;
  for (size_t at = 0, length; at < n && !code; at += length) {
    length = first_piece(text + at, n - at);
    code = bpe_encode_piece(e, text + at, length);
  }
  return code;
}

static status encode_stretch(bpe_encoder *e, const char *text, size_t n) {
  char *normal;
  size_t size;
  status code = unicode_nfc(text, n, &normal, &size);
  if (!code) code = cut_out(e, e->b->normal, normal ? normal : text, size, encode_words);
  free(normal);
  return code;
}

status bpe_encode(const tokenizer *t, const char *text, size_t n, token_list *out) {
  const bpe *b = (const bpe *)t;
  if (n > BPE_LONGEST_TEXT) return fail(STATUS_MEMORY, "a text of %zu bytes is too long to be encoded at once", n);
  char *repaired;
  status code = unicode_repair(text, n, &repaired, &n);
  if (code) return code;
  bpe_encoder e;
  bpe_encoder_start(&e, b, out);
  code = cut_out(&e, b->raw, repaired ? repaired : text, n, encode_stretch);
  bpe_encoder_end(&e);
  free(repaired);
  return code;
}

/* -- Preparing ----------------------------------------------------------------------------------------------------- */

static status fill_slots(bpe *b) {
  b->n_slots = 2;
  while (b->n_slots < 2 * (size_t)b->n_merges) b->n_slots *= 2;
  if (!(b->slots = mem_alloc(b->n_slots, sizeof *b->slots))) return STATUS_MEMORY;
  for (size_t i = 0; i < b->n_slots; i++) b->slots[i] = (bpe_slot){BPE_NO_PAIR, NO_RANK};
  for (uint32_t rank = 0; rank < b->n_merges; rank++) {
    const uint64_t pair = pair_of(b->merges[rank].left, b->merges[rank].right);
    bpe_slot *slot = b->slots + find_slot(b, pair);
    if (slot->pair == pair) return fail(STATUS_FORMAT, "merges %u and %u join the same pair", slot->rank, rank);
    *slot = (bpe_slot){pair, rank};
  }
  return STATUS_OK;
}

/* UTF-8 never has the bytes 0xc0, 0xc1 and those from 0xf5 on, and GPT-NeoX has no tokens for them. */
static status find_singles(bpe *b) {
  for (unsigned byte = 0; byte < 256; byte++) {
    char word[16] = {(char)byte};
    snprintf(word + 1, sizeof word - 1, "%s", b->suffix);
    const uint32_t id = intern_find(b->vocabulary, word, 1),
                   last = intern_find(b->vocabulary, word, 1 + strlen(b->suffix));
    if ((id == INTERN_NONE || last == INTERN_NONE) && byte != 0xc0 && byte != 0xc1 && byte < 0xf5)
      return fail(STATUS_FORMAT, "no token is the single byte 0x%02x, which texts may have", byte);
    b->single[byte] = id == INTERN_NONE ? NO_TOKEN : (int32_t)id;
    b->last[byte] = last == INTERN_NONE ? NO_TOKEN : (int32_t)last;
  }
  return STATUS_OK;
}

static status find_whole(bpe *b) {
  const uint32_t n = intern_count(b->vocabulary);
  if (!(b->whole = mem_zero(n, sizeof *b->whole))) return STATUS_MEMORY;
  bpe_encoder e;
  bpe_encoder_start(&e, b, NULL);
  status code = STATUS_OK;
  for (uint32_t id = 0; id < n && !code; id++) {
    size_t size;
    const char *bytes = intern_bytes(b->vocabulary, id, &size);
    if (size <= e.n_suffix || memcmp(bytes + size - e.n_suffix, b->suffix, e.n_suffix)) continue; /* ends no piece */
    size -= e.n_suffix;
    code = merge(&e, bytes, size);
    b->whole[id] = !code && e.symbols[0].next == size; /* then its id is this: ids of equal bytes are equal */
  }
  bpe_encoder_end(&e);
  return code;
}

status bpe_prepare(bpe *b) {
  status code = find_singles(b);
  if (!code) code = fill_slots(b);
  return code ? code : find_whole(b);
}
