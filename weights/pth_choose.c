/* The dictionaries of tensors in a pickle's tree, and the usual one among them. See pth_choose.h. */
#include "weights/pth_choose.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernels/utf8.h"

#define PATH_MAX_BYTES 256
#define FOUND_MAX 1024      /* dictionaries that are looked at */
#define OPTIMIZERS_MAX 16   /* an optimizer's among them: some have one for each parameter */
#define VISIT_MAX (1 << 23) /* items that are looked at: dictionaries may be shared, and contain themselves */
#define CHOICES_BYTES 2048  /* of the text that lists them */

/* Ranks of keys: a place among the usual ones, or: no further key, or an unusual key. */
enum { RANK_END = 254, RANK_UNUSUAL = 255 };

typedef struct {
  const pickle_value *dict;
  char path[PATH_MAX_BYTES];
  uint8_t rank[CHOOSE_DEPTH];
  size_t tensors;
  bool optimizer;
} candidate;

typedef struct {
  candidate *found;
  size_t count, capacity, optimizers, visited;
  int least_dims; /* of a tensor that makes a dictionary count */
} walk;

/* What training programs call it: Lightning, mmengine, timm, DeepSpeed, RWKV's trainers, Point-MAE's, SRGAN's. */
static uint8_t key_rank(const pickle_value *key) {
  static const char *const usual[] = {"state_dict", "model_state_dict", "model",     "module",     "base_model",
                                      "checkpoint", "network",          "net",       "generator",  "params",
                                      "weights",    "model_ema",        "ema_model", "params_ema", "ema"};
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
    if (pickle_says(key, usual[i])) return (uint8_t)i;
  return RANK_UNUSUAL;
}

static bool of_optimizer(const pickle_value *key) {
  return (key->count >= 5 && !strncasecmp(key->text, "optim", 5)) || pickle_says(key, "opt");
}

static bool is_tensor(const pickle_value *v, int least_dims) {
  return v->kind == PICKLE_UNREAD || (v->kind == PICKLE_TENSOR && v->items[2]->count >= (size_t)least_dims);
}

static size_t count_tensors(walk *w, const pickle_value *dict) {
  size_t tensors = 0;
  for (size_t i = 0; i < dict->count && w->visited < VISIT_MAX; i += 2, w->visited++)
    tensors += dict->items[i]->kind == PICKLE_STRING && is_tensor(dict->items[i + 1], w->least_dims);
  return tensors;
}

static status add_found(walk *w, const candidate *c) {
  if (w->count == FOUND_MAX || (c->optimizer && w->optimizers++ >= OPTIMIZERS_MAX)) return STATUS_OK;
  candidate *found = mem_room(w->found, w->count, &w->capacity, sizeof *found);
  if (!found) return last_status();
  w->found = found;
  w->found[w->count++] = *c;
  return STATUS_OK;
}

/* A key that can stand in a path: it is shown, and typed. */
static bool speakable(const pickle_value *key) {
  if (key->kind != PICKLE_STRING || !key->count || !utf8_valid(key->text, key->count)) return false;
  for (size_t i = 0; i < key->count; i++)
    if ((unsigned char)key->text[i] < 0x20 || key->text[i] == 0x7f) return false;
  return true;
}

/* The place of a dictionary below another one; false if it has none that can be named. */
static bool below(const candidate *at, int depth, const pickle_value *key, candidate *inner) {
  const size_t used = depth ? strlen(at->path) : 0;
  if (!speakable(key) || key->count >= PATH_MAX_BYTES - 1 || used + 1 + key->count >= PATH_MAX_BYTES) return false;
  *inner = *at;
  char *end = inner->path + used;
  if (depth) *end++ = '.';
  memcpy(end, key->text, key->count);
  end[key->count] = 0;
  inner->rank[depth] = key_rank(key);
  inner->optimizer |= of_optimizer(key);
  return true;
}

