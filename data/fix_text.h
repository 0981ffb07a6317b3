/* Repairs what went wrong with a text on its way, as the Python package ftfy does (R. Speer, "ftfy", 2019;
 * version 6.2.0 with its default options), on which CLIP's tokenizers stand. Spec rwkv-clip 7.4.
 *
 * Line by line, and each again until it stays the same: character references of HTML, as long as no line has had a "<";
 * text that was read in the wrong character set (data/mojibake.h); controls U+0080 to U+009F; ligatures of Latin
 * letters to letters; forms of half or full width to usual ones; curly quotes to straight ones; line breaks to LF;
 * terminal escapes and controls away; normalisation form C. Surrogates, which ftfy also repairs, do not occur: the text
 * is valid UTF-8. */
#ifndef LINNET_DATA_FIX_TEXT_H
#define LINNET_DATA_FIX_TEXT_H

#include "kernels/base.h"

/* *out is the repaired text of n bytes of valid UTF-8, *size bytes that the caller frees; or NULL if nothing changes. A
 * line of more than a million characters is taken as several. Fails only for memory. */
status fix_text(const char *text, size_t n, char **out, size_t *size);

#endif
