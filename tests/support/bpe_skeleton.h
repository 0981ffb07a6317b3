/* A small tokenizer.json to add to: id 0 is "<|endoftext|>", 1 to 256 are the single bytes 0 to 255. */
#ifndef LINNET_TESTS_SUPPORT_BPE_SKELETON_H
#define LINNET_TESTS_SUPPORT_BPE_SKELETON_H

#include <stdio.h>
#include <string.h>

#include "kernels/utf8.h"

#define BPE_BYTE(byte) ((byte) + 1) /* its id */
#define BPE_FIRST 257               /* the first id that is free */
#define BPE_SKELETON_ROOM 5120      /* bytes beside the parts */

/* The character that stands for a byte in the file, escaped; returns its length. */
static inline int bpe_put_byte(unsigned byte, char *out) {
  unsigned code = byte, hidden = 0;
  for (unsigned b = 0; b < byte; b++) hidden += b <= 0x20 || (b >= 0x7f && b <= 0xa0) || b == 0xad;
  if (byte <= 0x20 || (byte >= 0x7f && byte <= 0xa0) || byte == 0xad) code = 0x100 + hidden;
  int n = byte == '"' || byte == '\\';
  if (n) *out = '\\';
  return n + utf8_put(code, out + n);
}

/* Writes the file with `vocab` (', "token": id' each), `merges` and `added` (separated by commas) in it; returns its
 * length. */
static inline size_t bpe_skeleton(const char *vocab, const char *merges, const char *added, char *out) {
  static const char head[] = "{\"added_tokens\":[%s],\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":"
                             "\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
                             "\"model\":{\"type\":\"BPE\",\"vocab\":{\"<|endoftext|>\":0";
  size_t n = (size_t)sprintf(out, head, added);
  for (unsigned byte = 0; byte < 256; byte++) {
    char name[8];
    name[bpe_put_byte(byte, name)] = '\0';
    n += (size_t)sprintf(out + n, ",\"%s\":%u", name, BPE_BYTE(byte));
  }
  return n + (size_t)sprintf(out + n, "%s},\"merges\":[%s]}}", vocab, merges);
}

#endif
