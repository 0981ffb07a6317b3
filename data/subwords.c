/* Byte pair encoding's vocabulary. The pieces stand as symbols in one array; a table holds how often each pair of
 * symbols occurs and the pieces where it was seen, so that joining a pair looks at those pieces only. */
#include "data/subwords.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "data/tokenizer.h"

/* ---- pieces ---- */

enum { LETTERS, DIGITS, OTHERS };
static int sort_of(char c) {
  const unsigned char byte = (unsigned char)c;
  return isalpha(byte) || byte >= 0x80 ? LETTERS : isdigit(byte) ? DIGITS : OTHERS;
}

status subwords_count(tally *pieces, const char *text, size_t n) {
  status s = STATUS_OK;
  for (size_t at = 0, end; at < n && !s; at = end) {
    const size_t first = text[at] == ' ' && at + 1 < n ? at + 1 : at;
    for (end = first + 1; end < n && end - at < SUBWORD_MAX_BYTES; end++)
      if (sort_of(text[end]) != sort_of(text[first]) || text[end] == ' ') break;
    s = tally_add(pieces, text + at, end - at);
  }
  return s;
}

/* ---- pairs ---- */

enum { NOWHERE = 0 };

typedef struct {
  uint32_t left, right;
  uint64_t count;
  uint32_t places; /* a list in `place`; NOWHERE ends it and marks an empty slot */
} pair;

typedef struct {
  const tally *pieces;
  int32_t *symbol; /* of all pieces; joining leaves their rooms unused at the end of a piece */
  uint32_t *start; /* [pieces]: where a piece begins in `symbol` */
  uint8_t *length; /* [pieces]: its symbols */
  pair *slot;      /* open addressing; `slots` is a power of two */
  size_t slots, pairs;
  struct {
    uint32_t piece, next;
  } * place;
  size_t places, place_room;
  vocabulary_entry *entry;
  char (*bytes)[SUBWORD_MAX_BYTES]; /* of the entries */
  uint32_t entries;
} builder;

static pair *slot_of(pair *slot, size_t slots, uint32_t left, uint32_t right) {
  size_t at = (size_t)random_u64(0, left, right) & (slots - 1);
  while (slot[at].places != NOWHERE && (slot[at].left != left || slot[at].right != right)) at = (at + 1) & (slots - 1);
  return &slot[at];
}

static status make_room_for_pair(builder *b) {
  if (b->slots && b->pairs < b->slots / 2) return STATUS_OK;
  const size_t slots = b->slots ? b->slots * 2 : 1 << 16;
  pair *more = mem_zero(slots, sizeof *more);
  if (!more) return STATUS_MEMORY;
  for (size_t i = 0; i < b->slots; i++)
    if (b->slot[i].places != NOWHERE) *slot_of(more, slots, b->slot[i].left, b->slot[i].right) = b->slot[i];
  free(b->slot);
  b->slot = more;
  b->slots = slots;
  return STATUS_OK;
}

enum { ANY = -1 };

/* Counts the piece's pairs in. The piece can be new to those only that have the symbol `made`. */
static status count_in(builder *b, uint32_t piece, int32_t made) {
  const int32_t *symbol = b->symbol + b->start[piece];
  for (int i = 0; i + 1 < b->length[piece]; i++) {
    const uint32_t left = (uint32_t)symbol[i], right = (uint32_t)symbol[i + 1];
    const bool fresh = made == ANY || symbol[i] == made || symbol[i + 1] == made;
    status s = make_room_for_pair(b);
    if (s) return s;
    pair *p = slot_of(b->slot, b->slots, left, right);
    if (p->places == NOWHERE || fresh) {
      void *more = mem_room(b->place, b->places, &b->place_room, sizeof *b->place);
      if (!more) return STATUS_MEMORY;
      b->place = more;
      b->pairs += p->places == NOWHERE;
      b->place[b->places].piece = piece;
      b->place[b->places].next = p->places;
      *p = (pair){left, right, p->count, (uint32_t)b->places++};
    }
    p->count += b->pieces->count[piece];
  }
  return STATUS_OK;
}

static void count_out(builder *b, uint32_t piece) {
  const int32_t *symbol = b->symbol + b->start[piece];
  for (int i = 0; i + 1 < b->length[piece]; i++)
    slot_of(b->slot, b->slots, (uint32_t)symbol[i], (uint32_t)symbol[i + 1])->count -= b->pieces->count[piece];
}

