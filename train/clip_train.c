#include "train/clip_train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lm/text.h"
#include "train/clip_batch.h"
#include "train/clip_init.h"
#include "train/clip_step.h"
#include "train/optimizer.h"
#include "train/schedule.h"

clip_train_options clip_train_defaults(void) {
  return (clip_train_options){
      .run = {.steps = 2000,
              .batch = 256,
              .rate = 1e-3,
              .weight_decay = 0.2,
              .clip = 1,
              .beta1 = 0.9,
              .beta2 = 0.98,
              .save_every = 100},
      .chunk = 64,
      .singles = 0.3,
      .max_objects = 4,
      .check_every = 200,
      .check = 256,
      .image_size = 64,
      .patch = 8,
      .image_width = 192,
      .image_depth = 6,
      .image_hidden = 768,
      .text_width = 192,
      .text_depth = 4,
      .text_hidden = 576,
      .context = 24,
      .words = 3000,
      .head_size = 64,
      .rank_mix = 16,
      .rank_decay = 32,
  };
}

enum { DIGEST_TEXT = 17 };

typedef struct {
  clip_train_options o;
  object_set *objects; /* of scenes, and their checks */
  pairs list, validation;
  char digest[DIGEST_TEXT]; /* of the lists; "" for scenes */
  clip_source source;
  clip_model model;
  char *vocabulary; /* its text, as the files carry it */
  clip_batch batch;
  size_t broken; /* pictures, as was last said */
  adamw optimizer;
  ctx *c;
  int64_t step;
  char *file; /* the checkpoint's path */
  run_tally sum;
} trainer;

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* The options that decide a run's course: written to the checkpoint's metadata and read back on resuming. */
/* clang-format off */
#define OPTION(name, type) RUN_OPTION(clip_train_options, name, type)
static const run_option option_rows[] = {
    RUN_SETTINGS(clip_train_options), OPTION(chunk, RUN_INTEGER), OPTION(drop_path, RUN_NUMBER),
    OPTION(singles, RUN_NUMBER), OPTION(max_objects, RUN_INTEGER),
};
/* clang-format on */
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };
static const char key_data[] = "linnet.train.data";

static status save(const trainer *t, const char *path, params_file what) {
  run_metadata about;
  run_metadata_make(&about, &t->o, option_rows, OPTION_ROWS, t->step);
  run_metadata_add(&about, key_data, t->digest);
  run_metadata_add(&about, TEXT_VOCABULARY, t->vocabulary);
  if (t->objects) run_metadata_add(&about, CLIP_TEMPLATES, "a {}\nan {}"); /* as scenes are told of */
  what.n_metadata = about.n;
  what.metadata = (const char *const(*)[2])about.pair;
  return clip_save(&t->model.pair, path, &what);
}

static status save_checkpoint(void *user) {
  const trainer *t = user;
  param_buffer moments[ADAMW_BUFFERS];
  return save(t, t->file, adamw_checkpoint(&t->optimizer, moments));
}

