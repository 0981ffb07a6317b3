/* The decoder of compress(1): Welch's LZW (Computer 17(6), 1984) with codes that grow from 9 to 16 bits.
 *
 * The coder wrote codes in groups of eight, and a group is filled up whenever the width of a code changes or the table
 * is cleared: what is left of it is skipped. */
#include <stdlib.h>

#include "data/build/text.h"

enum { LEAST_BITS = 9, MOST_BITS = 16, CLEAR = 256, FIRST_FREE = 257, CODES = 1 << MOST_BITS };

typedef struct {
  const uint8_t *codes;
  size_t bits, at, run; /* bits there are; the next one; where the present width began */
  unsigned width;
} code_reader;

static void set_width(code_reader *r, unsigned width) {
  size_t group = 8 * (size_t)r->width;
  r->at = r->run + (r->at - r->run + group - 1) / group * group;
  r->run = r->at;
  r->width = width;
}

static bool next_code(code_reader *r, uint32_t *code) {
  if (r->at > r->bits || r->bits - r->at < r->width) return false;
  *code = 0;
  for (unsigned b = 0; b < r->width; b++, r->at++) {
    *code |= (uint32_t)(r->codes[r->at / 8] >> (r->at % 8) & 1u) << b;
  }
  return true;
}

/* Each entry of the table is the string of another one and a byte. */
typedef struct {
  uint16_t prefix[CODES];
  uint8_t suffix[CODES];
  uint32_t free, previous;
  bool started; /* `previous` is a code, and `first` the first byte of its string */
  uint8_t first;
} code_table;

/* Appends the string of a code; false if there is no such code or no room. */
static bool expand(code_table *t, uint32_t code, uint8_t *out, size_t room, size_t *size) {
  size_t length = 1;
  bool itself = code == t->free && t->started && t->free < CODES; /* it begins and ends with the same byte */
  uint32_t start = itself ? t->previous : code;
  if (code == CLEAR || (code >= t->free && !itself)) return false;
  for (uint32_t c = start; c >= CLEAR; c = t->prefix[c]) {
    if (++length > room - *size) return false;
  }
  length += itself;
  if (length > room - *size) return false;
  uint8_t *end = out + *size + length;
  if (itself) *--end = t->first;
  uint32_t c = start;
  for (; c >= CLEAR; c = t->prefix[c]) *--end = t->suffix[c];
  *--end = (uint8_t)c;
  *size += length;
  if (t->started && t->free < CODES) {
    t->prefix[t->free] = (uint16_t)t->previous;
    t->suffix[t->free++] = (uint8_t)c;
  }
  t->previous = code;
  t->first = (uint8_t)c;
  t->started = true;
  return true;
}

bool lzw_decode(const uint8_t *codes, size_t n, uint8_t *out, size_t room, size_t *size) {
  code_reader reader = {.codes = codes, .bits = 8 * n, .width = LEAST_BITS};
  code_table *table = mem_zero(1, sizeof *table);
  bool good = table != NULL && n <= SIZE_MAX / 8;
  uint32_t code;
  *size = 0;
  if (good) table->free = FIRST_FREE;
  while (good) {
    if (table->free > (1u << reader.width) - 1 && reader.width < MOST_BITS) set_width(&reader, reader.width + 1);
    if (!next_code(&reader, &code)) break;
    if (code == CLEAR && table->started) {
      set_width(&reader, LEAST_BITS);
      table->free = FIRST_FREE;
      table->started = false;
    } else {
      good = expand(table, code, out, room, size);
    }
  }
  free(table);
  return good;
}
