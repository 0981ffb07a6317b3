#include "train/caption_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"
#include "train/caption_batch.h"
#include "train/optimizer.h"
#include "train/schedule.h"

caption_train_options caption_train_defaults(void) {
  return (caption_train_options){
      .run = {.steps = 10000,
              .batch = 32,
              .rate = 1.5e-3,
              .rate_final = 1e-5,
              .warmup = 200,
              .weight_decay = 0.02,
              .clip = 1,
              .beta1 = 0.9,
              .beta2 = 0.98,
              .save_every = 200},
      .patch_weight = 0.2,
      .max_objects = 4,
      .image_size = 64,
      .patch = 8,
      .image_grid = 4,
      .tower_width = 192,
      .tower_depth = 6,
      .tower_hidden = 768,
      .lm_width = 192,
      .lm_depth = 4,
      .lm_hidden = 544,
      .head_size = 64,
      .rank_mix = 16,
      .rank_decay = 32,
      .vocabulary = 3000,
  };
}

/* --- the model under training: the captioner and the patch classifier --------------------------------------------- */

typedef struct {
  tensor *weight, *bias; /* [labels, tower width], [labels] */
} patch_head;

enum { LABELS = 1, WIDTH, HEAD_SIZES };
/* A label is rare: the bias starts where its probability is about 1/500. */
/* clang-format off */
static const param_spec head_rows[] = {
    {"patch_labels.weight", offsetof(patch_head, weight), {-LABELS, -WIDTH}, PARAM_MATRIX, init_fan_in, 0,
     PARAM_TRAINING, LAYOUT_SAME},
    {"patch_labels.bias", offsetof(patch_head, bias), {-LABELS}, PARAM_BIAS, init_constant, -6,
     PARAM_TRAINING, LAYOUT_SAME},
};
/* clang-format on */

typedef struct {
  caption_train_options o;
  object_set *objects; /* NULL in a benchmark */
  int labels;          /* of a patch: every kind, every colour */
  visualrwkv model;
  patch_head head;
  caption_batch batch;
  adamw optimizer;
  ctx *c;
  int64_t step;
  char *file; /* the checkpoint's path */
  run_tally sum;
} trainer;

static const char before_text[] = "User: ", after_text[] = "\nDescribe the picture.\n\nAssistant:";

static status add_text(void *vocabulary, const char *text, size_t n) {
  return vocabulary_add_text(vocabulary, text, n);
}

/* The vocabulary: the prompt's pieces, every trained kind's words, and the words of generated captions. */
static status make_vocabulary(const trainer *t, char **text) {
  static const char *const pieces[] = {before_text, "\nDescribe the picture.", "\n\nAssistant:", "\n\n"};
  vocabulary_builder *v = vocabulary_builder_new();
  status s = v ? STATUS_OK : last_status();
  for (size_t i = 0; !s && i < sizeof pieces / sizeof *pieces; i++)
    s = vocabulary_add_piece(v, pieces[i], strlen(pieces[i]));
  if (!s && t->objects) s = scene_texts(t->objects, t->o.max_objects, t->o.run.seed, add_text, v);
  size_t size;
  if (!s) s = vocabulary_write(v, (uint32_t)t->o.vocabulary, text, &size);
  vocabulary_builder_free(v);
  return s;
}

/* The number of tokens, the end token included; 0 with a sentence on failure. */
static int count_tokens(const char *vocabulary) {
  tokenizer *words = tokenizer_parse(vocabulary, strlen(vocabulary), "the new vocabulary");
  int n = words ? (int)tokenizer_size(words) : 0;
  tokenizer_free(words);
  return n;
}

static status declare_fresh(trainer *t) {
  const caption_train_options *o = &t->o;
  char *vocabulary = NULL;
  status s = make_vocabulary(t, &vocabulary);
  if (s) return s;
  const int tokens = t->objects ? count_tokens(vocabulary) : o->vocabulary + 1;
  const visualrwkv_config config = {
      .lm = {.version = 6,
             .n_layer = o->lm_depth,
             .n_embd = o->lm_width,
             .dim_att = o->lm_width,
             .dim_ffn = o->lm_hidden,
             .head_size = o->head_size,
             .vocab_size = tokens,
             .rank_mix = o->rank_mix,
             .rank_decay = o->rank_decay},
      .tower = {.depth = o->tower_depth,
                .width = o->tower_width,
                .hidden = o->tower_hidden,
                .head_size = o->head_size,
                .patch = o->patch,
                .grid_h = o->patch > 0 ? o->image_size / o->patch : 0,
                .grid_w = o->patch > 0 ? o->image_size / o->patch : 0,
                .rank_mix = o->rank_mix,
                .rank_decay = o->rank_decay,
                .alternate_scan = true},
      .image_size = o->image_size,
      .image_grid = o->image_grid,
      .bidirectional = true,
  };
  s = tokens ? visualrwkv_declare(&t->model, &config, vocabulary, before_text, after_text) : last_status();
  free(vocabulary);
  return s;
}

