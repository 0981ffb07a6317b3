#include "data/tally.h"

#include <stdlib.h>
#include <string.h>

status tally_new(tally *t) {
  *t = (tally){.words = intern_new()};
  return t->words ? STATUS_OK : STATUS_MEMORY;
}

void tally_free(tally *t) {
  intern_free(t->words);
  free(t->count);
  *t = (tally){0};
}

status tally_add(tally *t, const void *bytes, size_t n) {
  uint32_t id;
  status s = intern_add(t->words, bytes, n, &id);
  if (s) return s;
  if (id >= t->room) {
    size_t room = t->room ? t->room * 2 : 256;
    uint64_t *count = mem_grow(t->count, room, sizeof *count);
    if (!count) return STATUS_MEMORY;
    memset(count + t->room, 0, (room - t->room) * sizeof *count);
    t->count = count;
    t->room = room;
  }
  t->count[id]++;
  return STATUS_OK;
}
