/* Bytes as printable characters. See byte_map.h. */
#include "data/byte_map.h"

#include "kernels/utf8.h"

byte_map byte_map_make(void) {
  byte_map map;
  uint16_t next = 256;
  for (int i = 0; i < BYTE_MAP_CODES; i++) map.byte[i] = -1;
  for (int byte = 0; byte < 256; byte++) {
    bool visible = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    map.code[byte] = visible ? (uint16_t)byte : next++;
    map.byte[map.code[byte]] = (int16_t)byte;
  }
  return map;
}

bool byte_map_read(const byte_map *map, const char *text, size_t n, char *out, size_t *size) {
  *size = 0;
  for (size_t at = 0; at < n;) {
    uint32_t code;
    int length = utf8_next(text + at, n - at, &code);
    if (length <= 0 || code >= BYTE_MAP_CODES || map->byte[code] < 0) return false;
    out[(*size)++] = (char)map->byte[code];
    at += (size_t)length;
  }
  return true;
}

size_t byte_map_write(const byte_map *map, const char *bytes, size_t n, char *out) {
  size_t size = 0;
  for (size_t i = 0; i < n; i++) size += (size_t)utf8_put(map->code[(uint8_t)bytes[i]], out + size);
  return size;
}
