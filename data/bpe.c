/* Texts to ids by merges. See bpe.h.
 *
 * The symbols of a piece are a linked list; the pairs that can merge stand in a heap by rank and place, so that a piece
 * of n bytes takes n log n however long it is. Most pieces of real text are one token and need no merging: `whole` says
 * so. */
#include "data/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"
#include "kernels/utf8.h"

#define NO_RANK UINT32_MAX
#define NO_TOKEN (-1)
#define LONGEST_TEXT ((size_t)1 << 30) /* places are 32 bits, after normalisation */

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

typedef struct {
  int32_t id;
  uint32_t rank; /* of the pair with the next symbol; NO_RANK for what cannot merge and for what has been merged */
  uint32_t previous, next;
} symbol;

enum { SHORT = 128 }; /* bytes of a piece that needs no allocation */

typedef struct {
  const bpe *b;
  token_list *out;
  symbol *symbols; /* [room], few or allocated */
  uint64_t *heap;  /* [2 room]: rank, place; each merge takes one out and puts two in at most */
  size_t room, n_heap;
  symbol few[SHORT];
  uint64_t few_heap[2 * SHORT];
} encoder;

static void encoder_start(encoder *e, const bpe *b, token_list *out) {
  e->b = b;
  e->out = out;
  e->symbols = e->few;
  e->heap = e->few_heap;
  e->room = SHORT;
  e->n_heap = 0;
}

static void encoder_end(encoder *e) {
  if (e->symbols != e->few) free(e->symbols);
  if (e->heap != e->few_heap) free(e->heap);
}

static status make_room(encoder *e, size_t n) {
  if (n <= e->room) return STATUS_OK;
  encoder_end(e);
  e->symbols = mem_alloc(n, sizeof *e->symbols);
  e->heap = mem_alloc(n, 2 * sizeof *e->heap);
  e->room = n;
  return e->symbols && e->heap ? STATUS_OK : STATUS_MEMORY;
}

static void push(encoder *e, uint64_t key) {
  size_t i = e->n_heap++;
  for (; i && e->heap[(i - 1) / 2] > key; i = (i - 1) / 2) e->heap[i] = e->heap[(i - 1) / 2];
  e->heap[i] = key;
}

