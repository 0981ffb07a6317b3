#include "train/lm_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lm/text.h"
#include "train/lm_data.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/schedule.h"

lm_train_options lm_train_defaults(void) {
  return (lm_train_options){
      .steps = 10000,
      .batch = 16,
      .context = 256,
      .rate = 1e-3,
      .rate_final = 1e-4,
      .warmup = 50,
      .weight_decay = 0.1,
      .clip = 1,
      .beta1 = 0.9,
      .beta2 = 0.99,
      .save_every = 500,
      .eval_every = 500,
      .version = 6,
      .width = 256,
      .layers = 6,
      .head_size = 64,
      .vocabulary = 2048,
  };
}

typedef struct {
  lm_train_options o;
  char *train_path, *validation_path; /* the latter NULL if there is none */
  char *vocabulary;                   /* its text, as the files keep it */
  tokenizer *words;
  lm_text text, validation;
  char digest[LM_DIGEST_TEXT]; /* of the text to learn */
  lm_rows rows;
  param_set params;
  rwkv lm;
  adamw optimizer;
  ctx *c;
  int32_t *ids, *next; /* [batch,context] */
  float *weight;       /* [batch*context] */
  int64_t step;
  char *file; /* the checkpoint's path */
  run_tally sum;
} trainer;

/* --- checkpoints -------------------------------------------------------------------------------------------------- */

/* The options that decide a run's course: written to the checkpoint's metadata and read back on resuming. */
/* clang-format off */
#define OPTION(name, type) RUN_OPTION(lm_train_options, name, type)
static const run_option option_rows[] = {
    OPTION(steps, RUN_LONG), OPTION(batch, RUN_INTEGER), OPTION(context, RUN_INTEGER), OPTION(rate, RUN_NUMBER),
    OPTION(rate_final, RUN_NUMBER), OPTION(warmup, RUN_LONG), OPTION(weight_decay, RUN_NUMBER),
    OPTION(clip, RUN_NUMBER), OPTION(beta1, RUN_NUMBER), OPTION(beta2, RUN_NUMBER), OPTION(seed, RUN_LONG),
};
/* clang-format on */
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };
static const char key_data[] = "linnet.train.data";

static status save(const trainer *t, const char *path, params_file what) {
  run_metadata about;
  run_metadata_make(&about, &t->o, option_rows, OPTION_ROWS, t->step);
  run_metadata_add(&about, key_data, t->digest);
  run_metadata_add(&about, CHECKPOINT_SYSTEM, LM_SYSTEM);
  run_metadata_add(&about, TEXT_VOCABULARY, t->vocabulary);
  what.n_metadata = about.n;
  what.metadata = (const char *const(*)[2])about.pair;
  return params_save(&t->params, path, &what);
}

static status save_checkpoint(void *user) {
  const trainer *t = user;
  param_buffer moments[ADAMW_BUFFERS];
  adamw_buffers(&t->optimizer, moments);
  return save(t, t->file,
              (params_file){.type = CHECKPOINT_F32, .training = true, .n_buffers = ADAMW_BUFFERS, .buffers = moments});
}

