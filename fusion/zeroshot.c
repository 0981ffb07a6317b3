#include "fusion/zeroshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/lines.h"
#include "fusion/contrastive.h"
#include "kernels/blas.h"

/* --- vectors ------------------------------------------------------------------------------------------------------ */

static double length_of(const float *x, size_t D) {
  double sum = 0;
  for (size_t d = 0; d < D; d++) sum += (double)x[d] * (double)x[d];
  return fmax(sqrt(sum), 1e-12);
}

status zero_shot_classifier(const float *prompts, size_t n, const int32_t *class_of, size_t K, size_t D,
                            float *classifier) {
  size_t *count = mem_zero(K, sizeof *count);
  if (!count) return STATUS_MEMORY;
  status s = STATUS_OK;
  memset(classifier, 0, K * D * sizeof *classifier);
  for (size_t i = 0; !s && i < n; i++) {
    const size_t k = (size_t)class_of[i];
    const float *x = prompts + i * D;
    if (class_of[i] < 0 || k >= K) {
      s = fail(STATUS_ARGUMENT, "a prompt is about class %d of %zu", (int)class_of[i], K);
      break;
    }
    const double length = length_of(x, D);
    for (size_t d = 0; d < D; d++) classifier[k * D + d] += (float)((double)x[d] / length);
    count[k]++;
  }
  for (size_t k = 0; !s && k < K; k++) {
    float *row = classifier + k * D;
    if (!count[k]) s = fail(STATUS_ARGUMENT, "class %zu has no prompt", k);
    const double length = length_of(row, D);
    for (size_t d = 0; d < D; d++) row[d] = (float)((double)row[d] / length);
  }
  free(count);
  return s;
}