static uint64_t pop(encoder *e) {
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
static void pair_up(encoder *e, uint32_t i, uint32_t n) {
  symbol *s = e->symbols + i;
  s->rank = s->next < n ? rank_of(e->b, s->id, e->symbols[s->next].id) : NO_RANK;
  if (s->rank != NO_RANK) push(e, (uint64_t)s->rank << 32 | i);
}

/* Merges a piece of n bytes; the tokens are e->symbols from 0 on, along `next`, to n. */
static status merge(encoder *e, const char *piece, size_t size) {
  if (make_room(e, size)) return STATUS_MEMORY;
  const uint32_t n = (uint32_t)size;
  symbol *s = e->symbols;
  for (uint32_t i = 0; i < n; i++) s[i] = (symbol){e->b->single[(uint8_t)piece[i]], NO_RANK, i - 1, i + 1};
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

static status encode_piece(encoder *e, const char *piece, size_t n) {
  const uint32_t id = intern_find(e->b->vocabulary, piece, n);
  if (id != INTERN_NONE && e->b->whole[id]) return token_put(e->out, (int32_t)id), STATUS_OK;
  status code = merge(e, piece, n);
  for (size_t i = 0; i < n && !code; i = e->symbols[i].next) token_put(e->out, e->symbols[i].id);
  return code;
}

/* -- Splitting ----------------------------------------------------------------------------------------------------- */

static unicode_class class_at(const char *text, size_t n, size_t *length) {
  const uint8_t byte = (uint8_t)*text;
  if (byte >= 0x80) {
    uint32_t code;
    *length = (size_t)utf8_next(text, n, &code);
    return unicode_class_of(code);
  }
  *length = 1;
  if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') return UNICODE_LETTER;
  if (byte >= '0' && byte <= '9') return UNICODE_NUMBER;
  return byte == ' ' || (byte >= '\t' && byte <= '\r') ? UNICODE_SPACE : UNICODE_OTHER;
}

/* Where the characters of one class that text[at] begins with end; *last is where the last of them begins. */
static size_t run_end(const char *text, size_t n, size_t at, unicode_class class, size_t *last) {
  size_t length;
  *last = at;
  while (at < n && class_at(text + at, n - at, &length) == class) {
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
  unicode_class class = class_at(text, n, &length);
  if (*text == ' ' && n > 1) {
    unicode_class behind = class_at(text + 1, n - 1, &next);
    if (behind != UNICODE_SPACE) return run_end(text, n, 1, behind, &last);
  }
  size_t end = run_end(text, n, 0, class, &last);
  /* White space leaves its last character to the word behind it, if it has more than that one. */
  return class == UNICODE_SPACE && end < n && last ? last : end;
}

/* -- The steps ----------------------------------------------------------------------------------------------------- */

typedef status step(encoder *e, const char *text, size_t n);

/* Puts the added tokens and gives what lies between to the next step. */
static status cut_out(encoder *e, const trie *added, const char *text, size_t n, step *between) {
  for (size_t at = 0, found, length;; at += found + length) {
    int32_t id;
    length = trie_find(added, text + at, n - at, &found, &id);
    status code = found ? between(e, text + at, found) : STATUS_OK;
    if (code || !length) return code;
    token_put(e->out, id);
  }
}

static status encode_words(encoder *e, const char *text, size_t n) {
  status code = STATUS_OK;
  for (size_t at = 0, length; at < n && !code; at += length) {
    length = first_piece(text + at, n - at);
    code = encode_piece(e, text + at, length);
  }
  return code;
}

static status encode_stretch(encoder *e, const char *text, size_t n) {
  char *normal;
  size_t size;
  status code = unicode_nfc(text, n, &normal, &size);
  if (!code) code = cut_out(e, e->b->normal, normal ? normal : text, size, encode_words);
  free(normal);
  return code;
}

status bpe_encode(const tokenizer *t, const char *text, size_t n, token_list *out) {
  const bpe *b = (const bpe *)t;
  if (n > LONGEST_TEXT) return fail(STATUS_MEMORY, "a text of %zu bytes is too long to be encoded at once", n);
  char *repaired = NULL;
  if (!utf8_valid(text, n)) {
    utf8_stream stream = {.damage = UTF8_REPLACE};
    if (!(repaired = mem_alloc(UTF8_STREAM_ROOM(n) + UTF8_STREAM_ROOM(0), 1))) return STATUS_MEMORY;
    n = utf8_stream_push(&stream, text, n, repaired);
    n += utf8_stream_finish(&stream, repaired + n);
  }
  encoder e;
  encoder_start(&e, b, out);
  status code = cut_out(&e, b->raw, repaired ? repaired : text, n, encode_stretch);
  encoder_end(&e);
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
    const char c = (char)byte;
    const uint32_t id = intern_find(b->vocabulary, &c, 1);
    if (id == INTERN_NONE && byte != 0xc0 && byte != 0xc1 && byte < 0xf5)
      return fail(STATUS_FORMAT, "no token is the single byte 0x%02x, which texts may have", byte);
    b->single[byte] = id == INTERN_NONE ? NO_TOKEN : (int32_t)id;
  }
  return STATUS_OK;
}

static status find_whole(bpe *b) {
  const uint32_t n = intern_count(b->vocabulary);
  if (!(b->whole = mem_alloc(n, sizeof *b->whole))) return STATUS_MEMORY;
  encoder e;
  encoder_start(&e, b, NULL);
  status code = STATUS_OK;
  for (uint32_t id = 0; id < n && !code; id++) {
    size_t size;
    const char *bytes = intern_bytes(b->vocabulary, id, &size);
    code = merge(&e, bytes, size);
    b->whole[id] = !code && e.symbols[0].next == size; /* then its id is this: ids of equal bytes are equal */
  }
  encoder_end(&e);
  return code;
}

status bpe_prepare(bpe *b) {
  status code = find_singles(b);
  if (!code) code = fill_slots(b);
  return code ? code : find_whole(b);
}
