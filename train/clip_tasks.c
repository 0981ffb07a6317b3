#include "train/clip_tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- embeddings --------------------------------------------------------------------------------------------------- */

typedef struct {
  const task_options *o;
  size_t D, n;
  float *rows;    /* [n,D] of the pictures that could be read, in their order */
  int32_t *place; /* where each picture's row is; -1 = it has none */
  size_t all;
} features;

static void features_free(features *f) { free(f->rows), free(f->place); }

static status keep(void *user, const embedded *e) {
  features *f = user;
  f->place[e->index] = e->row ? (int32_t)f->n : -1;
  if (e->row) memcpy(f->rows + f->n++ * f->D, e->row, f->D * sizeof *e->row);
  return f->o->step ? f->o->step(f->o->user, e->error) : STATUS_OK;
}

/* features_free in every case. */
static status embed(features *f, const clip_model *m, const picture_source *p, bool raw, const task_options *o) {
  *f = (features){.o = o, .D = (size_t)clip_width(&m->pair), .all = p->n};
  if (p->n > INT32_MAX) return fail(STATUS_UNSUPPORTED, "%zu pictures are too many", p->n);
  f->rows = mem_alloc(p->n, f->D * sizeof *f->rows);
  f->place = mem_alloc(p->n, sizeof *f->place);
  if (!f->rows || !f->place) return STATUS_MEMORY;
  const status s = embed_pictures(m, p->open, p->from, p->n, &(embed_options){.batch = o->batch, .raw = raw}, keep, f);
  return s || f->n ? s : fail(STATUS_FORMAT, "none of %zu pictures could be read", p->n);
}

/* targets[i] of the pictures that have a row, in their order; the caller frees it. */
static int32_t *targets_of(const features *f, const int32_t *targets) {
  int32_t *kept = mem_alloc(f->n, sizeof *kept);
  for (size_t i = 0; kept && i < f->all; i++)
    if (f->place[i] >= 0) kept[f->place[i]] = targets[i];
  return kept;
}

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

static status encode_classes(zero_shot *z, const clip_model *m) {
  ctx *c = ctx_new();
  const status s = c ? zero_shot_encode(z, c, m) : last_status();
  ctx_free(c);
  return s;
}

status zero_shot_task(const clip_model *m, zero_shot *z, const picture_source *pictures, const int32_t *targets,
                      const task_options *options, zero_shot_report *report) {
  features f = {0};
  status s = encode_classes(z, m);
  if (!s) s = embed(&f, m, pictures, false, options);
  const size_t K = z->label.n;
  int32_t *kept = s ? NULL : targets_of(&f, targets);
  float *logits = s ? NULL : mem_alloc(f.n, K * sizeof *logits);
  if (!s && (!kept || !logits)) s = STATUS_MEMORY;
  if (!s) s = zero_shot_logits(f.rows, f.n, z->classifier, K, f.D, 100, logits);
  if (!s) s = class_scores_of(logits, f.n, K, kept, &report->scores);
  report->pictures = f.n;
  report->skipped = f.all - f.n;
  report->classes = K;
  free(kept), free(logits);
  features_free(&f);
  return s;
}

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

/* The texts of the pictures that have a row, each with its prefix, and whose they are. */
typedef struct {
  char **text;
  int32_t *image_of;
  size_t n;
} captions;

static void captions_free(captions *c) {
  for (size_t i = 0; i < c->n; i++) free(c->text[i]);
  free(c->text), free(c->image_of);
}

static status captions_make(captions *c, const features *f, const char *const *texts, const int32_t *image_of, size_t T,
                            const char *prefix) {
  c->text = mem_alloc(T, sizeof *c->text);
  c->image_of = mem_alloc(T, sizeof *c->image_of);
  if (!c->text || !c->image_of) return STATUS_MEMORY;
  const size_t before = strlen(prefix);
  for (size_t t = 0; t < T; t++) {
    if (image_of[t] < 0 || (size_t)image_of[t] >= f->all)
      return fail(STATUS_ARGUMENT, "text %zu is a caption of picture %d of %zu", t, (int)image_of[t], f->all);
    if (f->place[image_of[t]] < 0) continue;
    const size_t length = strlen(texts[t]);
    char *text = mem_alloc(before + length + 1, 1);
    if (!text) return STATUS_MEMORY;
    memcpy(text, prefix, before);
    memcpy(text + before, texts[t], length + 1);
    c->image_of[c->n] = f->place[image_of[t]];
    c->text[c->n++] = text;
  }
  return STATUS_OK;
}