static status save_model(void *user) {
  const trainer *t = user;
  char *path = run_path(t->o.out, "lm.gguf");
  if (!path) return STATUS_MEMORY;
  const status s = save(t, path, (params_file){.type = CHECKPOINT_F16});
  free(path);
  return s;
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status check_options(const lm_train_options *o) {
  if (!o->data || !o->out) return fail(STATUS_ARGUMENT, "training needs a text and an output folder");
  if (o->steps < 1 || o->batch < 1 || o->batch > 4096 || o->context < 1 || o->context > 1 << 16 || o->warmup < 0 ||
      o->save_every < 1 || o->eval_every < 0)
    return fail(STATUS_ARGUMENT, "steps, batch, context and save-every must be at least 1, the batch at most 4096, the "
                                 "context at most 65536; warmup and eval-every at least 0");
  if (!(o->rate > 0) || !(o->rate_final >= 0) || !(o->weight_decay >= 0) || !(o->clip >= 0))
    return fail(STATUS_ARGUMENT, "the learning rate must be above 0; its end, weight decay and clip not below");
  if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
    return fail(STATUS_ARGUMENT, "beta1 and beta2 must be at least 0 and below 1");
  if (o->vocabulary < 257) return fail(STATUS_ARGUMENT, "a vocabulary has at least 257 tokens: the bytes and the end");
  return STATUS_OK;
}

static status find_data(trainer *t) {
  struct stat info;
  if (stat(t->o.data, &info) || !S_ISDIR(info.st_mode)) {
    t->train_path = mem_string(t->o.data); /* reading it says what is wrong */
    return t->train_path ? STATUS_OK : STATUS_MEMORY;
  }
  t->train_path = run_path(t->o.data, "train.jsonl");
  t->validation_path = run_path(t->o.data, "validation.jsonl");
  if (!t->train_path || !t->validation_path) return STATUS_MEMORY;
  if (access(t->validation_path, F_OK)) {
    free(t->validation_path);
    t->validation_path = NULL;
  }
  return STATUS_OK;
}

/* The vocabulary that `file` (may be NULL) carries, else the one of --vocab, else a new one. */
static status find_words(trainer *t, const checkpoint *file) {
  const char *kept = file && (t->o.resume || !t->o.vocab) ? checkpoint_metadata(file, TEXT_VOCABULARY) : NULL;
  size_t size;
  status s = STATUS_OK;
  if (kept) {
    s = (t->vocabulary = mem_string(kept)) ? STATUS_OK : STATUS_MEMORY;
  } else if (t->o.vocab && !t->o.resume) {
    tokenizer *given = tokenizer_open(t->o.vocab);
    s = given ? tokenizer_text(given, &t->vocabulary, &size) : last_status();
    tokenizer_free(given);
  } else if (file) {
    s = fail(STATUS_FORMAT, "%s: no '%s' in it: %s", checkpoint_path(file), TEXT_VOCABULARY,
             t->o.resume ? "not a checkpoint of a text model's training" : "name its file with --vocab");
  } else {
    s = lm_vocabulary(t->train_path, t->o.vocabulary, &t->vocabulary);
  }
  if (s) return s;
  const char *name = kept ? checkpoint_path(file) : t->o.vocab ? t->o.vocab : "the new vocabulary";
  t->words = tokenizer_parse(t->vocabulary, strlen(t->vocabulary), name);
  return t->words ? STATUS_OK : last_status();
}

static status read_texts(trainer *t) {
  status s = lm_text_read(&t->text, t->train_path, t->words);
  if (!s && t->validation_path) s = lm_text_read(&t->validation, t->validation_path, t->words);
  if (!s) lm_text_digest(&t->text, t->digest);
  return s;
}

static int multiple_of_32(double x) { return (int)(x / 32) * 32; }
/* Official ranks of version 7: a multiple of 32 near c sqrt(D). */
static int rank7(double c, int width) {
  const int rank = 32 * (int)lround(c * sqrt((double)width) / 32);
  return rank < 32 ? 32 : rank;
}

/* The sizes that the options name and, where they do not, those of the version's official models. */
static rwkv_config config_of(const lm_train_options *o, int tokens) {
  rwkv_config k = {.version = o->version,
                   .n_layer = o->layers,
                   .n_embd = o->width,
                   .dim_att = o->width,
                   .dim_ffn = o->hidden,
                   .head_size = o->version == 4 ? 1 : o->head_size,
                   .vocab_size = tokens};
  const bool narrow = o->version == 5 || o->version == 6;
  if (!k.dim_ffn) k.dim_ffn = narrow && o->width >= 32 ? multiple_of_32(3.5 * o->width) : 4 * o->width;
  if (o->version == 5) k.parts = RWKV5_GATE | RWKV5_CHANNELS;
  if (o->version == 6) {
    k.rank_mix = 32;
    k.rank_decay = 64;
  }
  if (o->version == 7) {
    k.rank_decay = k.rank_rate = rank7(2.5, o->width);
    k.rank_value = rank7(1.7, o->width);
    k.rank_gate = rank7(5, o->width);
  }
  return k;
}

/* `file` NULL: from the options. */
static status declare(trainer *t, const checkpoint *file) {
  const int tokens = (int)tokenizer_size(t->words);
  if (t->o.width < 1 || t->o.width > 1 << 20)
    return fail(STATUS_ARGUMENT, "a model of %d channels: expected 1 to 1048576", t->o.width);
  rwkv_config config = config_of(&t->o, tokens);
  status s = file ? rwkv_config_read(&config, file, "") : STATUS_OK;
  if (!s && config.vocab_size < tokens)
    s = fail(STATUS_ARGUMENT, "%s: the model knows %d tokens, the vocabulary has %d", checkpoint_path(file),
             config.vocab_size, tokens);
  if (!s) s = rwkv_new(&t->lm, &config, "", &t->params);
  if (!s && file) s = params_check(&t->params, file); /* before memory is asked for */
  /* The head of a text model starts larger where there are more tokens than channels. */
  for (size_t i = 0; !s && i < t->params.n; i++)
    if (t->params.item[i].slot == &t->lm.head && tokens > config.n_embd)
      t->params.item[i].gain *= (float)sqrt((double)config.vocab_size / config.n_embd);
  return s ? s : params_allocate(&t->params);
}

static status prepare_optimizer(trainer *t) {
  const lm_train_options *o = &t->o;
  const status s = params_want_grads(&t->params, true);
  return s ? s
           : adamw_new(&t->optimizer, &t->params,
                       &(adamw_options){.beta1 = o->beta1,
                                        .beta2 = o->beta2,
                                        .eps = 1e-18,
                                        .weight_decay = o->weight_decay,
                                        .clip = o->clip,
                                        .recipe = &recipe_rwkv});
}

static status check_digest(const trainer *t, const checkpoint *file) {
  const char *digest = checkpoint_metadata(file, key_data);
  return digest && !strcmp(digest, t->digest)
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "%s: this is not the text that the run of %s began with", t->train_path, t->file);
}

