#include "train/lm_train.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"
#include "lm/text.h"
#include "train/lm_data.h"
#include "train/lora.h"
#include "train/optimizer.h"
#include "train/schedule.h"

lm_train_options lm_train_defaults(void) {
  return (lm_train_options){
      .run = {.steps = 10000,
              .batch = 16,
              .rate = 1e-3,
              .rate_final = 1e-4,
              .warmup = 50,
              .weight_decay = 0.1,
              .clip = 1,
              .beta1 = 0.9,
              .beta2 = 0.99,
              .save_every = 500},
      .context = 256,
      .eval_every = 500,
      .version = 6,
      .width = 256,
      .layers = 6,
      .head_size = 64,
      .vocabulary = 2048,
  };
}

static const char *const trained_words[LM_TRAINS] = {"all", "states", "lora"};

status lm_trained_named(const char *word, lm_trained *what) {
  for (int i = 0; i < LM_TRAINS; i++)
    if (!strcmp(word, trained_words[i])) {
      *what = (lm_trained)i;
      return STATUS_OK;
    }
  return fail(STATUS_ARGUMENT, "'%.30s' cannot be trained; there are: all, states, lora", word);
}

/* States: as the official trainer has it. */
lm_train_options lm_train_defaults_for(lm_trained what) {
  lm_train_options o = lm_train_defaults();
  o.what = what;
  if (what == LM_TRAIN_ALL) return o;
  o.run.rate = what == LM_TRAIN_STATES ? 1 : 2e-4;
  o.run.rate_final = what == LM_TRAIN_STATES ? 1e-2 : 2e-5;
  o.run.warmup = 10;
  o.run.weight_decay = 0;
  o.run.steps = 1000;
  if (what == LM_TRAIN_LORA) {
    o.rank = 8;
    o.alpha = 16;
  }
  return o;
}

enum { IDENTITY_TEXT = 17 };

