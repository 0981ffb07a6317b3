#include "apps/wanted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/model.h"
#include "apps/output.h"
#include "data/lines.h"
#include "fusion/embed.h"
#include "fusion/zeroshot.h"
#include "kernels/file.h"

void wanted_free(wanted *q) {
  for (size_t i = 0; q->label && i < q->n; i++) free(q->label[i]);
  free(q->label);
  free(q->vector);
  *q = (wanted){0};
}

/* --- texts -------------------------------------------------------------------------------------------------------- */

static status add_lines(zero_shot *z, const char *path) {
  const bool is_stdin = !strcmp(path, "-");
  const char *name = is_stdin ? "standard input" : path;
  lines list = {0};
  size_t n;
  char *text =
      is_stdin ? file_read_open(STDIN_FILENO, name, LINES_MAX_BYTES, &n) : file_read(path, LINES_MAX_BYTES, &n);
  status s = text ? lines_parse(&list, text, n, name) : last_status();
  if (!text) return s;
  for (size_t i = 0; !s && i < list.n; i++) {
    const char *line = line_trim(list.line[i]);
    if (*line) s = zero_shot_add(z, line, NULL, 0);
  }
  lines_free(&list);
  return s;
}

static status add_texts(zero_shot *z, const arg_texts *list) {
  status s = STATUS_OK;
  for (int i = 0; !s && i < list->n; i++) s = zero_shot_add(z, list->item[i], NULL, 0);
  return s;
}

/* Queries, then what is added, then what is taken away: one class each. */
static status gather(zero_shot *z, const wanted_words *w, size_t *n_texts) {
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < w->n_texts; i++) s = zero_shot_add(z, w->texts[i], NULL, 0);
  if (!s && w->file) s = add_lines(z, w->file);
  *n_texts = z->label.n;
  if (!s) s = add_texts(z, &w->plus);
  if (!s) s = add_texts(z, &w->minus);
  for (int i = 0; !s && i < w->templates.n; i++) s = zero_shot_template(z, w->templates.item[i]);
  return s;
}

static status encode(zero_shot *z, const clip_model *m) {
  ctx *c = z->label.n ? ctx_new() : NULL;
  if (!z->label.n) return STATUS_OK;
  const status s = c ? zero_shot_encode(z, c, m) : STATUS_MEMORY;
  ctx_free(c);
  if (!s && z->n_cut) complain("%zu texts are too long for the model: their ends are cut", z->n_cut);
  return s;
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

typedef struct {
  const wanted_words *words;
  float *to;
  size_t width;
} picture_job;

static image *open_picture(void *user, size_t i) { return picture_open(((picture_job *)user)->words->images.item[i]); }

static status keep_picture(void *user, const embedded *e) {
  const picture_job *j = user;
  if (e->error) return fail(STATUS_FORMAT, "%s", e->error);
  memcpy(j->to + e->index * j->width, e->row, j->width * sizeof *j->to);
  return STATUS_OK;
}

/* --- both --------------------------------------------------------------------------------------------------------- */

static void add_scaled(float *v, const float *other, size_t width, float weight) {
  for (size_t i = 0; i < width; i++) v[i] += weight * other[i];
}

static status make_unit(float *v, size_t width, const char *label) {
  double square = 0;
  for (size_t i = 0; i < width; i++) square += (double)v[i] * (double)v[i];
  if (!(square > 1e-12)) return fail(STATUS_ARGUMENT, "'%s' has no direction: nothing of it is left", label);
  const float scale = (float)(1 / sqrt(square));
  for (size_t i = 0; i < width; i++) v[i] *= scale;
  return STATUS_OK;
}

/* "QUERY + PLUS - MINUS" */
static char *label_of(const char *query, const wanted_words *w) {
  size_t room = strlen(query) + 1;
  for (int i = 0; i < w->plus.n; i++) room += strlen(w->plus.item[i]) + 3;
  for (int i = 0; i < w->minus.n; i++) room += strlen(w->minus.item[i]) + 3;
  char *label = mem_alloc(room, 1);
  if (!label) return NULL;
  strcpy(label, query);
  for (int i = 0; i < w->plus.n; i++) strcat(strcat(label, " + "), w->plus.item[i]);
  for (int i = 0; i < w->minus.n; i++) strcat(strcat(label, " - "), w->minus.item[i]);
  return label;
}

status wanted_make(wanted *q, const wanted_words *w, const clip_model *m) {
  const size_t width = (size_t)clip_width(&m->pair), n_images = (size_t)w->images.n;
  const size_t n_plus = (size_t)w->plus.n, n_minus = (size_t)w->minus.n;
  const embed_options options = {0};
  zero_shot z = {0};
  size_t n_texts, values;
  *q = (wanted){0};
  status s = gather(&z, w, &n_texts);
  if (!s && !(n_texts + n_images)) s = fail(STATUS_ARGUMENT, "there is nothing to search for");
  if (!s) s = encode(&z, m);
  if (!s && !size_mul(n_texts + n_images, width, &values)) s = fail(STATUS_MEMORY, "too many queries");
  if (!s && (!(q->vector = mem_alloc(values, sizeof *q->vector)) ||
             !(q->label = mem_zero(n_texts + n_images, sizeof *q->label))))
    s = STATUS_MEMORY;
  if (!s && n_texts) memcpy(q->vector, z.classifier, n_texts * width * sizeof *q->vector);
  picture_job pictures = {w, q->vector ? q->vector + n_texts * width : NULL, width};
  if (!s) s = embed_pictures(m, open_picture, &pictures, n_images, &options, keep_picture, &pictures);
  for (size_t i = 0; !s && i < n_texts + n_images; i++) {
    float *v = q->vector + i * width;
    for (size_t k = 0; k < n_plus; k++) add_scaled(v, z.classifier + (n_texts + k) * width, width, (float)w->weight);
    for (size_t k = 0; k < n_minus; k++)
      add_scaled(v, z.classifier + (n_texts + n_plus + k) * width, width, (float)-w->weight);
    q->label[i] = label_of(i < n_texts ? z.label.item[i] : w->images.item[i - n_texts], w);
    s = q->label[i] ? make_unit(v, width, q->label[i]) : STATUS_MEMORY;
    q->n = i + 1;
  }
  zero_shot_free(&z);
  return s;
}
