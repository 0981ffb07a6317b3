/* The string literals of Python, as far as World vocabularies use them (spec language-models section 6.1).
 *
 * 'text' and "text" hold characters and mean their UTF-8 bytes; b'bytes' and b"bytes" hold ASCII and mean bytes.
 * Escapes: \n \t \r \\ \' \" \xHH \uHHHH; in text \xHH is the character U+00HH, in bytes it is the byte, and \u is not
 * known. */
#ifndef LINNET_DATA_LITERAL_H
#define LINNET_DATA_LITERAL_H

#include "kernels/base.h"

/* Reads the literal that text[0..n) is, from its first character to its last. `out` has room for n bytes, which is
 * always enough; *size gets the number written. STATUS_FORMAT with a sentence otherwise. */
status literal_read(const char *text, size_t n, char *out, size_t *size);

/* Writes the one literal that Python's repr() gives for these bytes: text if they are valid UTF-8, else b''; double
 * quotes only round a ' without a "; controls, invisible and private characters escaped. `out` has room for
 * LITERAL_ROOM(n) characters; no terminator. Returns the length. */
size_t literal_write(const char *bytes, size_t n, char *out);
#define LITERAL_ROOM(n) (4 * (size_t)(n) + 3)

#endif