typedef struct {
  lm_train_options o;
  char *validation_path; /* NULL if there is none */
  char *vocabulary;      /* its text, as the files keep it */
  tokenizer *words;
  lm_text text, validation;
  char digest[LM_DIGEST_TEXT]; /* of the text to learn */
  lm_rows rows;
  param_set params; /* of the model */
  rwkv lm;
  char *base; /* the frozen model's file; NULL if all is trained */
  char identity[IDENTITY_TEXT];
  param_set states;
  lora factors;
  param_set *trained; /* one of `params`, `states` and the factors' */
  rwkv_state carried; /* where the next rows begin, of a run that carries it */
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
#define LATER(name, type) RUN_LATER_OPTION(lm_train_options, name, type)
static const run_option option_rows[] = {
    RUN_SETTINGS(lm_train_options), OPTION(context, RUN_INTEGER), LATER(carry, RUN_SWITCH), LATER(rank, RUN_INTEGER),
    LATER(alpha, RUN_NUMBER),
};
/* clang-format on */
enum { OPTION_ROWS = sizeof option_rows / sizeof *option_rows };
static const char key_data[] = "linnet.train.data", key_what[] = "linnet.train.what"; /* absent: all */
static const char key_base[] = "linnet.train.base", key_identity[] = "linnet.train.base_identity";
static const char name_carried[] = "carried.state";

/* `whole`: a file of a model or of a run, not what is laid over a model. */
static status save(const trainer *t, const param_set *set, const char *path, params_file what, bool whole) {
  run_metadata about;
  run_metadata_make(&about, &t->o, option_rows, OPTION_ROWS, t->step);
  run_metadata_add(&about, key_data, t->digest);
  run_metadata_add(&about, key_what, trained_words[t->o.what]);
  if (t->base) run_metadata_add(&about, key_identity, t->identity);
  if (t->base && what.training) run_metadata_add(&about, key_base, t->base);
  if (whole) {
    run_metadata_add(&about, CHECKPOINT_SYSTEM, LM_SYSTEM);
    run_metadata_add(&about, TEXT_VOCABULARY, t->vocabulary);
  }
  what.n_metadata = about.n;
  what.metadata = (const char *const(*)[2])about.pair;
  return params_save(set, path, &what);
}

static status save_checkpoint(void *user) {
  const trainer *t = user;
  param_buffer moments[ADAMW_BUFFERS];
  const param_extra carried = {name_carried, t->carried.memory, t->o.carry ? rwkv_state_size(&t->carried) : 0};
  params_file what = adamw_checkpoint(&t->optimizer, moments);
  what.n_extra = t->o.carry;
  what.extra = &carried;
  return save(t, t->trained, t->file, what, true);
}

/* A model as f16, what is laid over one as f32. */
static status save_for_use(const trainer *t, const param_set *set, const char *name, bool model) {
  char *path = run_path(t->o.run.out, name);
  if (!path) return STATUS_MEMORY;
  const status s = save(t, set, path, (params_file){.type = model ? CHECKPOINT_F16 : CHECKPOINT_F32}, model);
  free(path);
  return s;
}

static status save_model(void *user) {
  const trainer *t = user;
  if (t->o.what == LM_TRAIN_ALL) return save_for_use(t, &t->params, "lm.gguf", true);
  if (t->o.what == LM_TRAIN_STATES) return save_for_use(t, &t->states, "states.gguf", false);
  status s = save_for_use(t, &t->factors.factors, "lora.safetensors", false);
  if (s) return s;
  param_set merged = t->params;
  if (!(merged.values = lora_merged(&t->factors, t->c))) return last_status();
  s = save_for_use(t, &merged, "lm.gguf", true);
  free(merged.values);
  return s;
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static status check_what(const lm_train_options *o) {
  if (o->what == LM_TRAIN_LORA && (o->rank < 1 || o->rank > 1 << 16 || !(o->alpha > 0)))
    return fail(STATUS_ARGUMENT, "LoRA's factors need a rank from 1 to 65536 and an alpha above 0");
  if (o->what != LM_TRAIN_LORA && (o->rank || o->alpha != 0))
    return fail(STATUS_ARGUMENT, "a rank and an alpha are for LoRA's factors alone, which are not trained here");
  if (o->what == LM_TRAIN_STATES && o->carry)
    return fail(STATUS_ARGUMENT, "rows whose states are carried on do not begin from the initial states to be trained");
  if (o->what != LM_TRAIN_ALL && !o->run.resume && !o->init)
    return fail(STATUS_ARGUMENT, "%s are trained for a model that is there: name its file with --init",
                o->what == LM_TRAIN_LORA ? "LoRA's factors" : "initial states");
  return STATUS_OK;
}

static status check_options(const lm_train_options *o) {
  if (!o->data) return fail(STATUS_ARGUMENT, "training needs a text");
  if (o->context < 1 || o->context > 1 << 16 || o->eval_every < 0)
    return fail(STATUS_ARGUMENT, "the context must be from 1 to 65536, eval-every at least 0");
  if (o->vocabulary < 257) return fail(STATUS_ARGUMENT, "a vocabulary has at least 257 tokens: the bytes and the end");
  const status s = run_settings_check(&o->run);
  return s ? s : check_what(o);
}

/* The vocabulary that `file` (may be NULL) carries, else the one of --vocab, else a new one. */
static status find_words(trainer *t, const checkpoint *file) {
  const char *kept = file && (t->o.run.resume || !t->o.vocab) ? checkpoint_metadata(file, TEXT_VOCABULARY) : NULL;
  size_t size;
  status s = STATUS_OK;
  if (kept) {
    s = (t->vocabulary = mem_string(kept)) ? STATUS_OK : STATUS_MEMORY;
  } else if (t->o.vocab && !t->o.run.resume) {
    tokenizer *given = tokenizer_open(t->o.vocab);
    s = given ? tokenizer_text(given, &t->vocabulary, &size) : last_status();
    tokenizer_free(given);
  } else if (file) {
    s = fail(STATUS_FORMAT, "%s: no '%s' in it: %s", checkpoint_path(file), TEXT_VOCABULARY,
             t->o.run.resume ? "not a checkpoint of a text model's training" : "name its file with --vocab");
  } else {
    s = lm_vocabulary(t->o.data, t->o.vocabulary, &t->vocabulary);
  }
  if (s) return s;
  const char *name = kept ? checkpoint_path(file) : t->o.vocab ? t->o.vocab : "the new vocabulary";
  t->words = tokenizer_parse(t->vocabulary, strlen(t->vocabulary), name);
  return t->words ? STATUS_OK : last_status();
}

static status read_texts(trainer *t) {
  status s = lm_text_read(&t->text, t->o.data, t->words);
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

rwkv_config lm_config(const lm_train_options *o, int tokens) {
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
  rwkv_config config = lm_config(&t->o, tokens);
  status s = file ? rwkv_config_read(&config, file, "") : STATUS_OK;
  if (t->o.what == LM_TRAIN_STATES) config.parts &= ~(unsigned)RWKV_START; /* they are a set of their own */
  if (!s && t->o.what == LM_TRAIN_ALL && t->o.carry && config.parts & RWKV_START)
    s = fail(STATUS_ARGUMENT, "%s: has trained initial states, but rows whose states are carried on do not begin there",
             checkpoint_path(file));
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

/* What learns, and its optimizer; the model is there with its weights. */
static status prepare(trainer *t) {
  const lm_train_options *o = &t->o;
  status s = STATUS_OK;
  if (o->what == LM_TRAIN_STATES) {
    s = rwkv_declare_start(&t->lm, "", &t->states);
    if (!s) s = params_allocate(&t->states);
    t->trained = &t->states;
  } else if (o->what == LM_TRAIN_LORA) {
    s = lora_new(&t->factors, &t->params, o->rank, o->alpha);
    t->trained = &t->factors.factors;
  } else {
    t->trained = &t->params;
  }
  if (!s && o->carry) s = rwkv_state_new(&t->carried, &t->lm.config, o->run.batch);
  if (!s && o->carry) rwkv_state_start(&t->carried, &t->lm);
  return s ? s : adamw_of_run(&t->optimizer, t->trained, &o->run, 1e-18, &recipe_rwkv);
}

static status check_digest(const trainer *t, const checkpoint *file) {
  const char *digest = checkpoint_metadata(file, key_data);
  return digest && !strcmp(digest, t->digest)
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "%s: this is not the text that the run of %s began with", t->o.data, t->file);
}

static status read_options(trainer *t, const checkpoint *file) {
  const char *what = checkpoint_metadata(file, key_what);
  status s = run_options_read(&t->o, option_rows, OPTION_ROWS, file);
  t->o.what = LM_TRAIN_ALL;
  if (!s && ((what && lm_trained_named(what, &t->o.what)) || check_options(&t->o))) s = fail_within("%s", t->file);
  return s ? s : run_step_read(&t->step, t->o.run.steps, file);
}

static void identify(trainer *t) { snprintf(t->identity, sizeof t->identity, "%016" PRIx64, rwkv_identity(&t->lm)); }

/* The model with its weights: the checkpoint's own, or those of the file that it names. */
static status resume_model(trainer *t, const checkpoint *file) {
  const char *name = checkpoint_metadata(file, key_base), *identity = checkpoint_metadata(file, key_identity);
  if (t->o.what == LM_TRAIN_ALL) {
    const status s = declare(t, file);
    return s ? s : params_load(&t->params, file, false, NULL);
  }
  if (!name || !identity)
    return fail(STATUS_FORMAT, "%s: does not say whose %s these are", t->file, trained_words[t->o.what]);
  checkpoint *base = (t->base = mem_string(name)) ? checkpoint_open(name) : NULL;
  status s = base ? declare(t, base) : last_status();
  if (!s) s = params_load(&t->params, base, false, NULL);
  checkpoint_close(base);
  if (s) return s;
  identify(t);
  return strcmp(t->identity, identity)
             ? fail(STATUS_ARGUMENT, "%s: this is not the model that the run of %s began with", name, t->file)
             : STATUS_OK;
}

static status begin_resumed(trainer *t) {
  checkpoint *file = checkpoint_open(t->file);
  status s = file ? read_options(t, file) : last_status();
  if (!s) s = find_words(t, file);
  if (!s) s = read_texts(t);
  if (!s) s = check_digest(t, file);
  if (!s) s = resume_model(t, file);
  if (!s) s = prepare(t);
  if (!s && t->base) s = params_load(t->trained, file, false, NULL);
  if (!s) s = adamw_load(&t->optimizer, file, t->step);
  if (!s && t->o.carry) s = params_load_extra(file, name_carried, t->carried.memory, rwkv_state_size(&t->carried));
  checkpoint_close(file);
  return s;
}

/* A frozen model's file is noted by its whole name, so that resuming finds it from elsewhere. */
static status freeze(trainer *t) {
  identify(t);
  char whole[PATH_MAX];
  if (!(t->base = mem_string(realpath(t->o.init, whole) ? whole : t->o.init))) return STATUS_MEMORY;
  return utf8_valid(t->base, strlen(t->base))
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "%s: a checkpoint can only name a file whose path is UTF-8", t->base);
}

static status begin_fresh(trainer *t) {
  status s = run_not_there(t->file);
  if (s) return s;
  checkpoint *init = t->o.init ? checkpoint_open(t->o.init) : NULL;
  s = t->o.init && !init ? last_status() : find_words(t, init);
  if (!s) s = read_texts(t);
  if (!s) s = declare(t, init);
  if (!s) params_init(&t->params, t->o.run.seed);
  if (!s && init) s = params_load(&t->params, init, false, NULL);
  if (!s && t->o.what != LM_TRAIN_ALL) s = freeze(t);
  if (!s) s = prepare(t);
  if (!s && t->base) params_init(t->trained, t->o.run.seed);
  if (!s && t->o.what == LM_TRAIN_STATES) s = params_load(t->trained, init, true, NULL); /* states it may have */
  checkpoint_close(init);
  return s ? s : run_folder(t->o.run.out);
}

static status begin(trainer *t) {
  status s = check_options(&t->o);
  if (s) return s;
  if (!(t->file = run_path(t->o.run.out, RUN_CHECKPOINT)) || !(t->c = ctx_new())) return last_status();
  if ((s = lm_validation_file(t->o.data, &t->validation_path))) return s;
  if ((s = t->o.run.resume ? begin_resumed(t) : begin_fresh(t))) return s;
  const size_t n = (size_t)t->o.run.batch * (size_t)t->o.context;
  t->ids = mem_alloc(n, sizeof *t->ids);
  t->next = mem_alloc(n, sizeof *t->next);
  t->weight = mem_alloc(n, sizeof *t->weight);
  if (!t->ids || !t->next || !t->weight) return STATUS_MEMORY;
  return t->o.carry ? STATUS_OK : lm_rows_new(&t->rows, &t->text, t->o.context, t->o.run.seed);
}

static void end(trainer *t) {
  free(t->ids), free(t->next), free(t->weight);
  lm_rows_free(&t->rows);
  adamw_free(&t->optimizer);
  rwkv_state_free(&t->carried);
  lora_free(&t->factors);
  params_free(&t->states);
  rwkv_free(&t->lm);
  params_free(&t->params);
  lm_text_free(&t->text);
  lm_text_free(&t->validation);
  tokenizer_free(t->words);
  ctx_free(t->c);
  free(t->base), free(t->vocabulary), free(t->validation_path), free(t->file);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* Cross entropy over the batch that is there, with the weights that are there, from `state` (may be NULL) on; NULL with
 * a sentence. */
static tensor *loss_of(trainer *t, rwkv_state *state) {
  ctx *c = t->c;
  const int64_t n = (int64_t)t->o.run.batch * t->o.context;
  tensor *ids = tensor_wrap(c, DTYPE_I32, t->ids, 2, (int64_t[]){t->o.run.batch, t->o.context});
  if (!ids || (t->o.what == LM_TRAIN_LORA && lora_apply(&t->factors, c))) return NULL;
  tensor *x = rwkv_forward(c, &t->lm, rwkv_embed(c, &t->lm, ids), &(rwkv_input){.state = state});
  tensor *logits = rwkv_logits(c, &t->lm, x);
  lora_remove(&t->factors);
  return cross_entropy(c, logits, t->next, t->weight, 1e-4f / (float)n);
}

/* Multiplications and additions of one step's matrix products, forward and backward: twice 2 a weight and token, once
 * more where the weight learns. */
static double step_flops(const trainer *t) {
  const double tokens = (double)t->o.run.batch * t->o.context;
  double total = 0;
  for (size_t i = 0; i < t->params.n; i++) {
    const param *p = &t->params.item[i];
    if (p->spec->class == PARAM_MATRIX || p->spec->class == PARAM_LOW_RANK)
      total += (p->value->needs_grad ? 6 : 4) * tokens * (double)tensor_count(p->value);
  }
  for (size_t i = 0; i < t->factors.n; i++) {
    const double size = (double)tensor_count(t->params.item[t->factors.pair[i].adapted].value);
    total += (2 * tokens + 6.0 * t->o.rank) * size;
  }
  return total;
}

static status learn(trainer *t, lm_progress *p) {
  const lm_train_options *o = &t->o;
  const int n = o->run.batch * o->context;
  if (o->carry)
    lm_streams_make(&t->text, o->run.seed, (uint64_t)t->step, o->run.batch, o->context, t->ids, t->next);
  else
    lm_rows_make(&t->rows, (uint64_t)t->step * (uint64_t)o->run.batch, o->run.batch, t->ids, t->next);
  for (int i = 0; i < n; i++) t->weight[i] = 1 / (float)n;
  params_zero_grads(t->trained);
  ctx_reset(t->c);
  t->c->recording = true;
  tensor *loss = loss_of(t, o->carry ? &t->carried : NULL);
  t->c->recording = false;
  if (!loss) return last_status();
  p->loss = f32(loss)[0];
  if (!isfinite(p->loss)) return fail(STATUS_FORMAT, "the loss is not finite at step %lld", (long long)t->step);
  status s = backward(t->c, loss);
  p->rate = schedule_cosine(t->step, o->run.warmup, o->run.steps, o->run.rate, o->run.rate_final);
  if (!s) s = adamw_step(&t->optimizer, p->rate, &p->grad_norm);
  if (!s) t->step++;
  return s;
}

/* Rows of the validation text, `batch` at a time; weights of 1 sum the nats. */
static status validate(trainer *t) {
  const int T = t->o.context;
  double nats = 0;
  for (size_t row = 0, left = 1; left; row += (size_t)t->o.run.batch) {
    left = 0;
    for (int b = 0; b < t->o.run.batch; b++) {
      const int first = b * T, n = lm_text_row(&t->validation, T, row + (size_t)b, t->ids + first, t->next + first);
      for (int i = 0; i < T; i++) t->weight[first + i] = i < n ? 1 : 0;
      left += (size_t)n;
    }
    if (!left) break;
    ctx_reset(t->c);
    const tensor *loss = loss_of(t, NULL);
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
  if (!run_tally_add(&t->sum, (const double[RUN_LOSSES]){last->loss}, step_flops(t), t->step, t->o.run.steps, &r) ||
      !t->o.progress)
    return;
  lm_progress p = *last;
  p.step = t->step;
  p.steps = t->o.run.steps;
  p.loss = r.loss[0];
  p.bits_per_byte = lm_bits_per_byte(&t->text, p.loss);
  p.tokens_per_second = r.steps_per_second * t->o.run.batch * t->o.context;
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
  const bool due = t->step == t->o.run.steps || (t->o.eval_every && t->step % t->o.eval_every == 0);
  return due && t->validation_path && t->o.validated ? validate(t) : STATUS_OK;
}

status lm_train(const lm_train_options *options) {
  trainer t = {.o = *options};
  status s = begin(&t);
  t.sum = run_tally_begin(t.step);
  const run_work work = {&t.step, t.file, advance, save_checkpoint, save_model, &t};
  if (!s) s = run_steps(&t.o.run, &work);
  end(&t);
  return s;
}
