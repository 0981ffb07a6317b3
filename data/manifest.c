/* The committed tables of the object pictures: data/kinds.tsv and data/objects.tsv (data/split.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "data/split.h"

enum { KIND_COLUMNS = 4, MANIFEST_COLUMNS = 9, MAX_KINDS = 100000, MAX_PICTURES = 1000000 };

/* ---- kinds ---- */

static status parse_kinds(kind_table *kinds, const char *path) {
  if (kinds->table->rows < 1 || kinds->table->rows > MAX_KINDS) {
    return fail(STATUS_FORMAT, "%s: expected 1 to %d kinds, found %zu", path, MAX_KINDS, kinds->table->rows);
  }
  kinds->kind = mem_alloc(kinds->table->rows, sizeof *kinds->kind);
  if (kinds->kind == NULL) return last_status();
  for (size_t r = 0; r < kinds->table->rows; r++) {
    const char *held_out = tsv_field(kinds->table, r, 3);
    object_kind *kind = &kinds->kind[r];
    *kind = (object_kind){tsv_field(kinds->table, r, 0), tsv_field(kinds->table, r, 1), tsv_field(kinds->table, r, 2),
                          strcmp(held_out, "1") == 0};
    if (strcmp(kind->article, "a") != 0 && strcmp(kind->article, "an") != 0) {
      return fail(STATUS_FORMAT, "%s, line %u: the article must be a or an, not '%s'", path, kinds->table->line[r],
                  kind->article);
    }
    if (!kind->held_out && strcmp(held_out, "0") != 0) {
      return fail(STATUS_FORMAT, "%s, line %u: held out must be 0 or 1, not '%s'", path, kinds->table->line[r],
                  held_out);
    }
    if (r > 0 && strcmp(kinds->kind[r - 1].singular, kind->singular) >= 0) {
      return fail(STATUS_FORMAT, "%s, line %u: '%s' is not in the order of the table, or twice in it", path,
                  kinds->table->line[r], kind->singular);
    }
    kinds->n++;
  }
  return STATUS_OK;
}

kind_table *kind_table_read(const char *path) {
  kind_table *kinds = mem_zero(1, sizeof *kinds);
  if (kinds == NULL) return NULL;
  kinds->table = tsv_read(path, KIND_COLUMNS);
  if (kinds->table == NULL || parse_kinds(kinds, path) != STATUS_OK) {
    kind_table_free(kinds);
    return NULL;
  }
  return kinds;
}

void kind_table_free(kind_table *kinds) {
  if (kinds == NULL) return;
  tsv_free(kinds->table);
  free(kinds->kind);
  free(kinds);
}

static int compare_singular(const void *key, const void *kind) {
  return strcmp(key, ((const object_kind *)kind)->singular);
}

uint32_t kind_table_find(const kind_table *kinds, const char *singular) {
  const object_kind *found = bsearch(singular, kinds->kind, kinds->n, sizeof *kinds->kind, compare_singular);
  return found != NULL ? (uint32_t)(found - kinds->kind) : UINT32_MAX;
}

/* ---- the manifest ---- */

static bool parse_number(const char *text, int base, uint64_t most, uint64_t *value) {
  char *end;
  if (*text == 0 || strchr("0123456789abcdef", *text) == NULL) return false;
  *value = strtoull(text, &end, base);
  return *end == 0 && *value <= most;
}

/* "128x97" */
static bool parse_size(char *text, manifest_entry *e) {
  uint64_t width, height;
  char *x = strchr(text, 'x');
  if (x == NULL) return false;
  *x = 0;
  if (!parse_number(text, 10, UINT16_MAX, &width) || !parse_number(x + 1, 10, UINT16_MAX, &height)) return false;
  e->width = (uint16_t)width;
  e->height = (uint16_t)height;
  return width > 0 && height > 0;
}

