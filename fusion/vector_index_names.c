/* Which row has a name: a hash table with open addressing, linear probing, of XXH3-64. */
#include <stdlib.h>
#include <string.h>

#include "fusion/vector_index_layout.h"

static name_slot *find(const name_table *t, const index_view *v, const char *path, uint64_t hash) {
  index_record r;
  for (size_t i = (size_t)hash;; i++) {
    name_slot *slot = t->slots + (i & (t->capacity - 1));
    const bool taken = slot->row != 0;
    if (!taken || (slot->hash == hash && !view_record(v, slot->row - 1, &r) && !strcmp(r.path, path))) {
      slot->hash = hash;
      return slot;
    }
  }
}

name_slot *names_find(const name_table *t, const index_view *v, const char *path) {
  return find(t, v, path, layout_sum(path, strlen(path)));
}

status names_room(name_table *t, size_t names) {
  size_t capacity = t->capacity ? t->capacity : 64;
  while (capacity - capacity / 4 < names)
    if (!size_mul(capacity, 2, &capacity)) return fail(STATUS_MEMORY, "cannot keep %zu names", names);
  if (capacity == t->capacity) return STATUS_OK;
  name_table larger = {.slots = mem_zero(capacity, sizeof *t->slots), .used = t->used, .capacity = capacity};
  if (!larger.slots) return last_status();
  for (size_t i = 0; i < t->capacity; i++) {
    if (!t->slots[i].row) continue;
    size_t at = (size_t)t->slots[i].hash;
    while (larger.slots[at & (capacity - 1)].row) at++;
    larger.slots[at & (capacity - 1)] = t->slots[i];
  }
  free(t->slots);
  *t = larger;
  return STATUS_OK;
}

status names_open(name_table *t, const index_view *v) {
  index_record r;
  status s = names_room(t, v->live + 1);
  for (uint64_t row = 0; !s && row < v->rows; view_forget(v, row++)) {
    if (view_deleted(v, row) || (s = view_record(v, row, &r))) continue;
    name_slot *slot = names_find(t, v, r.path);
    t->used += !slot->row;
    slot->row = row + 1;
  }
  return s;
}

void names_close(name_table *t) {
  free(t->slots);
  *t = (name_table){0};
}