static status declare_head(trainer *t) {
  const int64_t sizes[HEAD_SIZES] = {[LABELS] = t->labels, [WIDTH] = t->model.config.tower.width};
  return params_declare(&t->model.params, "", head_rows, sizeof head_rows / sizeof *head_rows, -1, 1, sizes, &t->head);
}

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* The options that decide a run's course: written to the checkpoint's metadata and read back on resuming. */
/* clang-format off */
#define OPTION(name, type) RUN_OPTION(caption_train_options, name, type)
static const run_option option_rows[] = {
    RUN_SETTINGS(caption_train_options),
    OPTION(patch_weight, RUN_NUMBER), OPTION(max_objects, RUN_INTEGER),
};
/* clang-format on */
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };

/* Writes the model with the run's options and position, which resuming reads and users may. */
static status save(const trainer *t, const char *path, params_file what) {
  run_metadata about;
  run_metadata_make(&about, &t->o, option_rows, OPTION_ROWS, t->step);
  what.n_metadata = about.n;
  what.metadata = (const char *const(*)[2])about.pair;
  return visualrwkv_save(&t->model, path, &what);
}

static status save_checkpoint(void *user) {
  const trainer *t = user;
  param_buffer moments[ADAMW_BUFFERS];
  return save(t, t->file, adamw_checkpoint(&t->optimizer, moments));
}

