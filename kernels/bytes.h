/* Little-endian numbers at any alignment, as file formats hold them. */
#ifndef LINNET_KERNELS_BYTES_H
#define LINNET_KERNELS_BYTES_H

#include <stdint.h>

static inline uint32_t little16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t little32(const uint8_t *p) { return little16(p) | little16(p + 2) << 16; }
static inline uint64_t little64(const uint8_t *p) { return little32(p) | (uint64_t)little32(p + 4) << 32; }

/* Writes the lowest `bytes` (1 to 8) bytes of a number. */
static inline void put_little(uint8_t *p, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(value >> 8 * i);
}

#endif
