/* XXH3-128: Yann Collet, xxHash 0.8, "XXH3 algorithm"; the digits are its canonical, big-endian form. */
#include "weights/checksum.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "kernels/file.h"
#include "weights/container.h"
#include "weights/safetensors_format.h"
#include "weights/writer.h"

_Static_assert(sizeof CHECKSUM_ZERO == CHECKSUM_DIGITS + 1 && 2 * sizeof(XXH128_canonical_t) == CHECKSUM_DIGITS,
               "two digits a byte");

checksum *checksum_new(void) {
  checksum *sum = XXH3_createState();
  if (!sum) return fail_null(STATUS_MEMORY, "out of memory for a checksum");
  XXH3_128bits_reset(sum);
  return sum;
}

void checksum_free(checksum *sum) { XXH3_freeState(sum); }

void checksum_add(checksum *sum, const void *data, size_t bytes) {
  if (bytes) XXH3_128bits_update(sum, data, bytes);
}

void checksum_values(void *sum, const float *values, size_t n) { checksum_add(sum, values, n * sizeof *values); }

void checksum_text(const checksum *sum, char text[CHECKSUM_DIGITS + 1]) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, XXH3_128bits_digest(sum));
  for (size_t i = 0; i < sizeof bytes.digest; i++) snprintf(text + 2 * i, 3, "%02x", bytes.digest[i]);
}

/* Where in the file the digits of this entry stand. GGUF's values lie in the file; in safetensors, where they are
 * parsed out of JSON, the writer gives them a fixed place. */
static const uint8_t *find_digits(const checkpoint *c, const metadata_value *value) {
  const char begin[] = SAFETENSORS_BEGIN;
  const size_t length = sizeof begin - 1;
  if (value->type != METADATA_STRING || value->size != 8 + CHECKSUM_DIGITS) return NULL;
  const uint8_t *digits = value->bytes + 8;
  if (digits >= c->data && digits < c->data + c->size) return digits;
  if (c->size < 8 + length + CHECKSUM_DIGITS || memcmp(c->data + 8, begin, length)) return NULL;
  return c->data + 8 + length;
}

static void add_part(checksum *sum, const checkpoint *c, const uint8_t *from, size_t bytes) {
  enum { PIECE = 1 << 20 };
  for (size_t n; bytes; from += n, bytes -= n) {
    n = bytes < PIECE ? bytes : PIECE;
    checksum_add(sum, from, n);
    if (c->mapped) file_forget(from, n);
  }
}

status checkpoint_checksum_verify(const checkpoint *c, bool *has_checksum) {
  const checkpoint_entry *entry = checkpoint_metadata_find(c, WRITER_CHECKSUM);
  *has_checksum = entry != NULL;
  if (c->part_count) return STATUS_OK; /* each shard has its own */
  if (!entry && checkpoint_metadata_find(c, WRITER_FORMAT))
    return fail(STATUS_FORMAT, "it has " WRITER_FORMAT " but not the checksum that belongs to it: the file is damaged");
  if (!entry) return STATUS_OK;
  const uint8_t *digits = find_digits(c, &entry->value);
  if (!digits)
    return fail(STATUS_FORMAT, "its checksum is not where it was written: the file is damaged, or another program "
                               "changed it");
  checksum *sum = checksum_new();
  if (!sum) return last_status();
  char text[CHECKSUM_DIGITS + 1];
  add_part(sum, c, c->data, (size_t)(digits - c->data));
  checksum_add(sum, CHECKSUM_ZERO, CHECKSUM_DIGITS);
  add_part(sum, c, digits + CHECKSUM_DIGITS, (size_t)(c->data + c->size - digits) - CHECKSUM_DIGITS);
  checksum_text(sum, text);
  checksum_free(sum);
  return memcmp(text, digits, CHECKSUM_DIGITS)
             ? fail(STATUS_FORMAT, "its checksum does not match: the file is damaged, or another program changed it")
             : STATUS_OK;
}