static status begin_resumed(trainer *t) {
  checkpoint *file = checkpoint_open(t->file);
  status s = file ? run_options_read(&t->o, option_rows, OPTION_ROWS, file) : last_status();
  if (!s && check_options(&t->o)) s = fail_within("%s", t->file);
  if (!s) s = run_step_read(&t->step, t->o.steps, file);
  if (!s) s = find_words(t, file);
  if (!s) s = read_texts(t);
  if (!s) s = check_digest(t, file);
  if (!s) s = declare(t, file);
  if (!s) s = params_load(&t->params, file, false, NULL);
  if (!s) s = prepare_optimizer(t);
  if (!s) s = adamw_load(&t->optimizer, file, t->step);
  checkpoint_close(file);
  return s;
}

static status begin_fresh(trainer *t) {
  status s = run_not_there(t->file);
  if (s) return s;
  checkpoint *init = t->o.init ? checkpoint_open(t->o.init) : NULL;
  s = t->o.init && !init ? last_status() : find_words(t, init);
  if (!s) s = read_texts(t);
  if (!s) s = declare(t, init);
  if (!s) params_init(&t->params, t->o.seed);
  if (!s && init) s = params_load(&t->params, init, false, NULL);
  if (!s) s = prepare_optimizer(t);
  checkpoint_close(init);
  return s ? s : run_folder(t->o.out);
}

static status begin(trainer *t) {
  status s = check_options(&t->o);
  if (s) return s;
  if (!(t->file = run_path(t->o.out, RUN_CHECKPOINT)) || !(t->c = ctx_new())) return last_status();
  if ((s = find_data(t))) return s;
  if ((s = t->o.resume ? begin_resumed(t) : begin_fresh(t))) return s;
  const size_t n = (size_t)t->o.batch * (size_t)t->o.context;
  t->ids = mem_alloc(n, sizeof *t->ids);
  t->next = mem_alloc(n, sizeof *t->next);
  t->weight = mem_alloc(n, sizeof *t->weight);
  if (!t->ids || !t->next || !t->weight) return STATUS_MEMORY;
  return lm_rows_new(&t->rows, &t->text, t->o.context, t->o.seed);
}

