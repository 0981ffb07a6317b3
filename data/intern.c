/* A hash table from byte strings to consecutive ids. See intern.h. */
#include "data/intern.h"

#include <stdlib.h>
#include <string.h>

struct intern {
  char *bytes; /* all strings, one after the other */
  size_t n_bytes, bytes_room;
  size_t *start; /* [count + 1]: string i is bytes[start[i] .. start[i + 1]) */
  uint32_t count, start_room;
  uint32_t *slot; /* [n_slots], a power of two: an id or INTERN_NONE; at most half are taken */
  size_t n_slots;
};

intern *intern_new(void) {
  intern *table = mem_zero(1, sizeof *table);
  if (!table) return NULL;
  table->n_slots = 64;
  table->start_room = 32;
  table->slot = mem_alloc(table->n_slots, sizeof *table->slot);
  table->start = mem_zero(table->start_room + 1, sizeof *table->start);
  if (!table->slot || !table->start) return intern_free(table), NULL;
  memset(table->slot, 0xff, table->n_slots * sizeof *table->slot);
  return table;
}

void intern_free(intern *table) {
  if (!table) return;
  free(table->bytes);
  free(table->start);
  free(table->slot);
  free(table);
}

static uint64_t hash(const void *bytes, size_t n) { /* FNV-1a, its weak low bits mixed at the end */
  const uint8_t *p = bytes;
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

/* The slot that holds the bytes or would. */
static size_t find_slot(const intern *table, const void *bytes, size_t n) {
  size_t i = (size_t)hash(bytes, n) & (table->n_slots - 1);
  for (;; i = (i + 1) & (table->n_slots - 1)) {
    uint32_t id = table->slot[i];
    if (id == INTERN_NONE) return i;
    if (table->start[id + 1] - table->start[id] == n && (!n || !memcmp(table->bytes + table->start[id], bytes, n)))
      return i;
  }
}

static status grow_slots(intern *table) {
  size_t n_slots = table->n_slots * 2;
  uint32_t *slot = mem_alloc(n_slots, sizeof *slot);
  if (!slot) return STATUS_MEMORY;
  memset(slot, 0xff, n_slots * sizeof *slot);
  free(table->slot);
  table->slot = slot;
  table->n_slots = n_slots;
  for (uint32_t id = 0; id < table->count; id++) {
    size_t n, i;
    const char *bytes = intern_bytes(table, id, &n);
    for (i = (size_t)hash(bytes, n) & (n_slots - 1); slot[i] != INTERN_NONE; i = (i + 1) & (n_slots - 1)) {}
    slot[i] = id;
  }
  return STATUS_OK;
}

static status make_room(intern *table, size_t n) {
  size_t needed;
  if (!size_add(table->n_bytes, n, &needed)) return fail(STATUS_MEMORY, "cannot keep another string of %zu bytes", n);
  if (needed > table->bytes_room) {
    size_t room = needed < SIZE_MAX / 2 ? needed * 2 : needed;
    char *bytes = mem_grow(table->bytes, room, 1);
    if (!bytes) return STATUS_MEMORY;
    table->bytes = bytes;
    table->bytes_room = room;
  }
  if (table->count == table->start_room) {
    if (table->count > INTERN_NONE / 2 - 2)
      return fail(STATUS_MEMORY, "there are more than %u distinct strings", table->count);
    size_t *start = mem_grow(table->start, (size_t)table->start_room * 2 + 1, sizeof *start);
    if (!start) return STATUS_MEMORY;
    table->start = start;
    table->start_room *= 2;
  }
  return (size_t)table->count * 2 < table->n_slots ? STATUS_OK : grow_slots(table);
}

status intern_add(intern *table, const void *bytes, size_t n, uint32_t *id) {
  size_t slot = find_slot(table, bytes, n);
  if (table->slot[slot] == INTERN_NONE) {
    const size_t n_slots = table->n_slots;
    status code = make_room(table, n);
    if (code) return code;
    if (table->n_slots != n_slots) slot = find_slot(table, bytes, n);
    if (n) memcpy(table->bytes + table->n_bytes, bytes, n);
    table->n_bytes += n;
    table->slot[slot] = table->count++;
    table->start[table->count] = table->n_bytes;
  }
  *id = table->slot[slot];
  return STATUS_OK;
}

uint32_t intern_find(const intern *table, const void *bytes, size_t n) {
  return table->slot[find_slot(table, bytes, n)];
}
uint32_t intern_count(const intern *table) { return table->count; }

const char *intern_bytes(const intern *table, uint32_t id, size_t *n) {
  *n = table->start[id + 1] - table->start[id];
  return table->bytes ? table->bytes + table->start[id] : "";
}
