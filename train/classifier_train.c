#include "train/classifier_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/optimizer.h"
#include "train/schedule.h"

classifier_train_options classifier_train_defaults(void) {
  return (classifier_train_options){
      .run = {.steps = 5000,
              .batch = 64,
              .rate = 2e-3,
              .rate_final = 1e-5,
              .warmup = 200,
              .weight_decay = 0.05,
              .clip = 1,
              .beta1 = 0.9,
              .beta2 = 0.98,
              .save_every = 500},
      .check_every = 500,
      .change = {.shift = 2, .flip = true, .erase = 0},
      .smoothing = 0.1,
      .image_size = 28,
      .patch = 4,
      .width = 128,
      .depth = 6,
      .hidden = 512,
      .head_size = 32,
      .rank_mix = 8,
      .rank_decay = 16,
  };
}

/* Streams of random numbers of one seed. */
enum { ORDER = 1, CHANGE, MIX, DROP };

typedef struct {
  classifier_train_options o;
  labelled *set;
  size_t n; /* pictures to learn from; those held back follow */
  image_classifier model;
  adamw optimizer;
  ctx *c;
  int64_t step;
  uint32_t *order; /* [n], of the pass `pass` */
  int64_t pass;
  uint8_t *rgb, *changed; /* one picture */
  float *pixels;          /* [batch,S,S,3] */
  int32_t *target;        /* [batch] */
  float *weight, *soft;   /* [batch], [batch,classes] */
  char *file;
  run_tally sum;
} trainer;

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* clang-format off */
#define OPTION(name, type) RUN_OPTION(classifier_train_options, name, type)
#define CHANGE_OPTION(name, type) {"linnet.train." #name, offsetof(classifier_train_options, change.name), type, false}
static const run_option option_rows[] = {
    RUN_SETTINGS(classifier_train_options),
    OPTION(hold, RUN_LONG), OPTION(one_cycle, RUN_SWITCH), OPTION(smoothing, RUN_NUMBER),
    OPTION(drop_path, RUN_NUMBER), OPTION(mixup, RUN_NUMBER), CHANGE_OPTION(shift, RUN_INTEGER),
    CHANGE_OPTION(flip, RUN_SWITCH), CHANGE_OPTION(erase, RUN_NUMBER),
};
/* clang-format on */
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };

static status save(const trainer *t, const char *path, params_file what) {
  run_metadata about;
  run_metadata_make(&about, &t->o, option_rows, OPTION_ROWS, t->step);
  what.n_metadata = about.n;
  what.metadata = (const char *const(*)[2])about.pair;
  return image_classifier_save(&t->model, path, &what);
}

static status save_checkpoint(void *user) {
  const trainer *t = user;
  param_buffer moments[ADAMW_BUFFERS];
  return save(t, t->file, adamw_checkpoint(&t->optimizer, moments));
}

