/* Opening a case, comparing, reporting. */
#include "tests/golden/runner.h"

#include <dirent.h>
#include <fnmatch.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/golden.h"

enum { TEXT = 512, FILES = 16 };

typedef enum { UNTOUCHED, USED, PASSED, FAILED } outcome;

/* One reference tensor and what became of it. */
typedef struct {
  char *key;
  const golden *file;
  const char *name;
  const golden_rule *rule;
  outcome outcome;
  double error, allowed; /* of the worst offer, where it is worst */
  const char *fault;     /* if it failed otherwise */
} reference;

struct golden_case {
  const char *folder;
  ctx *c;
  golden *file[FILES];
  size_t n_files;
  reference *item;
  size_t n, capacity;
  golden_score score;
  bool refused;
  char path[4096];
};

ctx *golden_ctx(golden_case *k) { return k->c; }

const char *golden_path(golden_case *k, const char *name) {
  snprintf(k->path, sizeof k->path, "%s/%s", k->folder, name);
  return k->path;
}

bool golden_has_file(golden_case *k, const char *name) { return !access(golden_path(k, name), R_OK); }

double golden_note(golden_case *k, const char *word, double otherwise) {
  FILE *f = fopen(golden_path(k, "README.md"), "r");
  char line[4096];
  double found = -INFINITY;
  while (f && fgets(line, sizeof line, f))
    for (char *at = line; (at = strstr(at, word));) {
      char *end;
      at += strlen(word);
      double value = strtod(at, &end);
      if (end != at && value > found) found = value;
    }
  if (f) fclose(f);
  return isfinite(found) ? found : otherwise;
}

bool golden_mentions(golden_case *k, const char *word) {
  FILE *f = fopen(golden_path(k, "README.md"), "r");
  char line[4096];
  bool found = strstr(k->folder, word) != NULL;
  while (f && !found && fgets(line, sizeof line, f)) found = strstr(line, word) != NULL;
  if (f) fclose(f);
  return found;
}

/* --- notes -------------------------------------------------------------------------------------------------------- */

static void note(size_t *count, const char *word, const char *format, va_list list) {
  ++*count;
  printf("  %-5s ", word);
  vprintf(format, list);
  putchar('\n');
}

void golden_check(golden_case *k, bool passed, const char *what, ...) {
  va_list list;
  va_start(list, what);
  note(passed ? &k->score.passed : &k->score.failed, passed ? "pass" : "FAIL", what, list);
  va_end(list);
}

void golden_skip(golden_case *k, const char *what, ...) {
  va_list list;
  va_start(list, what);
  note(&k->score.skipped, "skip", what, list);
  va_end(list);
}

void golden_refuse(golden_case *k, const char *why) {
  golden_check(k, false, "%s", why);
  k->refused = true;
}

void golden_error(golden_case *k) { golden_check(k, false, "%s", last_error()); }

/* --- what is given ------------------------------------------------------------------------------------------------ */

static reference *find(const golden_case *k, const char *key) {
  for (size_t i = 0; i < k->n; i++)
    if (!strcmp(k->item[i].key, key)) return &k->item[i];
  return NULL;
}

bool golden_has(const golden_case *k, const char *key) { return find(k, key) != NULL; }
const char *golden_key(const golden_case *k, size_t index) { return index < k->n ? k->item[index].key : NULL; }

static const void *given(golden_case *k, const char *key, const char *type, golden_shape *shape) {
  reference *r = find(k, key);
  if (!r) {
    golden_check(k, false, "%s: the case has no such tensor", key);
    return NULL;
  }
  const void *data = golden_get(r->file, r->name, type, NULL, NULL);
  if (!data || !golden_shape_of(k, key, shape)) {
    golden_check(k, false, "%s: %s", key, last_error());
    return NULL;
  }
  if (r->outcome == UNTOUCHED && r->rule && r->rule->how == GIVEN) r->outcome = USED;
  return data;
}

const float *golden_floats(golden_case *k, const char *key, golden_shape *shape) {
  golden_shape own;
  return given(k, key, "F32", shape ? shape : &own);
}

const uint8_t *golden_bytes(golden_case *k, const char *key, golden_shape *shape) { return given(k, key, "U8", shape); }