static status save_model(void *user) {
  const trainer *t = user;
  char *path = run_path(t->o.run.out, CLIP_TRAIN_MODEL);
  if (!path) return STATUS_MEMORY;
  const status s = save(t, path, (params_file){.type = CHECKPOINT_F16});
  free(path);
  return s;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

/* The text of a vocabulary: of a file, or of the words of the data. */
static status make_vocabulary(trainer *t) {
  size_t n;
  if (t->o.vocabulary) {
    tokenizer *words = tokenizer_open(t->o.vocabulary);
    const status s = words ? tokenizer_text(words, &t->vocabulary, &n) : last_status();
    tokenizer_free(words);
    return s;
  }
  vocabulary_builder *v = vocabulary_builder_new();
  status s = v ? clip_source_words(&t->source, v) : last_status();
  if (!s) s = vocabulary_write(v, (uint32_t)t->o.words, &t->vocabulary, &n);
  vocabulary_builder_free(v);
  return s;
}

static tokenizer *parse_vocabulary(const trainer *t) {
  return tokenizer_parse(t->vocabulary, strlen(t->vocabulary), "the vocabulary");
}

/* Once the pair is declared. */
static status take_words(trainer *t) {
  tokenizer *words = parse_vocabulary(t);
  t->model.side = clip_image_side(&t->model.pair);
  return words ? clip_words_take(&t->model.words, &t->model.pair, words) : last_status();
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status fresh_config(const trainer *t, clip_config *k) {
  const clip_train_options *o = &t->o;
  tokenizer *words = parse_vocabulary(t);
  if (!words) return last_status();
  const int grid = o->patch > 0 ? o->image_size / o->patch : 0;
  *k = (clip_config){.rwkv = true,
                     .has_image = true,
                     .has_text = true,
                     .has_scale = true,
                     .context = o->context,
                     .fit = !o->crop,
                     .rwkv_image = {.depth = o->image_depth,
                                    .width = o->image_width,
                                    .hidden = o->image_hidden,
                                    .head_size = o->head_size,
                                    .patch = o->patch,
                                    .grid_h = grid,
                                    .grid_w = grid,
                                    .rank_mix = o->rank_mix,
                                    .rank_decay = o->rank_decay,
                                    .alternate_scan = true},
                     .rwkv_text = {.depth = o->text_depth,
                                   .width = o->text_width,
                                   .hidden = o->text_hidden,
                                   .head_size = o->head_size,
                                   .vocab_size = (int)tokenizer_size(words),
                                   .rank_mix = o->rank_mix,
                                   .rank_decay = o->rank_decay}};
  tokenizer_free(words);
  return STATUS_OK;
}

static status prepare_optimizer(trainer *t) {
  return adamw_of_run(&t->optimizer, &t->model.pair.params, &t->o.run, 1e-8, &recipe_clip);
}

static status check_options(const clip_train_options *o) {
  if (!o->objects && !o->n_lists) return fail(STATUS_ARGUMENT, "training needs an object pack or a list");
  if (o->n_lists > CLIP_TRAIN_LISTS) return fail(STATUS_ARGUMENT, "at most %d lists", CLIP_TRAIN_LISTS);
  if (o->run.batch < 2) return fail(STATUS_ARGUMENT, "a batch of fewer than 2 pairs has nothing to compare");
  if (o->chunk < 0 || o->check < 0 || o->check_every < 0 || o->check > 1 << 20)
    return fail(STATUS_ARGUMENT, "chunk, check and check-every must not be below 0, nor check above a million");
  if (!(o->drop_path >= 0 && o->drop_path < 1)) return fail(STATUS_ARGUMENT, "drop path must be from 0 to below 1");
  if (!(o->singles >= 0 && o->singles <= 1)) return fail(STATUS_ARGUMENT, "the share of singles must be from 0 to 1");
  if (o->max_objects < 1 || o->max_objects > SCENE_MAX_OBJECTS)
    return fail(STATUS_ARGUMENT, "a scene has 1 to %d objects, not %d", SCENE_MAX_OBJECTS, o->max_objects);
  if (o->context < 2 || o->context > 1 << 12) return fail(STATUS_ARGUMENT, "a context of 2 to 4096 tokens");
  return run_settings_check(&o->run);
}

static status load_data(trainer *t) {
  status s = STATUS_OK;
  for (int i = 0; !s && i < t->o.n_lists; i++) s = pairs_read(&t->list, t->o.list[i]);
  if (!s && t->o.validation) s = pairs_read(&t->validation, t->o.validation);
  if (!s && !t->o.n_lists && !(t->objects = object_set_open(t->o.objects))) s = last_status();
  if (!s && t->o.n_lists) snprintf(t->digest, sizeof t->digest, "%016" PRIx64, pairs_digest(&t->list));
  return s;
}

static status make_source(trainer *t) {
  t->source = (clip_source){.objects = t->objects,
                            .list = t->o.n_lists ? &t->list : NULL,
                            .seed = t->o.run.seed,
                            .max_objects = t->o.max_objects,
                            .singles = t->o.singles};
  return clip_source_new(&t->source);
}

/* The options and the position of the run that left the file. */
static status read_position(trainer *t, const checkpoint *file) {
  status s = run_options_read(&t->o, option_rows, OPTION_ROWS, file);
  if (!s && check_options(&t->o)) s = fail_within("%s", t->file);
  if (!s) s = run_step_read(&t->step, t->o.run.steps, file);
  const char *data = checkpoint_metadata(file, key_data);
  if (!s && (!data || strcmp(data, t->digest)))
    s = fail(STATUS_ARGUMENT, "%s: this run learnt from other pairs", t->file);
  return s;
}

/* Reads a pair with its vocabulary, which training goes on with. */
static status load_pair(trainer *t, const checkpoint *file) {
  clip_config k;
  tokenizer *words = NULL;
  size_t n;
  status s = clip_config_read(&k, file, CLIP_GELU_BY_FILE);
  if (!s && !(k.rwkv && k.has_image && k.has_text && k.has_scale))
    s = fail(STATUS_UNSUPPORTED, "%s: only an RWKV-CLIP with both towers can be trained", checkpoint_path(file));
  if (!s) s = clip_load(&t->model.pair, file, CLIP_GELU_BY_FILE, PARAMS_FOR_TRAINING);
  if (!s && t->o.vocabulary) return make_vocabulary(t);
  if (!s) s = text_vocabulary(file, &words);
  if (!s && !words)
    s = fail(STATUS_ARGUMENT, "%s: carries no vocabulary; name its file with --vocab", checkpoint_path(file));
  if (!s) s = tokenizer_text(words, &t->vocabulary, &n);
  tokenizer_free(words);
  return s;
}

static status begin_resumed(trainer *t) {
  checkpoint *file = checkpoint_open(t->file);
  if (!file) return last_status();
  t->o.vocabulary = NULL;
  status s = read_position(t, file);
  if (!s) s = make_source(t);
  if (!s) s = load_pair(t, file);
  if (!s) s = prepare_optimizer(t);
  if (!s) s = adamw_load(&t->optimizer, file, t->step);
  checkpoint_close(file);
  return s;
}

static status begin_from_pair(trainer *t) {
  checkpoint *file = checkpoint_open(t->o.init);
  if (!file) return last_status();
  status s = load_pair(t, file);
  checkpoint_close(file);
  return s;
}

static status begin_new(trainer *t) {
  clip_config k;
  clip_image_init from = {0};
  status s = make_vocabulary(t);
  if (!s) s = fresh_config(t, &k);
  if (!s && t->o.init_image) s = clip_image_init_open(&from, t->o.init_image);
  if (!s && t->o.init_image) k.rwkv_image = from.tower->config;
  if (!s) s = clip_declare(&t->model.pair, &k);
  if (!s) s = params_allocate(&t->model.pair.params);
  if (!s) params_init(&t->model.pair.params, t->o.run.seed);
  if (!s && t->o.init_image) s = clip_image_init_copy(&from, &t->model.pair);
  clip_image_init_free(&from);
  return s;
}

static status begin_fresh(trainer *t) {
  status s = make_source(t);
  if (!s) s = t->o.init ? begin_from_pair(t) : begin_new(t);
  return s ? s : prepare_optimizer(t);
}

static status begin(trainer *t) {
  status s = check_options(&t->o);
  if (s) return s;
  if (!(t->file = run_path(t->o.run.out, RUN_CHECKPOINT)) || !(t->c = ctx_new())) return last_status();
  if ((s = load_data(t)) || (s = run_folder(t->o.run.out))) return s;
  if (!t->o.run.resume && (s = run_not_there(t->file))) return s;
  s = t->o.run.resume ? begin_resumed(t) : begin_fresh(t);
  if (!s) s = take_words(t);
  return s ? s : clip_batch_new(&t->batch, &t->model, t->o.run.batch);
}

static void end(trainer *t) {
  clip_batch_free(&t->batch);
  clip_source_free(&t->source);
  adamw_free(&t->optimizer);
  clip_words_free(&t->model.words);
  clip_free(&t->model.pair);
  pairs_free(&t->list);
  pairs_free(&t->validation);
  object_set_close(t->objects);
  ctx_free(t->c);
  free(t->vocabulary);
  free(t->file);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* exp of it stays between 1 and 100. */
static void clamp_scale(const clip_pair *m) {
  float *scale = f32(m->logit_scale);
  *scale = fminf(fmaxf(*scale, 0), logf(100));
}

static status learn(trainer *t, clip_train_progress *p) {
  const clip_train_options *o = &t->o;
  clip_pair *m = &t->model.pair;
  const uint64_t first = (uint64_t)t->step * (uint64_t)o->run.batch;
  status s = clip_batch_make(&t->batch, &t->model, &t->source, first);
  if (s) return s;
  const clip_step_batch b = {.n = o->run.batch,
                             .pixels = t->batch.pixels,
                             .ids = t->batch.ids,
                             .same = t->batch.same,
                             .drop = {.rate = (float)o->drop_path, .seed = o->run.seed, .first = first}};
  params_zero_grads(&m->params);
  if (clip_step_gradients(t->c, m, &b, o->chunk, &p->loss)) return fail_within("step %lld", (long long)t->step);
  const one_cycle cycle = schedule_one_cycle(t->step, o->run.steps, o->run.rate);
  t->optimizer.options.beta1 = cycle.beta1;
  s = adamw_step(&t->optimizer, cycle.rate, &p->grad_norm);
  if (s) return s;
  clamp_scale(m);
  t->step++;
  p->rate = cycle.rate;
  p->scale = (double)clip_scale(m);
  return STATUS_OK;
}

static void report(trainer *t, const clip_train_progress *last) {
  run_report r;
  const double losses[RUN_LOSSES] = {last->loss};
  if (!run_tally_add(&t->sum, losses, 0, t->step, t->o.run.steps, &r)) return;
  if (t->batch.broken > t->broken && t->o.broken) t->o.broken(t->o.user, t->batch.broken, t->batch.problem);
  t->broken = t->batch.broken;
  if (!t->o.progress) return;
  clip_train_progress p = *last;
  p.step = t->step;
  p.steps = t->o.run.steps;
  p.loss = r.loss[0];
  p.samples_per_second = r.steps_per_second * t->o.run.batch;
  p.seconds_left = r.seconds_left;
  t->o.progress(t->o.user, &p);
}

/* A check changes nothing of the run. */
static status check(trainer *t) {
  const clip_train_options *o = &t->o;
  const bool listed = t->validation.n > 0, due = o->check_every > 0 && t->step % o->check_every == 0;
  if (!o->check || !o->checked || !(due || t->step == o->run.steps) || (!listed && !t->objects)) return STATUS_OK;
  clip_check scores;
  const status s = listed ? clip_check_list(&t->model, &t->validation, &scores)
                          : clip_check_scenes(&t->model, t->objects, o->check, o->max_objects, &scores);
  if (!s) o->checked(o->user, t->step, &scores);
  return s;
}

static status advance(void *user) {
  trainer *t = user;
  clip_train_progress p = {0};
  const status s = learn(t, &p);
  if (!s) report(t, &p);
  return s ? s : check(t);
}

status clip_train(const clip_train_options *options) {
  trainer t = {.o = *options};
  status s = begin(&t);
  t.sum = run_tally_begin(t.step);
  const run_work work = {&t.step, t.file, advance, save_checkpoint, save_model, &t};
  if (!s) s = run_steps(&t.o.run, &work);
  end(&t);
  return s;
}