static const pair *most_frequent(const builder *b) {
  const pair *best = NULL;
  for (const pair *p = b->slot; p < b->slot + b->slots; p++) {
    if (p->places == NOWHERE || p->count < 2 || (best && p->count < best->count)) continue;
    if (!best || p->count > best->count || p->left < best->left || (p->left == best->left && p->right < best->right))
      best = p;
  }
  return best;
}

/* The entry that is made of two: a new one, unless other two gave the same bytes. */
static int32_t entry_of(builder *b, const vocabulary_entry *left, const vocabulary_entry *right) {
  const vocabulary_entry made = {b->bytes[b->entries], left->n + right->n};
  memcpy(b->bytes[b->entries], left->bytes, left->n);
  memcpy(b->bytes[b->entries] + left->n, right->bytes, right->n);
  b->entry[b->entries] = made;
  uint32_t i = 0;
  while (b->entry[i].n != made.n || memcmp(b->entry[i].bytes, made.bytes, made.n) != 0) i++;
  b->entries += i == b->entries;
  return (int32_t)i;
}

/* Replaces left, right by the entry that is made of them, in every piece that has them. */
static status join(builder *b, pair joint) {
  const int32_t made = entry_of(b, &b->entry[joint.left], &b->entry[joint.right]);
  for (uint32_t place = joint.places; place != NOWHERE;) {
    const uint32_t piece = b->place[place].piece;
    int32_t *symbol = b->symbol + b->start[piece];
    int n = 0, found = 0;
    place = b->place[place].next;
    for (int i = 0; i + 1 < b->length[piece]; i++)
      found += symbol[i] == (int32_t)joint.left && symbol[i + 1] == (int32_t)joint.right;
    if (!found) continue; /* seen here before, joined otherwise since */
    count_out(b, piece);
    for (int i = 0; i < b->length[piece]; i++) {
      const bool both =
          i + 1 < b->length[piece] && symbol[i] == (int32_t)joint.left && symbol[i + 1] == (int32_t)joint.right;
      symbol[n++] = both ? made : symbol[i];
      i += both;
    }
    b->length[piece] = (uint8_t)n;
    status s = count_in(b, piece, made);
    if (s) return s;
  }
  return STATUS_OK;
}

static status begin(builder *b, uint32_t max_entries) {
  const uint32_t n = intern_count(b->pieces->words);
  size_t total = 0, bytes;
  for (uint32_t i = 0; i < n; i++) {
    intern_bytes(b->pieces->words, i, &bytes);
    total += bytes;
  }
  if (total > INT32_MAX) return fail(STATUS_UNSUPPORTED, "the texts have more than 2^31 bytes of different words");
  b->symbol = mem_alloc(total, sizeof *b->symbol);
  b->start = mem_alloc(n, sizeof *b->start);
  b->length = mem_alloc(n, sizeof *b->length);
  b->entry = mem_alloc(max_entries, sizeof *b->entry);
  b->bytes = mem_alloc(max_entries, sizeof *b->bytes);
  b->place = mem_alloc(1, sizeof *b->place);
  b->places = b->place_room = 1; /* that of NOWHERE */
  if (!b->symbol || !b->start || !b->length || !b->entry || !b->bytes || !b->place) return STATUS_MEMORY;
  for (b->entries = 0; b->entries < 256; b->entries++) {
    b->bytes[b->entries][0] = (char)b->entries;
    b->entry[b->entries] = (vocabulary_entry){b->bytes[b->entries], 1};
  }
  status s = make_room_for_pair(b);
  total = 0;
  for (uint32_t i = 0; i < n && !s; i++) {
    const char *piece = intern_bytes(b->pieces->words, i, &bytes);
    b->start[i] = (uint32_t)total;
    b->length[i] = (uint8_t)bytes;
    for (size_t k = 0; k < bytes; k++) b->symbol[total++] = (uint8_t)piece[k];
    s = count_in(b, i, ANY);
  }
  return s;
}

status subwords_write(const tally *pieces, uint32_t max_entries, char **out, size_t *n) {
  builder b = {.pieces = pieces};
  if (max_entries < 256)
    return fail(STATUS_ARGUMENT, "a vocabulary of %u entries cannot hold the 256 bytes", max_entries);
  status s = begin(&b, max_entries);
  for (const pair *next; !s && b.entries < max_entries && (next = most_frequent(&b));) s = join(&b, *next);
  if (!s) s = vocabulary_text(b.entry, b.entries, out, n);
  free(b.symbol);
  free(b.start);
  free(b.length);
  free(b.entry);
  free(b.bytes);
  free(b.slot);
  free(b.place);
  return s;
}