static void end(trainer *t) {
  free(t->ids), free(t->next), free(t->weight);
  lm_rows_free(&t->rows);
  adamw_free(&t->optimizer);
  rwkv_free(&t->lm);
  params_free(&t->params);
  lm_text_free(&t->text);
  lm_text_free(&t->validation);
  tokenizer_free(t->words);
  ctx_free(t->c);
  free(t->vocabulary), free(t->train_path), free(t->validation_path), free(t->file);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* Cross entropy over the batch that is there, with the weights that are there; NULL with a sentence. */
static tensor *loss_of(trainer *t) {
  ctx *c = t->c;
  const int64_t n = (int64_t)t->o.batch * t->o.context;
  tensor *ids = tensor_wrap(c, DTYPE_I32, t->ids, 2, (int64_t[]){t->o.batch, t->o.context});
  if (!ids) return NULL;
  tensor *logits = rwkv_logits(c, &t->lm, rwkv_forward(c, &t->lm, rwkv_embed(c, &t->lm, ids), NULL));
  return cross_entropy(c, logits, t->next, t->weight, 1e-4f / (float)n);
}

/* Multiplications and additions of one step's matrix products, forward and backward. */
static double step_flops(const trainer *t) {
  double total = 0;
  for (size_t i = 0; i < t->params.n; i++) {
    const param *p = &t->params.item[i];
    if (p->spec->class == PARAM_MATRIX || p->spec->class == PARAM_LOW_RANK)
      total += 6.0 * t->o.batch * t->o.context * (double)tensor_count(p->value);
  }
  return total;
}

static status learn(trainer *t, lm_progress *p) {
  const lm_train_options *o = &t->o;
  const int n = o->batch * o->context;
  lm_rows_make(&t->rows, (uint64_t)t->step * (uint64_t)o->batch, o->batch, t->ids, t->next);
  for (int i = 0; i < n; i++) t->weight[i] = 1 / (float)n;
  params_zero_grads(&t->params);
  ctx_reset(t->c);
  t->c->recording = true;
  tensor *loss = loss_of(t);
  t->c->recording = false;
  if (!loss) return last_status();
  p->loss = f32(loss)[0];
  if (!isfinite(p->loss)) return fail(STATUS_FORMAT, "the loss is not finite at step %lld", (long long)t->step);
  status s = backward(t->c, loss);
  p->rate = schedule_cosine(t->step, o->warmup, o->steps, o->rate, o->rate_final);
  if (!s) s = adamw_step(&t->optimizer, p->rate, &p->grad_norm);
  if (!s) t->step++;
  return s;
}

/* Rows of the validation text, `batch` at a time; weights of 1 sum the nats. */
static status validate(trainer *t) {
  const int T = t->o.context;
  double nats = 0;
  for (size_t row = 0, left = 1; left; row += (size_t)t->o.batch) {
    left = 0;
    for (int b = 0; b < t->o.batch; b++) {
      const int first = b * T, n = lm_text_row(&t->validation, T, row + (size_t)b, t->ids + first, t->next + first);
      for (int i = 0; i < T; i++) t->weight[first + i] = i < n ? 1 : 0;
      left += (size_t)n;
    }
    if (!left) break;
    ctx_reset(t->c);
    const tensor *loss = loss_of(t);
    if (!loss) return last_status();
    nats += (double)f32(loss)[0];
  }
  const double mean = nats / (double)t->validation.n;
  const lm_validation v = {.step = t->step, .loss = mean, .bits_per_byte = lm_bits_per_byte(&t->validation, mean)};
  if (!isfinite(mean)) return fail(STATUS_FORMAT, "the validation loss is not finite at step %lld", (long long)t->step);
  t->o.validated(t->o.user, &v);
  return STATUS_OK;
}

static void report(trainer *t, const lm_progress *last) {
  run_report r;
  if (!run_tally_add(&t->sum, (const double[RUN_LOSSES]){last->loss}, step_flops(t), t->step, t->o.steps, &r) ||
      !t->o.progress)
    return;
  lm_progress p = *last;
  p.step = t->step;
  p.steps = t->o.steps;
  p.loss = r.loss[0];
  p.bits_per_byte = lm_bits_per_byte(&t->text, p.loss);
  p.tokens_per_second = r.steps_per_second * t->o.batch * t->o.context;
  p.seconds_left = r.seconds_left;
  p.gflops = r.gflops;
  t->o.progress(t->o.user, &p);
}

static status advance(void *user) {
  trainer *t = user;
  lm_progress p = {0};
  const status s = learn(t, &p);
  if (s) return s;
  report(t, &p);
  const bool due = t->step == t->o.steps || (t->o.eval_every && t->step % t->o.eval_every == 0);
  return due && t->validation_path && t->o.validated ? validate(t) : STATUS_OK;
}

status lm_train(const lm_train_options *options) {
  trainer t = {.o = *options};
  status s = begin(&t);
  t.sum = run_tally_begin(t.step);
  const run_plan plan = {.step = &t.step,
                         .steps = t.o.steps,
                         .stop_after = t.o.stop_after,
                         .save_every = t.o.save_every,
                         .stop = t.o.stop,
                         .file = t.file,
                         .advance = advance,
                         .save_checkpoint = save_checkpoint,
                         .save_model = save_model,
                         .trainer = &t};
  if (!s) s = run_steps(&plan);
  end(&t);
  return s;
}