static status rank(const clip_model *m, const features *f, const captions *texts, retrieval_report *report) {
  ctx *c = ctx_new();
  float *rows = mem_alloc(texts->n, f->D * sizeof *rows);
  status s = c && rows ? STATUS_OK : last_status();
  if (!s) s = clip_model_texts(c, m, (const char *const *)texts->text, texts->n, rows, &report->cut);
  if (!s) s = retrieval_recall(f->rows, f->n, rows, texts->n, f->D, texts->image_of, &report->scores);
  free(rows);
  ctx_free(c);
  return s;
}

status retrieval_task(const clip_model *m, const picture_source *pictures, const char *const *texts,
                      const int32_t *image_of, size_t T, const char *prefix, const task_options *options,
                      retrieval_report *report) {
  features f;
  captions kept = {0};
  *report = (retrieval_report){0};
  status s = embed(&f, m, pictures, false, options);
  if (!s) s = captions_make(&kept, &f, texts, image_of, T, prefix);
  if (!s) s = rank(m, &f, &kept, report);
  report->pictures = f.n;
  report->skipped = f.all - f.n;
  report->texts = kept.n;
  captions_free(&kept);
  features_free(&f);
  return s;
}

/* --- linear probes ------------------------------------------------------------------------------------------------ */

/* The features and targets of several parts, one after the other. */
typedef struct {
  probe_data data;
  float *features;
  int32_t *targets;
} examples;

static void examples_free(examples *e) { free(e->features), free(e->targets); }

static status add_part(examples *e, const clip_model *m, const probe_part *part, const task_options *o,
                       size_t *skipped) {
  features f;
  status s = embed(&f, m, &part->pictures, true, o);
  int32_t *kept = s ? NULL : targets_of(&f, part->targets);
  const size_t n = e->data.n + f.n;
  float *rows = kept ? mem_grow(e->features, n, f.D * sizeof *rows) : NULL;
  if (rows) e->features = rows;
  int32_t *targets = rows ? mem_grow(e->targets, n, sizeof *targets) : NULL;
  if (targets) e->targets = targets;
  if (!s && !targets) s = STATUS_MEMORY;
  if (!s) {
    memcpy(rows + e->data.n * f.D, f.rows, f.n * f.D * sizeof *rows);
    memcpy(targets + e->data.n, kept, f.n * sizeof *targets);
    e->data = (probe_data){.n = n, .D = f.D, .classes = e->data.classes, .features = rows, .targets = targets};
    *skipped += f.all - f.n;
  }
  free(kept);
  features_free(&f);
  return s;
}

static status fit(const examples *learn, const examples *test, const probe_options *o, probe_report *r) {
  linear_probe p;
  status s = linear_probe_fit(&p, &learn->data, o);
  float *logits = s ? NULL : mem_alloc(test->data.n, r->classes * sizeof *logits);
  if (!s && !logits) s = STATUS_MEMORY;
  if (!s) s = linear_probe_logits(&p, test->features, test->data.n, logits);
  if (!s) s = class_scores_of(logits, test->data.n, r->classes, test->targets, &r->scores);
  r->converged = p.converged;
  linear_probe_free(&p);
  free(logits);
  return s;
}

status probe_task(const clip_model *m, const probe_part *train, const probe_part *valid, const probe_part *test,
                  size_t classes, double C, const task_options *options, probe_report *r) {
  examples learn = {.data.classes = classes}, score = {.data.classes = classes};
  probe_options o = probe_published;
  *r = (probe_report){.classes = classes, .valid_top1 = NAN};
  status s = add_part(&learn, m, train, options, &r->skipped);
  const size_t n = learn.data.n;
  if (!s && valid->pictures.n) s = add_part(&learn, m, valid, options, &r->skipped);
  if (!s) s = add_part(&score, m, test, options, &r->skipped);
  r->train = n;
  r->valid = learn.data.n - n;
  r->test = score.data.n;
  o.C = C;
  if (!s && !(C > 0)) {
    probe_data first = learn.data, rest = learn.data;
    first.n = n;
    rest.n -= n;
    rest.features += n * rest.D;
    rest.targets += n;
    s = rest.n ? linear_probe_sweep(&first, &rest, &o, &o.C, &r->valid_top1)
               : fail(STATUS_ARGUMENT, "the sweep needs pictures to choose by");
  }
  r->C = o.C;
  if (!s) s = fit(&learn, &score, &o, r);
  examples_free(&learn), examples_free(&score);
  return s;
}
