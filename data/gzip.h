/* gzip in memory (RFC 1952). */
#ifndef LINNET_DATA_GZIP_H
#define LINNET_DATA_GZIP_H

#include "kernels/base.h"

bool gzip_is(const void *bytes, size_t n);
/* What n bytes of one gzip member unpack to, at most `most` bytes, as a new string with a zero byte after it. NULL with
 * a sentence if they are damaged, cut off, or unpack to more. */
char *gzip_unpack(const void *bytes, size_t n, size_t most, size_t *size);

#endif
