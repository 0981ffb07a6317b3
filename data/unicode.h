/* What tokenizers need to know of Unicode: the classes of characters that text is split at, and normalisation form C.
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

/* The bytes of UTF-8 that normalisation form C makes of one at most (U+1D160 of 4 bytes becomes 12). */
#define UNICODE_NFC_GROWTH 3

/* Brings n bytes of valid UTF-8 into normalisation form C (UAX #15), in time n log n whatever they are. *out is a new
 * string of *size bytes that the caller frees; or NULL if a glance shows that nothing would change. */
status unicode_nfc(const char *text, size_t n, char **out, size_t *size);

#endif