static status save_model(void *user) {
  const trainer *t = user;
  char *path = run_path(t->o.run.out, "captioner.gguf");
  if (!path) return STATUS_MEMORY;
  const status s = save(t, path, (params_file){.type = CHECKPOINT_F16});
  free(path);
  return s;
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status prepare_optimizer(trainer *t) {
  return adamw_of_run(&t->optimizer, &t->model.params, &t->o.run, 1e-8, &recipe_rwkv);
}

static status check_options(const caption_train_options *o) {
  if (!o->objects) return fail(STATUS_ARGUMENT, "training needs an object pack");
  if (!(o->patch_weight >= 0)) return fail(STATUS_ARGUMENT, "the weight of the patches' loss must not be below 0");
  if (o->max_objects < 1 || o->max_objects > SCENE_MAX_OBJECTS)
    return fail(STATUS_ARGUMENT, "a scene has 1 to %d objects, not %d", SCENE_MAX_OBJECTS, o->max_objects);
  return run_settings_check(&o->run);
}

/* The options and the position of the run that left the file. */
static status read_position(trainer *t, const checkpoint *file) {
  status s = run_options_read(&t->o, option_rows, OPTION_ROWS, file);
  if (!s && check_options(&t->o)) s = fail_within("%s", t->file);
  return s ? s : run_step_read(&t->step, t->o.run.steps, file);
}

static status begin_resumed(trainer *t) {
  checkpoint *file = checkpoint_open(t->file);
  if (!file) return last_status();
  status s = read_position(t, file);
  if (!s) s = visualrwkv_declare_like(&t->model, file);
  if (!s) s = declare_head(t);
  if (!s) s = params_check(&t->model.params, file);
  if (!s) s = params_allocate(&t->model.params);
  if (!s) s = params_load(&t->model.params, file, false, NULL);
  if (!s) s = prepare_optimizer(t);
  if (!s) s = adamw_load(&t->optimizer, file, t->step);
  checkpoint_close(file);
  return s;
}

static status begin_fresh(trainer *t) {
  checkpoint *init = t->o.init ? checkpoint_open(t->o.init) : NULL;
  status s = t->o.init && !init ? last_status() : STATUS_OK;
  if (!s) s = init ? visualrwkv_declare_like(&t->model, init) : declare_fresh(t);
  if (!s && init) s = params_check(&t->model.params, init); /* before memory is asked for; the head need not fit */
  if (!s) s = declare_head(t);
  if (!s) s = params_allocate(&t->model.params);
  if (!s) params_init(&t->model.params, t->o.run.seed);
  if (!s && init) s = params_load(&t->model.params, init, true, NULL);
  if (!s) s = prepare_optimizer(t);
  checkpoint_close(init);
  return s;
}

static status begin(trainer *t) {
  status s = check_options(&t->o);
  if (s) return s;
  if (!(t->file = run_path(t->o.run.out, RUN_CHECKPOINT))) return STATUS_MEMORY;
  if (!(t->objects = object_set_open(t->o.objects)) || !(t->c = ctx_new())) return last_status();
  if ((s = run_folder(t->o.run.out))) return s;
  if (!t->o.run.resume && (s = run_not_there(t->file))) return s;
  t->labels = (int)object_kinds(t->objects) + COLOURS - 1;
  s = t->o.run.resume ? begin_resumed(t) : begin_fresh(t);
  return s ? s : caption_batch_new(&t->batch, &t->model, t->labels, t->o.run.batch);
}

static void end(trainer *t) {
  caption_batch_free(&t->batch);
  adamw_free(&t->optimizer);
  visualrwkv_free(&t->model);
  object_set_close(t->objects);
  ctx_free(t->c);
  free(t->file);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* loss = cross entropy of the captions + patch_weight * multi-label loss of the patches */
static status losses(trainer *t, double *caption_loss, double *patch_loss) {
  ctx *c = t->c;
  const caption_batch *b = &t->batch;
  const visualrwkv *m = &t->model;
  const int64_t S = m->config.image_size, B = b->batch;
  ctx_reset(c);
  tensor *pixels = tensor_wrap(c, DTYPE_F32, b->pixels, 4, (int64_t[]){B, S, S, 3});
  tensor *answer = tensor_wrap(c, DTYPE_I32, b->answer, 2, (int64_t[]){B, b->answer_length});
  if (!pixels || !answer) return last_status(); /* no answer would be a shorter sequence */
  c->recording = true;
  tensor *patches;
  tensor *tokens = visualrwkv_image_tokens(c, m, pixels, &patches);
  tensor *hidden = visualrwkv_sequence(c, m, tokens, answer, NULL);
  tensor *logits = rwkv_logits(c, &m->lm, gather_rows(c, hidden, b->rows, b->row));
  tensor *said = cross_entropy(c, logits, b->target, b->weight, 1e-4f / (float)b->rows);
  tensor *labels = linear(c, patches, t->head.weight, t->head.bias);
  tensor *seen = bce_with_logits(c, labels, b->patch_target, b->patch_weight);
  tensor *loss = add(c, said, scale(c, seen, (float)t->o.patch_weight));
  c->recording = false;
  if (!loss) return last_status();
  *caption_loss = f32(said)[0];
  *patch_loss = f32(seen)[0];
  if (!isfinite(*caption_loss) || !isfinite(*patch_loss))
    return fail(STATUS_FORMAT, "the loss is not finite at step %lld", (long long)t->step);
  return backward(c, loss);
}

/* Multiplications and additions of one step's matrix products, forward and backward. */
static double step_flops(const trainer *t) {
  const visualrwkv *m = &t->model;
  double B = t->batch.batch, side = visualrwkv_side(&m->config), patches = B * side * side;
  double sequence = B * (m->n_before + visualrwkv_image_tokens_count(m) + m->n_after + t->batch.answer_length);
  double total = 0;
  for (size_t i = 0; i < m->params.n; i++) {
    const param *p = &m->params.item[i];
    if (p->spec->class != PARAM_MATRIX && p->spec->class != PARAM_LOW_RANK) continue;
    bool tower = !strncmp(p->name, "vit.", 4) || !strncmp(p->name, "patch_labels.", 13);
    double rows = tower                    ? patches
                  : p->value == m->lm.head ? t->batch.rows
                  : p->value == m->proj    ? B * visualrwkv_image_tokens_count(m)
                                           : sequence;
    total += (p->spec->layout == LAYOUT_PATCH ? 4 : 6) * rows * (double)tensor_count(p->value);
  }
  return total;
}

/* One optimizer step on the batch that is there. */
static status learn(trainer *t, train_progress *p) {
  const caption_train_options *o = &t->o;
  params_zero_grads(&t->model.params);
  status s = losses(t, &p->loss, &p->patch_loss);
  p->rate = schedule_cosine(t->step, o->run.warmup, o->run.steps, o->run.rate, o->run.rate_final);
  if (!s) s = adamw_step(&t->optimizer, p->rate, &p->grad_norm);
  if (!s) t->step++;
  return s;
}

static status train_step(trainer *t, train_progress *p) {
  const caption_train_options *o = &t->o;
  const scene_options scenes = {
      .size = t->model.config.image_size, .pictures = SPLIT_TRAIN, .max_objects = o->max_objects, .augment = true};
  status s = caption_batch_make(&t->batch, &t->model, t->objects, &scenes, o->run.seed,
                                (uint64_t)t->step * (uint64_t)o->run.batch);
  return s ? s : learn(t, p);
}

static void report(trainer *t, const train_progress *last) {
  run_report r;
  const double losses_of[RUN_LOSSES] = {last->loss, last->patch_loss};
  if (!run_tally_add(&t->sum, losses_of, step_flops(t), t->step, t->o.run.steps, &r) || !t->o.progress) return;
  train_progress p = *last;
  p.step = t->step;
  p.steps = t->o.run.steps;
  p.loss = r.loss[0];
  p.patch_loss = r.loss[1];
  p.samples_per_second = r.steps_per_second * t->o.run.batch;
  p.seconds_left = r.seconds_left;
  p.gflops = r.gflops;
  t->o.progress(t->o.user, &p);
}

static status advance(void *user) {
  trainer *t = user;
  train_progress p = {0};
  const status s = train_step(t, &p);
  if (!s) report(t, &p);
  return s;
}

status caption_train(const caption_train_options *options) {
  trainer t = {.o = *options};
  status s = begin(&t);
  t.sum = run_tally_begin(t.step);
  const run_work work = {&t.step, t.file, advance, save_checkpoint, save_model, &t};
  if (!s) s = run_steps(&t.o.run, &work);
  end(&t);
  return s;
}

/* --- benchmark ---------------------------------------------------------------------------------------------------- */

/* Random pictures with answers of usual length. */
static void fill_batch(trainer *t) {
  enum { ANSWER = 11 };
  caption_batch *b = &t->batch;
  const visualrwkv *m = &t->model;
  size_t S = (size_t)m->config.image_size, side = (size_t)visualrwkv_side(&m->config), B = (size_t)b->batch;
  rng g = rng_make(1, 0);
  for (size_t i = 0; i < B * S * S * 3; i++) b->pixels[i] = rng_range(&g, -1, 1);
  memset(b->patch_target, 0, B * side * side * (size_t)b->labels * sizeof(float));
  int prompt = m->n_before + visualrwkv_image_tokens_count(m) + m->n_after;
  b->answer_length = ANSWER - 1;
  b->rows = b->batch * ANSWER;
  for (int i = 0; i < b->rows; i++) {
    b->row[i] = i / ANSWER * (prompt + ANSWER - 1) + prompt - 1 + i % ANSWER;
    b->target[i] = (int32_t)rng_below(&g, (uint32_t)m->config.lm.vocab_size);
    b->weight[i] = 1 / (float)b->rows;
  }
  for (int i = 0; i < b->batch * b->answer_length; i++) b->answer[i] = b->target[i];
}

status caption_train_bench(int batch, int steps, double *samples_per_second, double *gflops) {
  enum { KINDS = 700 };
  trainer t = {.o = caption_train_defaults(), .labels = KINDS + COLOURS - 1};
  t.o.run.batch = batch;
  status s = (t.c = ctx_new()) ? begin_fresh(&t) : last_status();
  if (!s) s = caption_batch_new(&t.batch, &t.model, t.labels, batch);
  if (!s) fill_batch(&t);
  double begun = 0;
  for (int i = -1; !s && i < steps; i++) { /* the first warms up */
    train_progress p;
    s = learn(&t, &p);
    if (i < 0) begun = clock_seconds();
  }
  double seconds = clock_seconds() - begun;
  if (!s) *samples_per_second = (double)steps * batch / seconds;
  if (!s) *gflops = steps * step_flops(&t) / seconds * 1e-9;
  end(&t);
  return s;
}
