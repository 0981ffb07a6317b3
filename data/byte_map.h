/* Bytes as printable characters, the way the files of byte-level BPE write them (A. Radford et al., GPT-2, 2019): the
 * 188 visible characters of ASCII and Latin-1 stand for their own bytes, the other 68 bytes in their order for U+0100
 * and on. Spec rwkv-clip 7.1. */
#ifndef LINNET_DATA_BYTE_MAP_H
#define LINNET_DATA_BYTE_MAP_H

#include "kernels/base.h"

enum { BYTE_MAP_CODES = 256 + 68 }; /* one past the last code point */

typedef struct {
  uint16_t code[256];
  int16_t byte[BYTE_MAP_CODES]; /* -1: the code point stands for none */
} byte_map;

byte_map byte_map_make(void);
/* What n bytes of text stand for; `out` has room for n. False if a character stands for no byte. */
bool byte_map_read(const byte_map *map, const char *text, size_t n, char *out, size_t *size);
/* Writes n bytes as text, at most 2 n bytes; returns its length. */
size_t byte_map_write(const byte_map *map, const char *bytes, size_t n, char *out);

#endif