static status save_model(void *user) {
  const trainer *t = user;
  char *path = run_path(t->o.run.out, "classifier.gguf");
  const status s = path ? save(t, path, (params_file){.type = CHECKPOINT_F16}) : STATUS_MEMORY;
  free(path);
  return s;
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status check_options(const classifier_train_options *o) {
  if (!o->data) return fail(STATUS_ARGUMENT, "training a classifier needs labelled pictures");
  if (o->hold < 0 || o->check_every < 0)
    return fail(STATUS_ARGUMENT, "the pictures held back and the steps between checks must be at least 0");
  if (!(o->smoothing >= 0 && o->smoothing < 1)) return fail(STATUS_ARGUMENT, "label smoothing must be 0 to below 1");
  if (!(o->drop_path >= 0 && o->drop_path < 1)) return fail(STATUS_ARGUMENT, "drop path must be 0 to below 1");
  if (!(o->mixup >= 0 && o->mixup <= 100)) return fail(STATUS_ARGUMENT, "mixup's alpha must be 0 to 100");
  return run_settings_check(&o->run);
}

static status prepare_optimizer(trainer *t) {
  return adamw_of_run(&t->optimizer, &t->model.params, &t->o.run, 1e-8, &recipe_rwkv);
}

/* The options and the position of the run that left the file. */
static status read_position(trainer *t, const checkpoint *file) {
  status s = run_options_read(&t->o, option_rows, OPTION_ROWS, file);
  if (!s && check_options(&t->o)) s = fail_within("%s", t->file);
  return s ? s : run_step_read(&t->step, t->o.run.steps, file);
}

static status same_names(const label_names *a, const label_names *b) {
  bool same = a->n == b->n;
  for (size_t i = 0; same && i < a->n; i++) same = !strcmp(a->name[i], b->name[i]);
  return same ? STATUS_OK : fail(STATUS_FORMAT, "its classes are not those of the pictures");
}

static status begin_resumed(trainer *t) {
  checkpoint *file = checkpoint_open(t->file);
  if (!file) return last_status();
  status s = read_position(t, file);
  if (!s) s = image_classifier_declare_like(&t->model, file);
  if (!s && same_names(&t->model.names, labelled_names(t->set))) s = fail_within("%s", t->file);
  if (!s) s = params_check(&t->model.params, file);
  if (!s) s = params_allocate(&t->model.params);
  if (!s) s = params_load(&t->model.params, file, false, NULL);
  if (!s) s = prepare_optimizer(t);
  if (!s) s = adamw_load(&t->optimizer, file, t->step);
  checkpoint_close(file);
  return s;
}

static status begin_fresh(trainer *t) {
  const classifier_train_options *o = &t->o;
  const int side = o->patch > 0 ? (o->image_size + o->patch - 1) / o->patch : 0;
  const image_classifier_config config = {
      .tower = {.depth = o->depth,
                .width = o->width,
                .hidden = o->hidden,
                .head_size = o->head_size,
                .patch = o->patch,
                .grid_h = side,
                .grid_w = side,
                .rank_mix = o->rank_mix,
                .rank_decay = o->rank_decay,
                .alternate_scan = !o->rows_only},
      .image_size = o->image_size,
  };
  if (o->depth < 2) return fail(STATUS_ARGUMENT, "the initial values need at least 2 blocks");
  status s = image_classifier_declare(&t->model, &config, labelled_names(t->set));
  if (!s) s = params_allocate(&t->model.params);
  if (!s) params_init(&t->model.params, o->run.seed);
  return s ? s : prepare_optimizer(t);
}

static status open_pictures(trainer *t) {
  label_names names = {0};
  status s = t->o.labels ? label_names_read(&names, t->o.labels) : STATUS_OK;
  if (!s && !(t->set = labelled_open(t->o.data, t->o.labels ? &names : NULL))) s = last_status();
  label_names_free(&names);
  return s;
}

/* Rooms for batches, when the model's size and the pictures held back are known. */
static status make_rooms(trainer *t) {
  const size_t all = labelled_count(t->set), K = labelled_names(t->set)->n, B = (size_t)t->o.run.batch;
  const size_t S = (size_t)t->model.config.image_size, picture = S * S * 3;
  if ((uint64_t)t->o.hold >= all || all - (size_t)t->o.hold > INT32_MAX)
    return fail(STATUS_ARGUMENT, "%s: %lld of %zu pictures held back", t->o.data, (long long)t->o.hold, all);
  const status s = augmentation_check(&t->o.change, (int)S);
  if (s) return s;
  t->n = all - (size_t)t->o.hold;
  t->pass = -1;
  t->order = mem_alloc(t->n, sizeof *t->order);
  t->rgb = mem_alloc(picture, 1);
  t->changed = mem_alloc(picture, 1);
  t->pixels = mem_alloc(B * picture, sizeof *t->pixels);
  t->target = mem_alloc(B, sizeof *t->target);
  t->weight = mem_alloc(B, sizeof *t->weight);
  t->soft = mem_alloc(B * K, sizeof *t->soft);
  return t->order && t->rgb && t->changed && t->pixels && t->target && t->weight && t->soft ? STATUS_OK : STATUS_MEMORY;
}

static status begin(trainer *t) {
  status s = check_options(&t->o);
  if (s) return s;
  if (!(t->file = run_path(t->o.run.out, RUN_CHECKPOINT))) return STATUS_MEMORY;
  if (!(t->c = ctx_new())) return last_status();
  if ((s = open_pictures(t)) || (s = run_folder(t->o.run.out))) return s;
  if (!t->o.run.resume && (s = run_not_there(t->file))) return s;
  s = t->o.run.resume ? begin_resumed(t) : begin_fresh(t);
  return s ? s : make_rooms(t);
}

static void end(trainer *t) {
  free(t->order), free(t->rgb), free(t->changed), free(t->pixels);
  free(t->target), free(t->weight), free(t->soft), free(t->file);
  adamw_free(&t->optimizer);
  image_classifier_free(&t->model);
  labelled_close(t->set);
  ctx_free(t->c);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

/* Which picture stands at a place of the endless row of passes. */
static uint32_t picture_at(trainer *t, uint64_t place) {
  const int64_t pass = (int64_t)(place / t->n);
  if (pass != t->pass) {
    rng g = rng_make(t->o.run.seed, random_u64(ORDER, (uint64_t)pass, 0));
    for (size_t i = 0; i < t->n; i++) t->order[i] = (uint32_t)i;
    rng_shuffle(&g, t->order, t->n);
    t->pass = pass;
  }
  return t->order[place % t->n];
}

/* Gamma(shape, 1): G. Marsaglia and W. Tsang, "A simple method for generating gamma variables", 2000. */
static double gamma_sample(rng *g, double shape) {
  if (shape < 1) {
    const double u = 1 - (double)rng_uniform(g); /* above 0 */
    return gamma_sample(g, shape + 1) * pow(u, 1 / shape);
  }
  const double d = shape - 1.0 / 3, k = 1 / sqrt(9 * d);
  for (;;) {
    const double x = (double)rng_normal(g), v = pow(1 + k * x, 3), u = 1 - (double)rng_uniform(g);
    if (1 + k * x > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
  }
}

/* Mixes picture b with picture B-1-b, and their labels, by one share for all: the batch and its mirror image. */
static void mix(trainer *t, float share, size_t picture) {
  const size_t B = (size_t)t->o.run.batch, K = t->model.names.n;
  for (size_t b = 0; b < B / 2; b++) {
    float *x = t->pixels + b * picture, *y = t->pixels + (B - 1 - b) * picture;
    for (size_t i = 0; i < picture; i++) {
      const float one = x[i], other = y[i];
      x[i] = share * one + (1 - share) * other;
      y[i] = share * other + (1 - share) * one;
    }
    float *p = t->soft + b * K, *q = t->soft + (B - 1 - b) * K;
    for (size_t k = 0; k < K; k++) {
      const float one = p[k], other = q[k];
      p[k] = share * one + (1 - share) * other;
      q[k] = share * other + (1 - share) * one;
    }
  }
}

/* The step's pictures, changed, and their soft labels. */
static status make_batch(trainer *t) {
  const classifier_train_options *o = &t->o;
  const size_t S = (size_t)t->model.config.image_size, picture = S * S * 3, K = t->model.names.n;
  const uint64_t first = (uint64_t)t->step * (uint64_t)o->run.batch;
  const float spread = (float)(o->smoothing / (double)K);
  for (size_t b = 0; b < (size_t)o->run.batch; b++) {
    const uint32_t index = picture_at(t, first + b);
    image *im = labelled_picture(t->set, index);
    const status s = im ? image_classifier_picture(&t->model, im, t->rgb) : last_status();
    image_free(im);
    if (s) return s;
    rng g = rng_make(o->run.seed, random_u64(CHANGE, first + b, 0));
    augment(&o->change, (int)S, t->rgb, &g, t->changed);
    image_tower_normalise(t->changed, picture, t->pixels + b * picture);
    t->target[b] = labelled_target(t->set, index);
    t->weight[b] = 1 / (float)o->run.batch;
    for (size_t k = 0; k < K; k++) t->soft[b * K + k] = spread;
    t->soft[b * K + (size_t)t->target[b]] += 1 - (float)o->smoothing;
  }
  if (o->mixup > 0) {
    rng g = rng_make(o->run.seed, random_u64(MIX, (uint64_t)t->step, 0));
    const double a = gamma_sample(&g, o->mixup), b = gamma_sample(&g, o->mixup);
    mix(t, a + b > 0 ? (float)(a / (a + b)) : 1, picture);
  }
  return STATUS_OK;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* Mean over rows of -sum_k q_k log softmax(z)_k. Of the cross entropy with class y it differs by a part that is linear
 * in the logits: sum_k (1[k=y] - q_k) z_k. */
static tensor *soft_loss(trainer *t, tensor *logits) {
  if (!logits) return NULL;
  const int64_t B = logits->dim[0], K = logits->dim[1];
  tensor *slope = tensor_2d(t->c, DTYPE_F32, 1, B * K);
  if (!slope) return NULL;
  for (int64_t i = 0; i < B * K; i++)
    f32(slope)[i] = ((i % K == t->target[i / K] ? 1.0f : 0.0f) - t->soft[i]) / (float)B;
  tensor *hard = cross_entropy(t->c, logits, t->target, t->weight, 0);
  tensor *row = tensor_view(t->c, logits, 2, (int64_t[]){1, B * K});
  tensor *rest = linear(t->c, row, slope, NULL);
  return rest ? add(t->c, hard, tensor_view(t->c, rest, 1, (int64_t[]){1})) : NULL;
}

static status learn(trainer *t, classifier_progress *p) {
  const classifier_train_options *o = &t->o;
  const int64_t S = t->model.config.image_size, B = o->run.batch;
  const image_tower_drop drop = {(float)o->drop_path, random_u64(o->run.seed, DROP, 0),
                                 (uint64_t)t->step * (uint64_t)B};
  params_zero_grads(&t->model.params);
  ctx_reset(t->c);
  const tensor *pixels = tensor_wrap(t->c, DTYPE_F32, t->pixels, 4, (int64_t[]){B, S, S, 3});
  if (!pixels) return last_status();
  t->c->recording = true;
  tensor *loss = soft_loss(t, image_classifier_logits(t->c, &t->model, pixels, &drop));
  t->c->recording = false;
  if (!loss) return last_status();
  p->loss = (double)f32(loss)[0];
  if (!isfinite(p->loss)) return fail(STATUS_FORMAT, "the loss is not finite at step %lld", (long long)t->step);
  status s = backward(t->c, loss);
  const one_cycle cycle = schedule_one_cycle(t->step, o->run.steps, o->run.rate);
  p->rate =
      o->one_cycle ? cycle.rate : schedule_cosine(t->step, o->run.warmup, o->run.steps, o->run.rate, o->run.rate_final);
  if (o->one_cycle) t->optimizer.options.beta1 = cycle.beta1;
  if (!s) s = adamw_step(&t->optimizer, p->rate, &p->grad_norm);
  if (!s) t->step++;
  return s;
}

/* Multiplications and additions of one step's matrix products, forward and backward. */
static double step_flops(const trainer *t) {
  const image_tower_config *k = &t->model.config.tower;
  double weights = 0;
  for (size_t i = 0; i < t->model.params.n; i++) {
    const param *p = &t->model.params.item[i];
    if (p->spec->class == PARAM_MATRIX || p->spec->class == PARAM_LOW_RANK) weights += (double)tensor_count(p->value);
  }
  return 6 * weights * t->o.run.batch * k->grid_h * k->grid_w;
}

static void report(trainer *t, const classifier_progress *last) {
  run_report r;
  if (!run_tally_add(&t->sum, (const double[RUN_LOSSES]){last->loss}, step_flops(t), t->step, t->o.run.steps, &r) ||
      !t->o.progress)
    return;
  classifier_progress p = *last;
  p.step = t->step;
  p.steps = t->o.run.steps;
  p.loss = r.loss[0];
  p.pictures_per_second = r.steps_per_second * t->o.run.batch;
  p.seconds_left = r.seconds_left;
  p.gflops = r.gflops;
  t->o.progress(t->o.user, &p);
}

/* The pictures held back. */
static status check(const trainer *t) {
  if (!t->o.check_every || !t->o.hold || !t->o.checked || (t->step % t->o.check_every && t->step != t->o.run.steps))
    return STATUS_OK;
  classifier_report r;
  const status s = classifier_task(&t->model, t->set, t->n, (size_t)t->o.hold, &(task_options){0}, &r);
  if (!s) t->o.checked(t->o.user, t->step, &r);
  return s;
}

static status advance(void *user) {
  trainer *t = user;
  classifier_progress p = {0};
  status s = make_batch(t);
  if (!s) s = learn(t, &p);
  if (s) return s;
  report(t, &p);
  return check(t);
}

status classifier_train(const classifier_train_options *options) {
  trainer t = {.o = *options};
  status s = begin(&t);
  t.sum = run_tally_begin(t.step);
  const run_work work = {&t.step, t.file, advance, save_checkpoint, save_model, &t};
  if (!s) s = run_steps(&t.o.run, &work);
  end(&t);
  return s;
}