static status search(walk *w, candidate *at, int depth) {
  const pickle_value *dict = at->dict;
  candidate inner;
  at->tensors = count_tensors(w, dict);
  if (at->tensors && add_found(w, at)) return last_status();
  for (size_t i = 0; depth < CHOOSE_DEPTH && i < dict->count && w->visited < VISIT_MAX; i += 2, w->visited++) {
    if (dict->items[i + 1]->kind != PICKLE_DICT || !below(at, depth, dict->items[i], &inner)) continue;
    inner.dict = dict->items[i + 1];
    if (search(w, &inner, depth + 1)) return last_status();
  }
  return STATUS_OK;
}

static bool usual(const candidate *c) { return !memchr(c->rank, RANK_UNUSUAL, sizeof c->rank); }

static size_t most_tensors(const walk *w) {
  size_t most = 0;
  for (size_t i = 0; i < w->count; i++)
    if (!w->found[i].optimizer && w->found[i].tensors > most) most = w->found[i].tensors;
  return most;
}

/* The one that is taken by default; NULL if there is none. Tensors at the root are other records (the state of a random
 * generator) if there are more of them elsewhere. */
static const candidate *pick(const walk *w) {
  const candidate *best = NULL, *other = NULL;
  const size_t most = most_tensors(w);
  size_t others = 0;
  for (size_t i = 0; i < w->count; i++) {
    const candidate *c = &w->found[i];
    if (c->optimizer || (c->rank[0] == RANK_END && c->tensors < most)) continue;
    if (usual(c) && (!best || memcmp(c->rank, best->rank, sizeof c->rank) < 0)) best = c;
    other = c;
    others++;
  }
  return best ? best : others == 1 ? other : NULL;
}

static const candidate *find_path(const walk *w, const char *path) {
  for (size_t i = 0; i < w->count; i++)
    if (!strcmp(w->found[i].path, path)) return &w->found[i];
  return NULL;
}

/* Adds a path to the list; nothing once it is full. */
static void list(char *text, size_t *used, const char *path) {
  const size_t length = strlen(path);
  if (*used + 2 + length + sizeof ", ..." > CHOICES_BYTES) return;
  if (*used) *used = (size_t)(stpcpy(text + *used, ", ") - text);
  *used = (size_t)(stpcpy(text + *used, path) - text);
}

/* The paths: the one taken, the others, an optimizer's. */
static char *list_all(const walk *w, const candidate *taken) {
  char *text = mem_zero(CHOICES_BYTES, 1);
  size_t used = 0;
  if (!text) return NULL;
  if (taken) list(text, &used, taken->path);
  for (int optimizer = 0; optimizer < 2; optimizer++)
    for (size_t i = 0; i < w->count; i++)
      if (&w->found[i] != taken && w->found[i].optimizer == (optimizer == 1)) list(text, &used, w->found[i].path);
  return text;
}

static status none_taken(const walk *w, const char *choice, const char *names) {
  if (!w->count) return fail(STATUS_UNSUPPORTED, "holds no dictionary of named tensors");
  if (choice) return fail(STATUS_ARGUMENT, "holds no dictionary of tensors named %.100s; there is: %s", choice, names);
  for (size_t i = 0; i < w->count; i++)
    if (!w->found[i].optimizer)
      return fail(STATUS_UNSUPPORTED, "none of its dictionaries of tensors has a usual name; name one of: %s", names);
  return fail(STATUS_UNSUPPORTED, "holds no dictionary of named tensors but an optimizer's: %s", names);
}

const pickle_value *pth_choose(const pickle_value *root, const char *choice, char **choices) {
  walk w = {.least_dims = 1};
  candidate top = {.dict = root, .path = ".", .rank = {RANK_END, RANK_END, RANK_END}};
  const pickle_value *dict = NULL;
  *choices = NULL;
  status s = root->kind == PICKLE_DICT ? search(&w, &top, 0) : STATUS_OK;
  if (!s && !w.count && root->kind == PICKLE_DICT) {
    w.least_dims = 0;
    w.visited = 0;
    s = search(&w, &top, 0);
  }
  const candidate *taken = choice ? find_path(&w, choice) : pick(&w);
  if (!s && (*choices = list_all(&w, taken))) {
    if (taken)
      dict = taken->dict;
    else
      none_taken(&w, choice, *choices);
  }
  if (!dict) {
    free(*choices);
    *choices = NULL;
  }
  free(w.found);
  return dict;
}
