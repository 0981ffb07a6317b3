/* Repairs UTF-8 that was read as a single-byte character set, once or several times: "cafÃ©" for "café".
 * The method of ftfy 6's fix_encoding (R. Speer, "ftfy", 2019); spec rwkv-clip 7.4. */
#ifndef LINNET_DATA_MOJIBAKE_H
#define LINNET_DATA_MOJIBAKE_H

#include "kernels/base.h"

/* *out is the repaired text of n bytes of valid UTF-8, *size bytes that the caller frees; or NULL if there is nothing
 * to repair. It is never longer than the text by more than half. Fails only for memory. */
status mojibake_repair(const char *text, size_t n, char **out, size_t *size);

/* Controls U+0080 to U+009F become what Windows-1252 has for these bytes. `out` has room for MOJIBAKE_C1_ROOM(n) bytes;
 * returns how many there are. */
size_t mojibake_fix_c1(const char *text, size_t n, char *out);
#define MOJIBAKE_C1_ROOM(n) ((n) + (n) / 2)

#endif