status zero_shot_logits(const float *images, size_t M, const float *classifier, size_t K, size_t D, float scale,
                        float *logits) {
  const status s = blas_open();
  if (s) return s;
  sgemm(false, true, M, K, D, 1, images, D, classifier, D, 0, logits, K);
  for (size_t m = 0; m < M; m++) {
    const double factor = (double)scale / length_of(images + m * D, D);
    for (size_t k = 0; k < K; k++) logits[m * K + k] = (float)(factor * (double)logits[m * K + k]);
  }
  return STATUS_OK;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

static void texts_free(zero_shot_texts *t) {
  for (size_t i = 0; i < t->n; i++) free(t->item[i]);
  free(t->item);
}

void zero_shot_free(zero_shot *z) {
  texts_free(&z->label);
  texts_free(&z->prompt);
  texts_free(&z->templates);
  free(z->prompt_of);
  free(z->classifier);
  *z = (zero_shot){0};
}

static status keep(zero_shot_texts *t, size_t most, const char *what, const char *text) {
  if (t->n >= most) return fail(STATUS_ARGUMENT, "there are more than %zu %s", most, what);
  char **list = mem_room(t->item, t->n, &t->capacity, sizeof *list), *copy = list ? mem_string(text) : NULL;
  if (list) t->item = list;
  if (!copy) return STATUS_MEMORY;
  t->item[t->n++] = copy;
  return STATUS_OK;
}

static status keep_prompt(zero_shot *z, const char *text) {
  int32_t *of = mem_room(z->prompt_of, z->prompt.n, &z->prompt_capacity, sizeof *of);
  if (!of) return STATUS_MEMORY;
  z->prompt_of = of;
  of[z->prompt.n] = (int32_t)(z->label.n - 1);
  return keep(&z->prompt, (size_t)ZERO_SHOT_CLASSES * 4, "prompts", text);
}

/* `name` is trimmed in place. */
static status add_class(zero_shot *z, char *name) {
  name = line_trim(name);
  return *name ? keep(&z->label, ZERO_SHOT_CLASSES, "labels", name) : fail(STATUS_ARGUMENT, "a label without a name");
}

status zero_shot_add(zero_shot *z, const char *name, const char *const *prompts, size_t n_prompts) {
  char *copy = mem_string(name);
  status s = copy ? add_class(z, copy) : STATUS_MEMORY;
  free(copy);
  for (size_t i = 0; !s && i < n_prompts; i++) s = keep_prompt(z, prompts[i]);
  return s;
}

status zero_shot_add_list(zero_shot *z, const char *names) {
  char *copy = mem_string(names), *rest = copy, *name;
  status s = copy ? STATUS_OK : STATUS_MEMORY;
  while (!s && (name = strsep(&rest, ","))) s = add_class(z, name);
  free(copy);
  return s;
}

/* "name" or "name<TAB>prompt<TAB>prompt"; prompts that are blank are left out. */
static status add_line(zero_shot *z, char *line) {
  status s = add_class(z, strsep(&line, "\t"));
  for (char *prompt; !s && (prompt = strsep(&line, "\t"));)
    if (*(prompt = line_trim(prompt))) s = keep_prompt(z, prompt);
  return s;
}

static status add_template(zero_shot *z, char *text) {
  text = line_trim(text);
  if (!strstr(text, "{}"))
    return fail(STATUS_ARGUMENT, "the template '%s' has no {} where the label is to stand", text);
  return keep(&z->templates, ZERO_SHOT_TEMPLATES, "templates", text);
}

status zero_shot_template(zero_shot *z, const char *text) {
  char *copy = mem_string(text);
  const status s = copy ? add_template(z, copy) : STATUS_MEMORY;
  free(copy);
  return s;
}

status zero_shot_usual(zero_shot *z, const clip_model *m) {
  if (z->templates.n) return STATUS_OK;
  char *copy = mem_string(m->templates ? m->templates : ZERO_SHOT_USUAL), *rest = copy, *line;
  status s = copy ? STATUS_OK : STATUS_MEMORY;
  while (!s && (line = strsep(&rest, "\n"))) s = add_template(z, line);
  free(copy);
  return s;
}

/* Hands over the lines of a file that are not blank, and says which one failed. */
static status each_line(zero_shot *z, const char *path, status (*each)(zero_shot *z, char *line)) {
  lines text;
  size_t found = 0;
  status s = lines_read(&text, path);
  for (size_t i = 0; !s && i < text.n; i++) {
    if (!text.line[i][strspn(text.line[i], " \t\r")]) continue;
    found++;
    if ((s = each(z, text.line[i]))) fail_within("%s: line %zu", path, i + 1);
  }
  if (!s && !found) s = fail(STATUS_FORMAT, "%s: all its lines are blank", path);
  lines_free(&text);
  return s;
}

status zero_shot_add_file(zero_shot *z, const char *path) { return each_line(z, path, add_line); }
status zero_shot_template_file(zero_shot *z, const char *path) { return each_line(z, path, add_template); }

/* --- the classifier ----------------------------------------------------------------------------------------------- */

/* The template with the name in place of every "{}"; the caller frees it. */
static char *fill(const char *template, const char *name) {
  size_t places = 0, bytes;
  for (const char *at = template; (at = strstr(at, "{}")); at += 2) places++;
  if (!size_mul(places, strlen(name), &bytes) || !size_add(bytes, strlen(template) + 1, &bytes))
    return fail_null(STATUS_MEMORY, "the prompts of '%s' are too long", name);
  char *out = mem_alloc(bytes, 1), *to = out;
  for (const char *at = template; out && *at;) {
    if (at[0] == '{' && at[1] == '}') {
      to = stpcpy(to, name);
      at += 2;
    } else {
      *to++ = *at++;
    }
  }
  if (out) *to = 0;
  return out;
}

/* The prompts of some classes, from `first` on. */
typedef struct {
  zero_shot_texts text;
  int32_t *class_of; /* counted from `first` */
  size_t capacity, first, classes;
} chunk;

/* Takes over the text. */
static status take_prompt(chunk *p, char *text) {
  int32_t *of = text ? mem_room(p->class_of, p->text.n, &p->capacity, sizeof *of) : NULL;
  if (of) p->class_of = of;
  char **list = of ? mem_room(p->text.item, p->text.n, &p->text.capacity, sizeof *list) : NULL;
  if (list) p->text.item = list;
  if (!list) {
    free(text);
    return STATUS_MEMORY;
  }
  p->class_of[p->text.n] = (int32_t)p->classes;
  p->text.item[p->text.n++] = text;
  return STATUS_OK;
}

/* The prompts of the next class; those that classes came with stand in their order, this one's from *own on. */
static status take_class(chunk *p, const zero_shot *z, size_t *own) {
  status s = STATUS_OK;
  const size_t k = p->first + p->classes, before = p->text.n;
  for (; !s && *own < z->prompt.n && z->prompt_of[*own] == (int32_t)k; ++*own)
    s = take_prompt(p, mem_string(z->prompt.item[*own]));
  const bool has_own = p->text.n > before;
  if (!s && !has_own && !z->templates.n) s = take_prompt(p, mem_string(z->label.item[k]));
  for (size_t t = 0; !s && !has_own && t < z->templates.n; t++)
    s = take_prompt(p, fill(z->templates.item[t], z->label.item[k]));
  p->classes++;
  return s;
}

static status encode_chunk(const chunk *p, zero_shot *z, ctx *c, const clip_model *m) {
  size_t cut = 0;
  float *rows = mem_alloc(p->text.n * z->width, sizeof *rows);
  status s = rows ? clip_model_texts(c, m, (const char *const *)p->text.item, p->text.n, rows, &cut) : STATUS_MEMORY;
  if (!s)
    s = zero_shot_classifier(rows, p->text.n, p->class_of, p->classes, z->width, z->classifier + p->first * z->width);
  z->n_cut += cut;
  free(rows);
  return s;
}

static void chunk_free(chunk *p) {
  texts_free(&p->text);
  free(p->class_of);
}

status zero_shot_encode(zero_shot *z, ctx *c, const clip_model *m) {
  enum { PROMPTS = 1024 };
  if (!z->label.n) return fail(STATUS_ARGUMENT, "there are no labels to choose from");
  size_t own = 0;
  status s = STATUS_OK;
  free(z->classifier);
  z->width = (size_t)clip_width(&m->pair);
  z->n_cut = 0;
  if (!(z->classifier = mem_alloc(z->label.n * z->width, sizeof *z->classifier))) return STATUS_MEMORY;
  for (size_t k = 0; !s && k < z->label.n;) {
    chunk p = {.first = k};
    while (!s && k < z->label.n && p.text.n < PROMPTS) {
      s = take_class(&p, z, &own);
      k++;
    }
    if (!s) s = encode_chunk(&p, z, c, m);
    chunk_free(&p);
  }
  return s;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

status zero_shot_best(const zero_shot *z, const float *row, float scale, float *cosines, size_t k,
                      zero_shot_guess *best) {
  const size_t K = z->label.n;
  const status s = zero_shot_logits(row, 1, z->classifier, K, z->width, 1, cosines);
  if (s) return s;
  size_t n = 0;
  for (size_t i = 0; i < K; i++) { /* insertion into the best until now */
    size_t at = n < k ? n++ : k;
    for (; at && cosines[i] > best[at - 1].cosine; at--)
      if (at < k) best[at] = best[at - 1];
    if (at < k) best[at] = (zero_shot_guess){.class = i, .cosine = cosines[i]};
  }
  match_probabilities(cosines, 1, (int64_t)K, scale);
  for (size_t i = 0; i < n; i++) best[i].probability = cosines[best[i].class];
  return STATUS_OK;
}
