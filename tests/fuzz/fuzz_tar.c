/* Fuzz target: tar archives. Members lie within the bytes, and what is refused is refused with a sentence. */
#include <assert.h>
#include <string.h>

#include "data/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

typedef struct {
  size_t n, at; /* of the archive; where the last member ended */
} seen;

static status look(void *user, const char *name, size_t offset, size_t size) {
  seen *s = user;
  assert(strlen(name) < TAR_NAME && offset >= s->at && offset <= s->n && size <= s->n - offset);
  s->at = offset + size;
  return STATUS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  seen s = {n, 0};
  if (tar_members("fuzz", bytes, n, look, &s)) assert(*last_error());
  return 0;
}