bool golden_shape_of(golden_case *k, const char *key, golden_shape *shape) {
  const reference *r = find(k, key);
  if (!r || !golden_get(r->file, r->name, NULL, &shape->n_dims, shape->dim)) return false;
  shape->key = r->key;
  shape->n = 1;
  for (int i = 0; i < shape->n_dims; i++) shape->n *= (size_t)shape->dim[i];
  return true;
}

tensor *golden_tensor(golden_case *k, const char *key) {
  golden_shape s;
  const float *data = given(k, key, "F32", &s);
  if (!data || s.n_dims > TENSOR_DIMS) return NULL;
  return tensor_wrap(k->c, DTYPE_F32, (void *)data, s.n_dims, s.dim);
}

tensor *golden_ids(golden_case *k, const char *key) {
  golden_shape s;
  const int64_t *data = given(k, key, "I64", &s);
  tensor *t = data && s.n_dims <= TENSOR_DIMS ? tensor_new(k->c, DTYPE_I32, s.n_dims, s.dim) : NULL;
  for (size_t i = 0; t && i < s.n; i++) i32(t)[i] = (int32_t)data[i];
  return t;
}

checkpoint *golden_folder_model(const char *folder) {
  static const char *const usual[] = {"model.safetensors", "model.gguf", "model.pth"};
  char path[4096];
  for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, usual[i]);
    if (!access(path, R_OK)) break;
  }
  return checkpoint_open(path);
}

checkpoint *golden_model(golden_case *k, const char *name) {
  checkpoint *file = name ? checkpoint_open(golden_path(k, name)) : golden_folder_model(k->folder);
  if (!file) golden_error(k);
  return file;
}

/* The tensor's whole name; NULL if there is none. */
static const char *ends_so(const checkpoint *file, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const char *whole = checkpoint_at(file, i)->name;
    size_t length = strlen(whole);
    if (length >= n && !strcmp(whole + length - n, name) && (length == n || whole[length - n - 1] == '.')) return whole;
  }
  return NULL;
}

bool golden_holds(const checkpoint *file, const char *name) { return ends_so(file, name) != NULL; }

const char *golden_prefix(golden_case *k, const checkpoint *file, const char *name) {
  const char *whole = ends_so(file, name);
  if (!whole) {
    golden_check(k, false, "%s: no tensor is called %s", checkpoint_path(file), name);
    return NULL;
  }
  size_t n = strlen(whole) - strlen(name);
  char *prefix = arena_alloc(k->c->memory, n + 1);
  if (!prefix) return NULL;
  memcpy(prefix, whole, n);
  prefix[n] = 0;
  return prefix;
}