/* 32 hexadecimal digits */
static bool parse_look(const char *text, look_hash *look) {
  char half[17] = {0};
  if (strlen(text) != 32) return false;
  memcpy(half, text, 16);
  return parse_number(half, 16, UINT64_MAX, &look->rows) && parse_number(text + 16, 16, UINT64_MAX, &look->columns);
}

static bool parse_word(const char *text, const char *const *words, int n, uint8_t *value) {
  for (int i = 0; i < n; i++) {
    if (strcmp(text, words[i]) == 0) {
      *value = (uint8_t)i;
      return true;
    }
  }
  return false;
}

/* Which column of a manifest row makes no sense; NULL if all do. Columns: see manifest_write. */
static const char *parse_entry(char **field, const kind_table *kinds, manifest_entry *e) {
  const char *colours[COLOURS];
  for (int c = 0; c < COLOURS; c++) colours[c] = c == COLOUR_NONE ? "-" : colour_name((colour)c);
  uint64_t group;
  e->name = field[0];
  e->kind = kind_table_find(kinds, field[1]);
  e->author = field[2];
  if (*e->name == 0) return "name";
  if (e->kind == UINT32_MAX) return "kind";
  if (*e->author == 0) return "author";
  if (!parse_word(field[3], split_name, SPLITS, &e->split)) return "split";
  if (!parse_word(field[4], colours, COLOURS, &e->colour)) return "colour";
  if (!parse_size(field[5], e)) return "size";
  if (!parse_number(field[6], 16, UINT64_MAX, &e->content)) return "content hash";
  if (!parse_look(field[7], &e->look)) return "near-duplicate hash";
  if (!parse_number(field[8], 10, UINT32_MAX, &group)) return "group";
  e->group = (uint32_t)group;
  return NULL;
}

static status parse_manifest(manifest *m, const kind_table *kinds, const char *path) {
  if (m->table->rows < 1 || m->table->rows > MAX_PICTURES) {
    return fail(STATUS_FORMAT, "%s: expected 1 to %d pictures, found %zu", path, MAX_PICTURES, m->table->rows);
  }
  m->entry = mem_alloc(m->table->rows, sizeof *m->entry);
  if (m->entry == NULL) return last_status();
  for (size_t r = 0; r < m->table->rows; r++) {
    const char *wrong = parse_entry(m->table->field + r * MANIFEST_COLUMNS, kinds, &m->entry[r]);
    if (wrong != NULL) return fail(STATUS_FORMAT, "%s, line %u: the %s makes no sense", path, m->table->line[r], wrong);
  }
  m->n = (uint32_t)m->table->rows;
  return STATUS_OK;
}

manifest *manifest_read(const char *path, const kind_table *kinds) {
  manifest *m = mem_zero(1, sizeof *m);
  if (m == NULL) return NULL;
  m->table = tsv_read(path, MANIFEST_COLUMNS);
  if (m->table == NULL || parse_manifest(m, kinds, path) != STATUS_OK) {
    manifest_free(m);
    return NULL;
  }
  return m;
}

void manifest_free(manifest *m) {
  if (m == NULL) return;
  tsv_free(m->table);
  free(m->entry);
  free(m);
}

status manifest_write(FILE *to, const manifest_entry *entry, uint32_t n, const kind_table *kinds) {
  fprintf(to, "# name\tkind\tauthor\tsplit\tcolour\tsize\tcontent hash\tnear-duplicate hash\tgroup\n");
  for (uint32_t i = 0; i < n; i++) {
    const manifest_entry *e = &entry[i];
    const char *word = e->colour == COLOUR_NONE ? "-" : colour_name((colour)e->colour);
    fprintf(to, "%s\t%s\t%s\t%s\t%s\t%ux%u\t%016" PRIx64 "\t%016" PRIx64 "%016" PRIx64 "\t%u\n", e->name,
            kinds->kind[e->kind].singular, e->author, split_name[e->split], word, e->width, e->height, e->content,
            e->look.rows, e->look.columns, e->group);
  }
  return ferror(to) ? fail(STATUS_IO, "cannot write the manifest") : STATUS_OK;
}
