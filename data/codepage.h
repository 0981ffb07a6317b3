/* The single-byte character sets that texts are most often read in by mistake: Latin-1, Windows-1252, 1251, 1250, 1253
 * and 1254, ISO-8859-2, Mac OS Roman and the IBM PC's 437. Spec rwkv-clip 7.4.
 *
 * As browsers read them: a byte that a Windows set does not assign is the control of the same number. In those byte
 * 0x1a (SUBSTITUTE) also stands for U+FFFD, and for nothing else. */
#ifndef LINNET_DATA_CODEPAGE_H
#define LINNET_DATA_CODEPAGE_H

#include "kernels/base.h"

typedef enum {
  CODEPAGE_LATIN_1,
  CODEPAGE_1252,
  CODEPAGE_1251,
  CODEPAGE_1250,
  CODEPAGE_1253,
  CODEPAGE_1254,
  CODEPAGE_LATIN_2,
  CODEPAGE_MAC_ROMAN,
  CODEPAGE_437,
  CODEPAGES
} codepage;

bool codepage_is_windows(codepage page);
/* The byte of a character, or -1 if the set does not have it. */
int codepage_byte(codepage page, uint32_t code);
/* What Windows-1252 has for a byte from 0x80 to 0x9f. */
uint32_t codepage_1252(uint32_t byte);

#endif
