/* linnet bench lm: tokens a second of a text model, prompts (pp512: so many tokens are read, and the logits after the
 * last one computed) and answers (tg128: so many tokens one after the other, with the logits after each), by the way
 * that generate takes. Drawing tokens is not in it. Each test stands beside the limit of the same minutes: an answer
 * beside reading memory, since each token needs all weights but the table of embeddings once; a prompt beside the
 * fastest instruction that computes with weights of its type. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/args.h"
#include "apps/bench.h"
#include "apps/interrupt.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "apps/random_model.h"
#include "apps/synthetic.h"
#include "linnet.h"
#include "lm/text.h"
#include "weights/packing.h"

enum { MOST_TESTS = 16, LONGEST = 1 << 20, RUNS = 7 };

typedef struct {
  int prompt, answer;           /* tokens; one of them is 0 */
  double *rate, *limit, *share; /* of each round: tokens a second, operations or bytes a second, and what is reached */
} test;

typedef struct {
  const bench_options *o;
  int runs, n_tests;
  test tests[MOST_TESTS];
  checkpoint *file;
  text_model *model;
  ctx *c;
  rwkv_state state;
  int32_t *ids; /* of the longest test */
  float *logits;
  limit_buffer buffer;
  double open_seconds;
  /* of the model */
  checkpoint_dtype type;         /* of most of its matrices' values */
  peak_kind kind;                /* that prompts are computed with */
  double bytes, parameters;      /* of all tensors */
  double token_bytes;            /* that a token needs */
  double body_flops, head_flops; /* of products: of a token, and of the logits after one */
} bench;

static bool is_answer(const test *t) { return t->answer > 0; }
static int length_of(const test *t) { return is_answer(t) ? t->answer : t->prompt; }

/* --- what to measure ---------------------------------------------------------------------------------------------- */

