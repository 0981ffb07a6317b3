/* Decoding of ggml's block types: spec ecosystem 3.2. Encoding is in quant_encode.c. */
#include "kernels/quant.h"

#include <string.h>
#include <strings.h>

#include "kernels/bytes.h"
#include "kernels/half.h"
#include "kernels/quant_layout.h"

const char *quant_name(quant_type type) { return quant_layouts[type].name; }
size_t quant_block(quant_type type) { return (size_t)quant_layouts[type].block; }
size_t quant_bytes(quant_type type) { return (size_t)quant_layouts[type].bytes; }
bool quant_fits(quant_type type, size_t row) { return row > 0 && row % quant_block(type) == 0; }

bool quant_parse(const char *word, quant_type *type) {
  for (int i = 0; i < QUANT_TYPES; i++) {
    if (strcasecmp(word, quant_layouts[i].name) != 0) continue;
    *type = (quant_type)i;
    return true;
  }
  return false;
}

/* The 12 bytes of Q4_K and Q5_K: eight 6-bit scales s and minima m. Byte j < 4: s[j], above it the upper two bits of
 * s[j+4]; byte j + 4: m[j] and those of m[j+4]; byte j + 8: the lower nibbles of s[j+4] and m[j+4]. */
static void pack_six_bits(const int8_t *s, const int8_t *m, uint8_t *p) {
  for (int j = 0; j < 4; j++) {
    p[j] = (uint8_t)(s[j] | s[j + 4] >> 4 << 6);
    p[j + 4] = (uint8_t)(m[j] | m[j + 4] >> 4 << 6);
    p[j + 8] = (uint8_t)((s[j + 4] & 15) | (m[j + 4] & 15) << 4);
  }
}

static void unpack_six_bits(const uint8_t *p, int8_t *s, int8_t *m) {
  for (int j = 0; j < 4; j++) {
    s[j] = (int8_t)(p[j] & 63);
    m[j] = (int8_t)(p[j + 4] & 63);
    s[j + 4] = (int8_t)((p[j + 8] & 15) | p[j] >> 6 << 4);
    m[j + 4] = (int8_t)(p[j + 8] >> 4 | p[j + 4] >> 6 << 4);
  }
}

/* Bits above the fourth. Blocks of 32: bit i of a little-endian 32-bit number is of value i. Blocks of 256: byte i of
 * 32 holds, from its lowest bit on, those of values i, i + 32, i + 64, ...; Q6_K has two bits a value, and so 32 bytes
 * for each half of the block. */
static void pack_high(const quant_layout *t, const uint8_t *q, uint8_t *p) {
  const int bits = t->bits - 4, values = 8 / bits; /* values in a byte */
  if (t->block == 32) {
    uint32_t word = 0;
    for (int i = 0; i < 32; i++) word |= (uint32_t)(q[i] >> 4) << i;
    put_little(p, word, 4);
    return;
  }
  memset(p, 0, (size_t)(t->block / values));
  for (int from = 0; from < t->block; from += 32 * values, p += 32)
    for (int v = 0; v < values; v++)
      for (int i = 0; i < 32; i++) p[i] |= (uint8_t)(q[from + 32 * v + i] >> 4 << bits * v);
}

static void unpack_high(const quant_layout *t, const uint8_t *p, uint8_t *q) {
  const int bits = t->bits - 4, values = 8 / bits, mask = (1 << bits) - 1;
  if (t->block == 32) {
    const uint32_t word = little32(p);
    for (int i = 0; i < 32; i++) q[i] |= (uint8_t)((word >> i & 1) << 4);
    return;
  }
  for (int from = 0; from < t->block; from += 32 * values, p += 32)
    for (int v = 0; v < values; v++)
      for (int i = 0; i < 32; i++) q[from + 32 * v + i] |= (uint8_t)((p[i] >> bits * v & mask) << 4);
}

void quant_pack(const quant_layout *t, const quant_fields *fields, uint8_t *block) {
  put_little(block + t->d, fields->d, 2);
  if (t->m) put_little(block + t->m, fields->m, 2);
  if (t->scales && t->m)
    pack_six_bits(fields->scale, fields->min, block + t->scales);
  else if (t->scales)
    memcpy(block + t->scales, fields->scale, sizeof fields->scale);
  const uint8_t *q = fields->q;
  uint8_t *low = block + t->low;
  if (t->bits == 8) {
    memcpy(low, q, (size_t)t->block);
    return;
  }
  for (int from = 0; from < t->block; from += 2 * t->span, low += t->span)
    for (int i = 0; i < t->span; i++) low[i] = (uint8_t)((q[from + i] & 15) | q[from + t->span + i] << 4);
  if (t->high) pack_high(t, q, block + t->high);
}

static void unpack(const quant_layout *t, const uint8_t *block, quant_fields *fields) {
  fields->d = (uint16_t)little16(block + t->d);
  if (t->m) fields->m = (uint16_t)little16(block + t->m);
  if (t->scales && t->m)
    unpack_six_bits(block + t->scales, fields->scale, fields->min);
  else if (t->scales)
    memcpy(fields->scale, block + t->scales, sizeof fields->scale);
  uint8_t *q = fields->q;
  const uint8_t *low = block + t->low;
  if (t->bits == 8) {
    memcpy(q, low, (size_t)t->block);
    return;
  }
  for (int from = 0; from < t->block; from += 2 * t->span, low += t->span)
    for (int i = 0; i < t->span; i++) q[from + i] = low[i] & 15, q[from + t->span + i] = low[i] >> 4;
  if (t->high) unpack_high(t, block + t->high, q);
}

/* The order of the products is ggml's, (d * scale) * q, and so is the rounding. */
static void decode_block(const quant_layout *t, const uint8_t *block, float *restrict out) {
  quant_fields fields;
  unpack(t, block, &fields);
  const float d = f16_to_f32(fields.d), m = t->m ? f16_to_f32(fields.m) : 0.0f;
  for (int g = 0; g * t->group < t->block; g++) {
    const uint8_t *q = fields.q + g * t->group;
    const float step = t->scales ? d * (float)fields.scale[g] : d;
    if (t->m) {
      const float min = t->scales ? -(m * (float)fields.min[g]) : m;
      for (int i = 0; i < t->group; i++) out[i] = step * (float)q[i] + min;
    } else if (t->bits == 8) {
      for (int i = 0; i < t->group; i++) out[i] = step * (float)(int8_t)q[i];
    } else {
      for (int i = 0; i < t->group; i++) out[i] = step * (float)(q[i] - t->zero);
    }
    out += t->group;
  }
}

/* The other fields are integers, whose products with these stay far within f32. */
bool quant_finite(quant_type type, const void *blocks, size_t count) {
  const quant_layout *t = &quant_layouts[type];
  const uint32_t exponent = 0x7c00;
  const int m = t->m ? t->m : t->d;
  const uint8_t *block = blocks;
  size_t found = 0;
  for (size_t i = 0; i < count; i++, block += t->bytes)
    found += (little16(block + t->d) & exponent) == exponent || (little16(block + m) & exponent) == exponent;
  return found == 0;
}

void quant_decode(quant_type type, const void *blocks, size_t n, float *out) {
  const quant_layout *t = &quant_layouts[type];
  const uint8_t *block = blocks;
  for (size_t i = 0; i < n; i += (size_t)t->block, block += t->bytes) decode_block(t, block, out + i);
}
