#include "weights/identify.h"

#include <string.h>

#include "weights/identify_table.h"

/* --- evidence ----------------------------------------------------------------------------------------------------- */

static int present(const name_index *names, const char *root, const char *const *list, int *given) {
  int n = 0, found = 0;
  for (; n < MOST_EVIDENCE && list[n]; n++) found += name_find(names, root, list[n]) != NULL;
  *given = n;
  return found;
}

static bool fits(const signature *s, const name_index *names, const char *root) {
  int given;
  if (present(names, root, s->all, &given) < given) return false;
  if (!present(names, root, s->any, &given) && given) return false;
  if (present(names, root, s->none, &given)) return false;
  return !s->fits || s->fits(names, root);
}

static const signature *recognise_names(const name_index *names, const char **root) {
  static const signature *const lists[] = {identity_fusion, identity_vision, identity_lm};
  for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
    for (const signature *s = lists[k]; s->system; s++)
      for (int i = 0; i < MOST_ROOTS && (i == 0 || s->roots[i]); i++) {
        *root = s->roots[i] ? s->roots[i] : "";
        if (fits(s, names, *root)) return s;
      }
  return NULL;
}

/* --- sizes -------------------------------------------------------------------------------------------------------- */

static const identity_size *find_size(const identity *id, const char *part, const char *name) {
  for (int i = 0; i < id->n_sizes; i++)
    if (!strcmp(id->size[i].part, part) && !strcmp(id->size[i].name, name)) return &id->size[i];
  return NULL;
}

int64_t identity_value(const identity *id, const char *part, const char *name) {
  const identity_size *s = find_size(id, part, name);
  return s ? s->value : 0;
}

/* All values met here are in 1..2^31-1, so that no product of two overflows. */
static bool in_range(int64_t value) { return value >= 1 && value <= INT32_MAX; }

/* The number whose square is n, 0 if there is none. */
static int64_t side(int64_t n) {
  int64_t low = 1, high = 1 << 16;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (middle * middle < n)
      low = middle + 1;
    else
      high = middle;
  }
  return low * low == n ? low : 0;
}

static int64_t metadata_number(const checkpoint *file, const char *key) {
  const char *text = checkpoint_metadata(file, key);
  const size_t digits = text ? strspn(text, "0123456789") : 0;
  if (!digits || digits > 9 || text[digits]) return 0;
  int64_t value = 0;
  for (size_t i = 0; i < digits; i++) value = 10 * value + (text[i] - '0');
  return value;
}

/* What a rule reads before it calculates; 0 if it is not there. */
static int64_t source(const size_rule *r, const checkpoint *file, const name_index *names, const char *root) {
  switch (r->source) {
  case SIZE_DIM:
  case SIZE_SIDE:
    return name_dim(names, root, r->name, r->axis);
  case SIZE_COUNT:
    return name_count(names, root, r->name);
  case SIZE_METADATA:
    return metadata_number(file, r->name);
  case SIZE_HAS:
    break; /* no number: add_sizes */
  }
  return 0;
}

/* false if the file does not tell. */
static bool evaluate(const size_rule *r, const identity *id, const char *part, int64_t x, int64_t *value) {
  if (!in_range(x)) return false;
  x = x * (r->times ? r->times : 1) + r->plus;
  if (r->source == SIZE_SIDE) x = in_range(x) ? side(x) : 0;
  const int64_t by = r->by ? identity_value(id, part, r->by) : 1, over = r->over ? r->over : 1;
  const int64_t per = r->per ? identity_value(id, part, r->per) : 1;
  if (!in_range(x) || !in_range(by) || !in_range(per) || x * by % (over * per)) return false;
  *value = x * by / (over * per);
  return in_range(*value);
}

static void add_sizes(identity *id, const identity_part *part, const checkpoint *file, const name_index *names) {
  char root[64] = ""; /* roots are short constants */
  if (part->root[0] != '/') strcpy(root, id->root);
  strcat(root, part->root + (part->root[0] == '/'));
  for (const size_rule *r = part->sizes; r->size && id->n_sizes < IDENTITY_SIZES; r++) {
    int64_t value;
    if (find_size(id, part->name, r->size)) continue;
    if (r->source == SIZE_HAS)
      value = name_find(names, root, r->name) != NULL;
    else if (!evaluate(r, id, part->name, source(r, file, names, root), &value))
      continue;
    id->size[id->n_sizes++] = (identity_size){part->name, r->size, value};
  }
}

/* --- both --------------------------------------------------------------------------------------------------------- */

bool identify(const checkpoint *file, identity *out) {
  name_index names;
  *out = (identity){0};
  if (name_index_build(&names, file)) return false;
  const char *root;
  const signature *s = recognise_names(&names, &root);
  if (s) {
    *out = (identity){s->system, s->version, s->title, s->why, s->refusal, root, 0, {{0}}};
    for (int i = 0; i < MOST_PARTS_OF_SYSTEM && s->parts[i].sizes; i++) add_sizes(out, &s->parts[i], file, &names);
  } else {
    const checkpoint_tensor *first = checkpoint_at(file, 0);
    fail(STATUS_UNSUPPORTED, "%s: holds %zu tensors%s%s, which are of no system known here", checkpoint_path(file),
         checkpoint_count(file), first ? ", the first called " : "", first ? first->name : "");
  }
  name_index_free(&names);
  return s;
}