/* "512,1024": numbers, of which 0 stands for no test. */
static status parse_tests(bench *b, const char *list, bool answers) {
  char word[16];
  for (const char *at = list, *end; at; at = *end ? end + 1 : NULL) {
    end = strchr(at, ',') ? strchr(at, ',') : at + strlen(at);
    int64_t n;
    snprintf(word, sizeof word, "%.*s", (int)(end - at < 15 ? end - at : 15), at);
    if (!number_whole(word, 0, LONGEST, &n))
      return fail(STATUS_ARGUMENT, "expected numbers of tokens from 0 to %d, found '%s'", LONGEST, list);
    if (!n) continue;
    if (b->n_tests == MOST_TESTS) return fail(STATUS_ARGUMENT, "more than %d tests", MOST_TESTS);
    b->tests[b->n_tests++] = answers ? (test){.answer = (int)n} : (test){.prompt = (int)n};
  }
  return STATUS_OK;
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

/* Sums over the tensors of the file that are the model's parameters. */
static status describe(bench *b) {
  const rwkv *m = &b->model->lm;
  double of_type[CHECKPOINT_DTYPES] = {0}, row_bytes = 0;
  for (size_t i = 0; i < b->model->params.n; i++) {
    const param *p = &b->model->params.item[i];
    const param_class class = p->spec->class;
    const checkpoint_tensor *t = checkpoint_find(b->file, p->name);
    if (!t) return last_status();
    const double n = (double)checkpoint_elements(t);
    b->bytes += (double)t->bytes;
    b->parameters += n;
    if (class == PARAM_EMBEDDING)
      row_bytes = (double)t->bytes / (double)t->dim[0];
    else
      b->token_bytes += (double)t->bytes;
    if (class == PARAM_MATRIX) of_type[t->dtype] += n;
  }
  for (int type = 0; type < CHECKPOINT_DTYPES; type++)
    if (of_type[type] > of_type[b->type]) b->type = (checkpoint_dtype)type;
  dtype kept = DTYPE_F32;
  b->kind = limit_kind(packed_type(b->type, &kept) ? kept : DTYPE_F32);
  b->token_bytes += row_bytes;
  b->head_flops = 2.0 * m->config.vocab_size * m->config.n_embd;
  b->body_flops = 2 * weights_of_products(&b->model->params, m->emb) - b->head_flops;
  return STATUS_OK;
}

/* What a test needs in all: operations of products, or bytes to read. */
static double work_of(const bench *b, const test *t) {
  return is_answer(t) ? t->answer * b->token_bytes : t->prompt * b->body_flops + b->head_flops;
}

static status open_model(bench *b, const char *path) {
  const double start = clock_seconds();
  if (!(b->file = checkpoint_open(path))) return last_status();
  if (!(b->model = text_model_load(b->file, b->o->vocabulary))) return last_status();
  b->open_seconds = clock_seconds() - start;
  return describe(b);
}

/* The sums of memory are read in as many bytes as the weights have, within bounds: not out of a cache. */
static status prepare(bench *b) {
  enum { LEAST = 256000000, MOST = 2000000000 };
  const size_t bytes = b->bytes < LEAST ? LEAST : b->bytes > MOST ? MOST : (size_t)b->bytes / 64 * 64;
  const int vocabulary = b->model->lm.config.vocab_size;
  int longest = 1;
  bool answers = false;
  for (int i = 0; i < b->n_tests; i++) {
    test *t = &b->tests[i];
    if (!(t->rate = mem_alloc(3 * (size_t)b->runs, sizeof *t->rate))) return STATUS_MEMORY;
    t->limit = t->rate + b->runs;
    t->share = t->limit + b->runs;
    answers |= is_answer(t);
    if (length_of(t) > longest) longest = length_of(t);
  }
  b->ids = mem_alloc((size_t)longest, sizeof *b->ids);
  b->logits = mem_alloc((size_t)vocabulary, sizeof *b->logits);
  b->c = ctx_new();
  if (!b->ids || !b->logits || !b->c) return STATUS_MEMORY;
  rng random = rng_make(1, 0);
  for (int i = 0; i < longest; i++) b->ids[i] = (int32_t)rng_below(&random, (uint32_t)vocabulary);
  const status s = rwkv_state_new(&b->state, &b->model->lm.config, 1);
  return s || !answers ? s : limit_buffer_new(&b->buffer, bytes);
}

static void close_all(bench *b) {
  for (int i = 0; i < b->n_tests; i++) free(b->tests[i].rate);
  limit_buffer_free(&b->buffer);
  rwkv_state_free(&b->state);
  ctx_free(b->c);
  free(b->logits);
  free(b->ids);
  text_model_close(b->model);
  checkpoint_close(b->file);
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

/* Reads `n` tokens, `step` at a time, each time with logits. */
static status read_tokens(bench *b, int n, int step) {
  status s = STATUS_OK;
  for (int at = 0; !s && at < n; at += step) {
    s = rwkv_read(b->c, &b->model->lm, b->ids + at, step, NULL, b->o->chunk, &b->state, b->logits);
    if (!s && interrupted) s = fail(STATUS_INTERRUPTED, "stopped");
  }
  return s;
}

static double limit_now(const bench *b, const test *t) {
  return is_answer(t) ? limit_read_rate(&b->buffer) : limit_peak(b->kind);
}

/* One round of a test, between two measurements of its limit. */
static status run_test(bench *b, test *t, int round) {
  rwkv_state_start(&b->state, &b->model->lm);
  const double before = limit_now(b, t), start = clock_seconds();
  const status s = read_tokens(b, length_of(t), is_answer(t) ? 1 : t->prompt);
  const double seconds = clock_seconds() - start, limit = (before + limit_now(b, t)) / 2;
  t->rate[round] = length_of(t) / seconds;
  t->limit[round] = limit;
  t->share[round] = work_of(b, t) / seconds / limit;
  return s ? s : params_check_result(b->logits, (size_t)b->model->lm.config.vocab_size);
}

/* A little of every test, so that what is slow only once is over. */
static status warm_up(bench *b) {
  status s = STATUS_OK;
  for (int i = 0; !s && i < b->n_tests; i++) {
    const test *t = &b->tests[i];
    rwkv_state_start(&b->state, &b->model->lm);
    limit_now(b, t);
    s = is_answer(t) ? read_tokens(b, 1, 1) : read_tokens(b, t->prompt, t->prompt);
  }
  return s;
}

static status run_tests(bench *b) {
  status s = warm_up(b);
  for (int round = 0; round < b->runs; round++)
    for (int i = 0; !s && i < b->n_tests; i++) s = run_test(b, &b->tests[i], round);
  return s;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

/* The processor's name where the system says it; "" elsewhere. */
static json_t *cpu_name(void) {
  char line[512];
  const char *found = "";
  FILE *f = fopen("/proc/cpuinfo", "r");
  while (f && !*found && fgets(line, sizeof line, f)) {
    char *value = strchr(line, ':');
    if (strncmp(line, "model name", 10) || !value) continue;
    value[strcspn(value, "\n")] = 0;
    found = value + strspn(value, ": \t");
  }
  if (f) fclose(f);
  return json_text(found);
}

static json_t *today(void) {
  char text[32];
  const time_t now = time(NULL);
  struct tm parts;
  return json_text(gmtime_r(&now, &parts) && strftime(text, sizeof text, "%Y-%m-%d", &parts) ? text : "");
}

/* The values in the order of the rounds are in the report before they are sorted for the median. */
static json_t *test_json(const bench *b, test *t) {
  char name[32];
  const int n = b->runs;
  const double unit = is_answer(t) ? t->answer : t->prompt;
  snprintf(name, sizeof name, "%s%d", is_answer(t) ? "tg" : "pp", length_of(t));
  json_t *found = json_pack("{s:s,s:i,s:i,s:o,s:o,s:o,s:o,s:o}", "test", name, "n_prompt", t->prompt, "n_gen",
                            t->answer, "avg_ts", json_number(mean(t->rate, n)), "stddev_ts",
                            json_number(deviation(t->rate, n)), "samples_ts", json_rounds(t->rate, n), "samples_limit",
                            json_rounds(t->limit, n), "samples_share", json_rounds(t->share, n));
  const double rate = median(t->rate, n);
  json_object_set_new(found, "median_ts", json_number(rate));
  json_object_set_new(found, "limit_of", json_string(is_answer(t) ? "reading memory" : limit_peak_name(b->kind)));
  json_object_set_new(found, "limit_unit", json_string(is_answer(t) ? "bytes/s" : "operations/s"));
  json_object_set_new(found, "reached", json_number(rate * work_of(b, t) / unit));
  json_object_set_new(found, "limit", json_number(median(t->limit, n)));
  json_object_set_new(found, "share", json_number(median(t->share, n)));
  return found;
}

static json_t *report(bench *b, const char *path) {
  char name[64];
  const char *type = checkpoint_dtype_name(b->type);
  if (b->parameters < 1e9)
    snprintf(name, sizeof name, "RWKV-%d %.0fM %s", b->model->lm.config.version, 1e-6 * b->parameters, type);
  else
    snprintf(name, sizeof name, "RWKV-%d %.1fB %s", b->model->lm.config.version, 1e-9 * b->parameters, type);
  json_t *tests = json_array();
  for (int i = 0; i < b->n_tests; i++) json_array_append_new(tests, test_json(b, &b->tests[i]));
  return json_pack("{s:s,s:o,s:o,s:o,s:o,s:s,s:b,s:o,s:o,s:o,s:o,s:s,s:s,s:o,s:s,s:i,s:i,s:i,s:o}", "model", name,
                   "file", json_text(path), "date", today(), "bytes", json_integer((json_int_t)b->bytes), "parameters",
                   json_integer((json_int_t)b->parameters), "type", type, "interleaved",
                   checkpoint_is_interleaved(b->file), "open_seconds", json_number(b->open_seconds), "token_bytes",
                   json_integer((json_int_t)b->token_bytes), "token_operations",
                   json_integer((json_int_t)b->body_flops), "logits_operations",
                   json_integer((json_int_t)b->head_flops), "build", "linnet " LINNET_VERSION, "compiler", __VERSION__,
                   "cpu", cpu_name(), "kernels", cpu_report(), "threads", omp_get_max_threads(), "chunk", b->o->chunk,
                   "rounds", b->runs, "tests", tests);
}

static json_t *measure_model(const bench_options *o, const char *path) {
  bench b = {.o = o, .runs = runs_or(o, RUNS)};
  json_t *found = NULL;
  status s = parse_tests(&b, o->prompts, false);
  if (!s) s = parse_tests(&b, o->answers, true);
  if (!s) s = open_model(&b, path);
  if (!s) s = prepare(&b);
  if (!s) s = run_tests(&b);
  if (!s) found = report(&b, o->synthetic && !o->keep ? "a made-up file" : path);
  close_all(&b);
  return found;
}

static json_t *measure_made(const bench_options *o) {
  const synthetic_model made = {.shape = o->synthetic, .type = o->type, .layout = o->layout};
  char folder[4096] = "", path[4096 + 16];
  if (!o->keep && make_folder(folder, sizeof folder)) return NULL;
  if (!o->keep) snprintf(path, sizeof path, "%s/made.gguf", folder);
  const char *at = o->keep ? o->keep : path;
  json_t *found = synthetic_make(&made, at) ? NULL : measure_model(o, at);
  if (o->keep) return found;
  unlink(path);
  rmdir(folder);
  return found;
}

static json_t *measure(const bench_options *o) {
  watch_interrupts();
  if (o->synthetic && o->file) return fail_null(STATUS_ARGUMENT, "either a file or --synthetic");
  if (!o->synthetic && (o->type || o->layout || o->keep))
    return fail_null(STATUS_ARGUMENT, "--type, --layout and --keep are for --synthetic");
  if (o->synthetic) return measure_made(o);
  const char *path = o->file ? o->file : o->model;
  return path ? measure_model(o, path) : fail_null(STATUS_ARGUMENT, "lm needs a model's file, or --synthetic");
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

static void print_csv(const json_t *found, const json_t *tests) {
  size_t i;
  const json_t *t;
  puts("model,bytes,parameters,type,build,threads,test,avg_ts,stddev_ts,median_ts,limit_of,reached,limit,share");
  json_array_foreach(tests, i, t) printf(
      "\"%s\",%.0f,%.0f,%s,%s,%.0f,%s,%f,%f,%f,%s,%.0f,%.0f,%.4f\n", text_in(found, "model"), number_in(found, "bytes"),
      number_in(found, "parameters"), text_in(found, "type"), text_in(found, "build"), number_in(found, "threads"),
      text_in(t, "test"), number_in(t, "avg_ts"), number_in(t, "stddev_ts"), number_in(t, "median_ts"),
      text_in(t, "limit_of"), number_in(t, "reached"), number_in(t, "limit"), number_in(t, "share"));
}

static void print_markdown(const json_t *found, const json_t *tests) {
  size_t i;
  const json_t *t;
  if (!json_array_size(tests)) {
    printf("%s, %.2f GB: ", text_in(found, "model"), 1e-9 * number_in(found, "bytes"));
    text_line(text_in(found, "file"));
    return;
  }
  puts("| model                  |     size |  params | threads |   test |               t/s |   median | "
       "reached of the limit           | share |");
  puts("| ---------------------- | -------: | ------: | ------: | -----: | ----------------: | -------: | "
       "------------------------------ | ----: |");
  json_array_foreach(tests, i, t) {
    char reached[64];
    const bool answer = number_in(t, "n_gen") > 0;
    snprintf(reached, sizeof reached, "%.1f of %.1f %s%s", 1e-9 * number_in(t, "reached"), 1e-9 * number_in(t, "limit"),
             answer ? "GB/s" : "GOP/s ", answer ? "" : text_in(t, "limit_of"));
    printf("| %-22s | %5.2f GB | %5.0f M | %7.0f | %6s | %8.2f ± %6.2f | %8.2f | %-30s | %5.3f |\n",
           text_in(found, "model"), 1e-9 * number_in(found, "bytes"), 1e-6 * number_in(found, "parameters"),
           number_in(found, "threads"), text_in(t, "test"), number_in(t, "avg_ts"), number_in(t, "stddev_ts"),
           number_in(t, "median_ts"), reached, number_in(t, "share"));
  }
  printf("\n%s, %s, kernels %s\n", text_in(found, "build"), text_in(found, "cpu"), text_in(found, "kernels"));
}

static void print(const bench_options *o, const json_t *found) {
  const json_t *tests = json_object_get(found, "tests");
  if (o->output && !strcmp(o->output, "csv"))
    print_csv(found, tests);
  else
    print_markdown(found, tests);
}

const bench_part bench_lm = {"lm", false, true, measure, print};