bool golden_load(golden_case *k, param_set *set, const checkpoint *file) {
  status s = params_check(set, file);
  if (!s) s = params_allocate(set);
  if (!s) s = params_load(set, file, false, NULL);
  if (s) golden_error(k);
  return !s;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

/* The reference's values as doubles; NULL for a type that no case has. */
static double *widened(const reference *r, size_t *n) {
  int n_dims;
  int64_t dim[8];
  const char *type = golden_dtype(r->file, r->name);
  const void *data = golden_get(r->file, r->name, NULL, &n_dims, dim);
  *n = 1;
  for (int i = 0; i < n_dims; i++) *n *= (size_t)dim[i];
  double *out = mem_alloc(*n, sizeof *out);
  for (size_t i = 0; out && i < *n; i++)
    if (!strcmp(type, "F32"))
      out[i] = (double)((const float *)data)[i];
    else if (!strcmp(type, "F64"))
      out[i] = ((const double *)data)[i];
    else if (!strcmp(type, "I64"))
      out[i] = (double)((const int64_t *)data)[i];
    else if (!strcmp(type, "I32"))
      out[i] = ((const int32_t *)data)[i];
    else if (!strcmp(type, "U8"))
      out[i] = ((const uint8_t *)data)[i];
    else {
      free(out);
      return NULL;
    }
  return out;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double length_of(const double *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
  return sqrt(sum);
}

static double correlation(const double *x, const double *y, size_t n) {
  double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < n; i++) mx += x[i] / (double)n, my += y[i] / (double)n;
  for (size_t i = 0; i < n; i++) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xy / sqrt(xx * yy);
}

/* Notes an error against what is allowed, if it is the worst so far. */
static void weigh(reference *r, double error, double allowed) {
  bool over = !(error <= allowed);
  bool worse =
      r->outcome == UNTOUCHED || !(error <= r->error * (allowed > 0 && r->allowed > 0 ? allowed / r->allowed : 1));
  if (worse || (over && r->outcome == PASSED)) {
    r->error = error;
    r->allowed = allowed;
  }
  if (over)
    r->outcome = FAILED;
  else if (r->outcome == UNTOUCHED)
    r->outcome = PASSED;
}

static void compare(reference *r, const double *got, const double *want, size_t n) {
  const double a = r->rule->a, b = r->rule->b;
  double *error = mem_alloc(n, sizeof *error), largest = 0;
  if (!error) {
    r->outcome = FAILED, r->fault = last_error();
    return;
  }
  for (size_t i = 0; i < n; i++) {
    error[i] = fabs(got[i] - want[i]);
    if (got[i] == want[i]) error[i] = 0; /* infinities too */
    if (isnan(error[i])) error[i] = INFINITY;
    if (fabs(want[i]) > largest) largest = fabs(want[i]);
  }
  switch (r->rule->how) {
  case CLOSE:
    for (size_t i = 0; i < n; i++) weigh(r, error[i], a + b * fabs(want[i]));
    break;
  case ALIKE:
    weigh(r, 1 - correlation(got, want, n), 1 - b);
    for (size_t i = 0; i < n; i++) weigh(r, error[i], a);
    break;
  case NEAR:
    for (size_t i = 0; i < n; i++) weigh(r, error[i], a * largest + b);
    break;
  case L2:
    weigh(r, length_of(error, n), a * length_of(want, n) + b);
    break;
  case MOSTLY:
    qsort(error, n, sizeof *error, ascending);
    weigh(r, error[n / 2], a);
    weigh(r, error[(size_t)((double)(n - 1) * b)], a);
    break;
  default:
    for (size_t i = 0; i < n; i++) weigh(r, error[i], 0);
  }
  free(error);
}

static void offer(golden_case *k, const double *got, size_t n, const char *key) {
  reference *r = find(k, key);
  if (!r || !r->rule || r->rule->how == GIVEN || r->rule->how == NOT_BUILT) return;
  size_t n_want;
  double *want = widened(r, &n_want);
  if (!want || n != n_want) {
    r->outcome = FAILED;
    r->fault = want ? "the computed tensor has another size" : "a type that the runner does not compare";
  } else {
    if (n) compare(r, got, want, n);
    if (r->outcome == UNTOUCHED) r->outcome = PASSED; /* nothing is equal to nothing */
  }
  free(want);
}

typedef enum { DOUBLES, FLOATS, IDS } number;

/* Values of any type, widened, if the case holds a tensor of that key. */
static void offer_any(golden_case *k, number type, const void *values, size_t n, const char *key, va_list list) {
  char name[TEXT];
  vsnprintf(name, sizeof name, key, list);
  double *wide = find(k, name) ? mem_alloc(n, sizeof *wide) : NULL;
  for (size_t i = 0; wide && i < n; i++)
    wide[i] = type == DOUBLES  ? ((const double *)values)[i]
              : type == FLOATS ? (double)((const float *)values)[i]
                               : ((const int32_t *)values)[i];
  if (wide) offer(k, wide, n, name);
  free(wide);
}

void golden_offer_doubles(golden_case *k, const double *values, size_t n, const char *key, ...) {
  va_list list;
  va_start(list, key);
  offer_any(k, DOUBLES, values, n, key, list);
  va_end(list);
}

void golden_offer(golden_case *k, const float *values, size_t n, const char *key, ...) {
  va_list list;
  va_start(list, key);
  offer_any(k, FLOATS, values, n, key, list);
  va_end(list);
}

void golden_offer_ids(golden_case *k, const int32_t *values, size_t n, const char *key, ...) {
  va_list list;
  va_start(list, key);
  offer_any(k, IDS, values, n, key, list);
  va_end(list);
}

void golden_offer_tensor(golden_case *k, const tensor *t, const char *key, ...) {
  va_list list;
  va_start(list, key);
  if (t)
    offer_any(k, FLOATS, t->data, (size_t)tensor_count(t), key, list);
  else
    golden_error(k);
  va_end(list);
}

static void offer_params(golden_case *k, const param_set *set, const float *buffer, const char *prefix,
                         const char *strip) {
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    size_t n = (size_t)tensor_count(p->value);
    const char *name = strncmp(p->name, strip, strlen(strip)) ? p->name : p->name + strlen(strip);
    float *out = mem_alloc(n, sizeof *out);
    if (!out) continue;
    param_export(p, buffer + p->first, out);
    golden_offer(k, out, n, "%s%s", prefix, name);
    free(out);
  }
}

