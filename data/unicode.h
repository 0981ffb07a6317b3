/* What tokenizers need to know of Unicode: the classes of characters that text is split at, normalisation form C, and
 * small and capital letters.
 *
 * The data are those of utf8proc (Unicode 15 in Debian 12). What Unicode assigns keeps its normal form for ever, so
 * only characters that are newer than the library are treated otherwise than by a later one. */
#ifndef LINNET_DATA_UNICODE_H
#define LINNET_DATA_UNICODE_H

#include "kernels/base.h"

typedef enum {
  UNICODE_OTHER,
  UNICODE_LETTER, /* general category L: \p{L} */
  UNICODE_NUMBER, /* general category N: \p{N} */
  UNICODE_SPACE,  /* the property White_Space: \s */
} unicode_class;

unicode_class unicode_class_of(uint32_t code);
/* Of the first character of n >= 1 bytes of valid UTF-8, and its length. */
unicode_class unicode_class_at(const char *text, size_t n, size_t *length);

/* Bytes that are not UTF-8 are no text: each damaged run becomes one U+FFFD, as Python's decode(errors="replace") has
 * it. *out is a new string of *size bytes that the caller frees; or NULL if the text is valid as it is. */
status unicode_repair(const char *text, size_t n, char **out, size_t *size);

/* The bytes of UTF-8 that normalisation form C makes of one at most (U+1D160 of 4 bytes becomes 12). */
#define UNICODE_NFC_GROWTH 3

/* Brings n bytes of valid UTF-8 into normalisation form C (UAX #15), in time n log n whatever they are. *out is a new
 * string of *size bytes that the caller frees; or NULL if a glance shows that nothing would change. */
status unicode_nfc(const char *text, size_t n, char **out, size_t *size);

/* The small letters of n bytes of valid UTF-8, as Python's str.lower() has them: a character at a time, but the dotted
 * capital I (U+0130) becomes two, and a sigma that ends a word the final one (Unicode 15, table 3-17). `out` has room
 * for UNICODE_LOWER_ROOM(n) bytes; returns how many there are. */
size_t unicode_lower(const char *text, size_t n, char *out);
#define UNICODE_LOWER_ROOM(n) ((n) + (n) / 2)
/* The capital of a letter where that is one character; other characters are their own. */
uint32_t unicode_upper(uint32_t code);

#endif
