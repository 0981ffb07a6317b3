/* Whether a text looks as if it had been read in the wrong character set ("mojibake"): the heuristic of ftfy 6
 * (R. Speer, "ftfy", 2019), which knows sequences of characters that nobody writes. Spec rwkv-clip 7.4. */
#ifndef LINNET_DATA_BADNESS_H
#define LINNET_DATA_BADNESS_H

#include "kernels/base.h"

/* Of n bytes of valid UTF-8. */
bool is_bad_text(const char *text, size_t n);

#endif