void golden_offer_grads(golden_case *k, const param_set *set, const char *prefix, const char *strip) {
  offer_params(k, set, set->grads, prefix, strip);
}

void golden_offer_values(golden_case *k, const param_set *set, const char *prefix, const char *strip) {
  offer_params(k, set, set->values, prefix, strip);
}

/* --- a case ------------------------------------------------------------------------------------------------------- */

static const golden_rule *rule_of(const golden_rule *rules, const char *key) {
  for (; rules->key; rules++)
    if (!fnmatch(rules->key, key, 0)) return rules;
  return NULL;
}

void golden_rules(golden_case *k, const golden_rule *rules) {
  for (size_t i = 0; i < k->n; i++) k->item[i].rule = rule_of(rules, k->item[i].key);
}

static bool add_file(golden_case *k, const char *name) {
  golden *g = k->n_files < FILES ? golden_open(golden_path(k, name)) : NULL;
  if (!g) return false;
  k->file[k->n_files++] = g;
  for (size_t i = 0; i < golden_count(g); i++) {
    reference *items = mem_room(k->item, k->n, &k->capacity, sizeof *items);
    if (!items) return false;
    k->item = items;
    char key[TEXT];
    snprintf(key, sizeof key, "%.*s/%s", (int)(strlen(name) - strlen(".safetensors")), name, golden_name(g, i));
    k->item[k->n] = (reference){.key = mem_string(key), .file = g, .name = golden_name(g, i)};
    if (!k->item[k->n++].key) return false;
  }
  return true;
}

static int is_reference(const struct dirent *e) {
  size_t n = strlen(e->d_name), end = strlen(".safetensors");
  return n > end && !strcmp(e->d_name + n - end, ".safetensors") && strcmp(e->d_name, "model.safetensors");
}

static bool open_case(golden_case *k) {
  struct dirent **list;
  int n = scandir(k->folder, &list, is_reference, alphasort);
  bool ok = n >= 0 && (k->c = ctx_new());
  for (int i = 0; i < n; i++) {
    ok = ok && add_file(k, list[i]->d_name);
    free(list[i]);
  }
  if (n >= 0) free(list);
  return ok;
}

static void close_case(golden_case *k) {
  for (size_t i = 0; i < k->n; i++) free(k->item[i].key);
  free(k->item);
  for (size_t i = 0; i < k->n_files; i++) golden_close(k->file[i]);
  ctx_free(k->c);
}

static void report(golden_case *k, const reference *r) {
  const char *fault = r->fault;
  if (!r->rule)
    fault = "no rule claims it";
  else if (r->rule->how == NOT_BUILT) {
    golden_skip(k, "%-44s needs %s", r->key, r->rule->part);
    return;
  } else if (r->outcome == UNTOUCHED)
    fault = r->rule->how == GIVEN ? "given, but not used" : "not computed";
  if (fault)
    golden_check(k, false, "%-44s %s", r->key, fault);
  else if (r->outcome == USED)
    printf("  given %s\n", r->key);
  else
    golden_check(k, r->outcome == PASSED, "%-44s %.2e of %.2e", r->key, r->error, r->allowed);
}

void golden_run(const char *folder, const char *title, const golden_system *system, golden_score *score) {
  golden_case k = {.folder = folder};
  printf("%s\n", title);
  if (open_case(&k)) {
    system->run(&k);
    for (size_t i = 0; !k.refused && i < k.n; i++) report(&k, &k.item[i]);
    if (!k.score.passed && !k.score.failed && !k.score.skipped)
      golden_check(&k, false, "the folder holds nothing to compare");
  } else {
    golden_error(&k);
  }
  close_case(&k);
  score->passed += k.score.passed;
  score->failed += k.score.failed;
  score->skipped += k.score.skipped;
  fflush(stdout);
}
