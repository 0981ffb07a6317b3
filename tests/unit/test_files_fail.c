/* Model files on a machine that is out of memory, descriptors or room on the disk. Everything that opens, reads,
 * verifies, converts or writes one is run once to count its allocations and calls to the system, then again and again
 * with each of them failing, alone and with all later ones. Each time it must either give what it gave without, or end
 * with the right status and a sentence; leave the old file as it was, and nothing beside it; and give back every block,
 * descriptor and mapping (under the sanitizer LeakSanitizer looks after the blocks). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include "kernels/file.h"
#include "tests/support/inject.h"
#include "tests/support/model_files.h"
#include "tests/support/scratch.h"
#include "weights/convert.h"
#include "weights/identify.h"
#include "weights/params.h"
#include "weights/statistics.h"

#include <cmocka.h> /* last: it defines fail() as a macro, and ours is (fail)() */

/* --- the library's own work: everything from here to the next rule runs with failures ----------------------------- */

/* One piece of work, and what it needs. `result` takes in everything that it found. */
typedef struct job {
  const char *name;
  status (*run)(const struct job *j, uint64_t *result);
  const char *in, *choice, *out;
  bool fresh; /* there is no old file under the name `out` */
  const convert_options *convert;
  const char *container;
  param_set *set;
  param_buffer *moments;
} job;

static void note(uint64_t *result, const void *bytes, size_t n) { /* FNV-1a */
  for (size_t i = 0; i < n; i++) *result = (*result ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
}
static void note_text(uint64_t *result, const char *text) { note(result, text, strlen(text) + 1); }

/* STATUS_UNSUPPORTED is a result too: not every integer has an f32, not every file a model. */
static status note_status(uint64_t *result, status s) {
  note(result, &s, sizeof s);
  return s == STATUS_UNSUPPORTED ? STATUS_OK : s;
}

static status use_tensor(const checkpoint *c, const checkpoint_tensor *t, uint64_t *result) {
  static uint8_t bytes[1 << 15];
  static float values[1 << 15];
  const size_t unit = checkpoint_dtype_size(t->dtype), half = t->bytes / unit / 2 * unit;
  const size_t n = (size_t)checkpoint_elements(t);
  tensor_statistics s = {0};
  int64_t bad = 0;
  if (t->bytes > sizeof bytes || n > sizeof values / sizeof *values) return (fail)(STATUS_ARGUMENT, "a large tensor");
  note_text(result, t->name);
  note(result, &t->dtype, sizeof t->dtype);
  note(result, t->dim, (size_t)t->n_dims * sizeof *t->dim);
  if (checkpoint_read(c, t, half, t->bytes - half, bytes + half) || checkpoint_read(c, t, 0, half, bytes))
    return last_status();
  note(result, bytes, t->bytes);
  memset(values, 0, n * sizeof *values);
  status got = note_status(result, checkpoint_read_f32(c, t, values));
  note(result, values, n * sizeof *values);
  if (!got) got = note_status(result, tensor_statistics_read(c, t, &s));
  note(result, &s.mean, sizeof s.mean);
  note(result, &s.zeros, sizeof s.zeros);
  if (!got) got = checkpoint_first_nonfinite(c, t, &bad);
  note(result, &bad, sizeof bad);
  return got;
}

static status use_entry(const checkpoint_entry *e, uint64_t *result) {
  note_text(result, e->key);
  note(result, &e->value.type, sizeof e->value.type);
  note(result, e->value.bytes, e->value.size);
  json_t *json = metadata_json(&e->value, 0);
  if (!json) return last_status();
  char *text = json_dumps(json, JSON_ENCODE_ANY);
  json_decref(json);
  if (!text) return (fail)(STATUS_MEMORY, "out of memory for JSON");
  note_text(result, text);
  free(text);
  return STATUS_OK;
}

static status use_identity(const checkpoint *c, uint64_t *result) {
  identity id;
  if (!identify(c, &id)) return note_status(result, last_status());
  note_text(result, id.title);
  note_text(result, id.version);
  for (int i = 0; i < id.n_sizes; i++) {
    note_text(result, id.size[i].name);
    note(result, &id.size[i].value, sizeof id.size[i].value);
  }
  return STATUS_OK;
}

static status use_vocabulary(const checkpoint *c, uint64_t *result) {
  char *text;
  size_t n;
  if (!checkpoint_metadata_find(c, "tokenizer.ggml.tokens")) return STATUS_OK;
  if (llama_layout_vocabulary(c, &text, &n)) return last_status();
  note(result, text, n);
  free(text);
  return STATUS_OK;
}

/* Everything that a loader or a report asks of a file; closes it. */
static status use(checkpoint *c, uint64_t *result) {
  if (!c) return last_status();
  bool has_checksum = false;
  status s = STATUS_OK;
  note_text(result, checkpoint_container(c));
  note_text(result, checkpoint_choices(c));
  note_text(result, checkpoint_prefix(c));
  for (size_t i = 0; !s && i < checkpoint_count(c); i++) s = use_tensor(c, checkpoint_at(c, i), result);
  for (size_t i = 0; !s && i < checkpoint_metadata_count(c); i++) s = use_entry(checkpoint_metadata_at(c, i), result);
  if (!s) s = use_identity(c, result);
  if (!s) s = use_vocabulary(c, result);
  if (!s) s = checkpoint_verify(c, &has_checksum);
  note(result, &has_checksum, sizeof has_checksum);
  checkpoint_close(c);
  return s;
}

static status run_read(const job *j, uint64_t *result) { return use(checkpoint_open_choice(j->in, j->choice), result); }

static status run_parse(const job *j, uint64_t *result) {
  size_t size;
  void *bytes = file_read(j->in, 1 << 20, &size);
  if (!bytes) return last_status();
  const status s = use(checkpoint_parse_choice(bytes, size, j->in, j->choice), result);
  free(bytes);
  return s;
}

static status run_convert(const job *j, uint64_t *result) {
  convert_report report;
  checkpoint *c = checkpoint_open(j->in);
  if (!c) return last_status();
  const status s = convert(c, j->out, j->convert, &report);
  checkpoint_close(c);
  if (!s) note(result, &report.changed, sizeof report.changed);
  return s;
}

static status run_write(const job *j, uint64_t *result) {
  (void)result;
  writer *w = writer_create(j->out, j->container);
  if (!w) return last_status();
  put_odd_model(w); /* each failure stays in the writer */
  return writer_finish(w);
}

/* --- a set of parameters ------------------------------------------------------------------------------------------ */

typedef struct {
  tensor *emb, *patch, *up;
} model;
static const param_spec rows[] = {
    {"emb.weight", offsetof(model, emb), {48, 16}, PARAM_EMBEDDING, init_normal, 1, 0, LAYOUT_SAME},
    {"patch.weight", offsetof(model, patch), {4, 3, 2, 2}, PARAM_MATRIX, init_fan_in, 0, 0, LAYOUT_PATCH},
    {"blocks.%d.up.weight", offsetof(model, up), {8, 4}, PARAM_MATRIX, init_uniform, 1, 0, LAYOUT_TRANSPOSED},
};

static status declare_set(param_set *set, model *m) {
  const int64_t sizes[1] = {0};
  *set = (param_set){0};
  status s = params_declare(set, "m.", rows, 3, -1, 1, sizes, m);
  return s ? s : params_declare(set, "m.", rows, 3, 0, 1, sizes, m);
}

static status make_set(param_set *set, model *m) {
  status s = declare_set(set, m);
  return s ? s : params_allocate(set);
}

static status run_params_save(const job *j, uint64_t *result) {
  (void)result;
  static const char *const metadata[][2] = {{"format", "pt"}, {"step", "12"}};
  const params_file what = {.type = CHECKPOINT_BF16,
                            .training = true,
                            .n_metadata = 2,
                            .metadata = metadata,
                            .n_buffers = 1,
                            .buffers = j->moments};
  return params_save(j->set, j->out, &what);
}

static status load_set(param_set *set, const checkpoint *c, uint64_t *result) {
  size_t n = 0;
  static float moments[1024];
  const param_buffer buffer = {"moment.", moments};
  int64_t dim[2];
  if (set->count > sizeof moments / sizeof *moments) return (fail)(STATUS_ARGUMENT, "a large set");
  if (checkpoint_shape(c, "m.", "emb.weight", 2, dim) || params_check(set, c) || params_load(set, c, false, &n) ||
      params_load_buffer(set, c, &buffer) || params_want_grads(set, true))
    return last_status();
  note(result, &n, sizeof n);
  note(result, set->values, set->count * sizeof *set->values);
  note(result, moments, set->count * sizeof *moments);
  return STATUS_OK;
}

static status run_params_load(const job *j, uint64_t *result) {
  param_set set;
  model m;
  checkpoint *c = checkpoint_open(j->in);
  if (!c) return last_status();
  status s = make_set(&set, &m);
  if (!s) s = load_set(&set, c, result);
  params_free(&set);
  checkpoint_close(c);
  return s;
}

static void note_values(void *result, const float *values, size_t n) { note(result, values, n * sizeof *values); }

static status run_params_open(const job *j, uint64_t *result) {
  param_set set;
  model m;
  checkpoint *c = checkpoint_open(j->in);
  if (!c) return last_status();
  status s = declare_set(&set, &m);
  if (!s) s = params_open(&set, c, PARAMS_FOR_USE);
  checkpoint_close(c);
  if (!s) params_each_value(&set, note_values, result);
  params_free(&set);
  return s;
}

/* --- trying each failure ------------------------------------------------------------------------------------------ */

static const char old_file[] = "years of work";

/* A run without failures: what every other one is held against. */
typedef struct {
  uint64_t result;
  char *file; /* what was written; NULL if nothing */
  size_t size;
  long written;
} outcome;

static int open_descriptors(void) {
  char *folder = "/proc/self/fd";
  return scratch_entries((void **)&folder);
}

static bool file_is(const char *path, const void *bytes, size_t size) {
  size_t n = 0;
  char *have = scratch_read(path, &n);
  const bool same = have ? bytes && n == size && !memcmp(have, bytes, n) : !bytes;
  free(have);
  return same;
}

static void lay_out_old_file(const job *j) {
  if (j->out && j->fresh)
    unlink(j->out);
  else if (j->out && !file_is(j->out, old_file, sizeof old_file))
    scratch_write(j->out, old_file, sizeof old_file);
}

/* What the folder holds after a run: the old file or the new one, whole, and nothing beside. */
static const char *check_folder(void **state, const job *j, const outcome *want, status s, const inject_report *r,
                                int entries) {
  struct stat info;
  const bool is_new = file_is(j->out, want->file, want->size);
  if (!s && !is_new) return "succeeded with another file than without failures";
  if (s && !r->renames && !file_is(j->out, j->fresh ? NULL : old_file, sizeof old_file)) return "lost the old file";
  /* only that the folder could not be synced comes after the file has its name, and is said */
  if (s && r->renames && (!is_new || !strstr(last_error(), "is written, but"))) return "failed after the renaming";
  char temporary[600];
  snprintf(temporary, sizeof temporary, "%s.%ld-0.tmp", j->out, (long)getpid());
  const bool left = !lstat(temporary, &info);
  unlink(temporary);
  if (left && !r->kept) return "left its temporary file";
  if (scratch_entries(state) != entries + (j->fresh && r->renames)) return "left something in the folder";
  return NULL;
}

static const char *check_status(const outcome *want, const inject_plan *plan, status s, uint64_t result) {
  const bool memory = s == STATUS_MEMORY && (plan->kinds & INJECT_MEMORY);
  const bool files = s == STATUS_IO && (plan->kinds & INJECT_FILES || plan->bounded);
  if (!s) return result == want->result ? NULL : "succeeded with another result than without failures";
  if (!memory && !files) return "failed with the wrong status";
  if (last_status() != s) return "returned another status than it left";
  return strlen(last_error()) > 12 ? NULL : "left no sentence";
}

/* Runs the job once under a plan and checks everything that must hold; the report. */
static inject_report attempt(void **state, const job *j, const inject_plan *plan, const outcome *want) {
  uint64_t result = 0;
  lay_out_old_file(j);
  const int entries = scratch_entries(state), descriptors = open_descriptors();
  (fail)(STATUS_OK, "%s", "");
  inject_begin(plan);
  const status s = j->run(j, &result);
  const inject_report r = inject_end();
  const char *wrong = check_status(want, plan, s, result);
  if (!wrong && j->out) wrong = check_folder(state, j, want, s, &r, entries);
  if (!wrong && r.blocks) wrong = "leaks memory";
  if (!wrong && (r.descriptors || open_descriptors() != descriptors)) wrong = "leaks a descriptor";
  if (!wrong && r.mappings) wrong = "leaks a mapping";
  if (wrong)
    fail_msg("%s, %s %ld%s, room %ld: %s (status %d, \"%s\")", j->name,
             plan->kinds == INJECT_MEMORY  ? "allocation"
             : plan->kinds == INJECT_FILES ? "system call"
                                           : "call",
             plan->first, plan->all_later ? " and all later" : "", plan->bounded ? plan->room : -1, wrong, (int)s,
             *last_error() ? last_error() : "no sentence");
  return r;
}

static outcome run_without_failures(const job *j) {
  outcome o = {0};
  for (int i = 0; i < 2; i++) { /* the first run makes what libraries keep for good */
    o.result = 0;
    lay_out_old_file(j);
    inject_begin(&(inject_plan){0});
    const status s = j->run(j, &o.result);
    o.written = inject_end().written;
    if (s) fail_msg("%s: %s", j->name, last_error());
  }
  if (j->out) assert_non_null(o.file = scratch_read(j->out, &o.size));
  return o;
}

static void try_each_failure(void **state, const job *j) {
  const outcome want = run_without_failures(j);
  for (unsigned kinds = INJECT_MEMORY; kinds <= (INJECT_MEMORY | INJECT_FILES); kinds++) {
    const long calls = attempt(state, j, &(inject_plan){.kinds = kinds}, &want).calls;
    if (calls < 4) fail_msg("%s: only %ld calls were seen", j->name, calls);
    for (long k = 1; k <= calls; k++)
      for (int later = kinds == (INJECT_MEMORY | INJECT_FILES); later < 2;
           later++) /* alone it is in one of the kinds */
        attempt(state, j, &(inject_plan){.kinds = kinds, .first = k, .all_later = later}, &want);
  }
  attempt(state, j, &(inject_plan){.in_pieces = true}, &want);
  for (long i = 0; j->out && i < 40; i++) /* the disk is full after so many bytes */
    attempt(state, j, &(inject_plan){.bounded = true, .room = want.written * i / 40}, &want);
  if (j->out) {
    const long least = want.written - 1;
    assert_int_equal(attempt(state, j, &(inject_plan){.bounded = true, .room = least}, &want).renames, 0);
    assert_int_equal(attempt(state, j, &(inject_plan){.bounded = true, .room = least + 1}, &want).renames, 1);
  }
  free(want.file);
}

static char *odd_model(void **state, const char *file) {
  char *path = scratch_path(state, file);
  uint64_t result = 0;
  if (run_write(&(job){.out = path}, &result)) fail_msg("%s", last_error());
  return path;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void try_reading(void **state, const char *name, char *path, const char *choice) {
  try_each_failure(state, &(job){.name = name, .run = run_read, .in = path, .choice = choice});
  free(path);
}

static void test_safetensors(void **state) {
  try_reading(state, "safetensors", odd_model(state, "odd.safetensors"), NULL);
}

static void test_gguf(void **state) { try_reading(state, "gguf", odd_model(state, "odd.gguf"), NULL); }

static void test_shards(void **state) {
  try_reading(state, "an index", finch_shards(state), NULL);
  try_reading(state, "a folder", strdup(*state), NULL);
}

static void test_split(void **state) { try_reading(state, "a split", split_gguf_file(state), NULL); }

static void test_rwkvcpp(void **state) {
  try_reading(state, "rwkv.cpp 6", strdup("tests/fuzz/corpus/bin/v6-q8.bin"), NULL);
  try_reading(state, "rwkv.cpp 7", strdup("tests/fuzz/corpus/bin/v7-f16.bin"), NULL);
}

static void test_pth(void **state) {
  try_reading(state, "pth", pth_file(state, "stored.pth", ZIP_CM_STORE), NULL);
  try_reading(state, "deflated pth", pth_file(state, "packed.pth", ZIP_CM_DEFLATE), "ema");
  try_reading(state, "pth of PyTorch", strdup("tests/goldens/rwkv6/tiny-fp32/state.pth"), NULL);
  try_reading(state, "torchscript", strdup("tests/fuzz/corpus/pth/script.pth"), NULL);
}

static void test_parse(void **state) {
  char *files[] = {odd_model(state, "odd.gguf"), pth_file(state, "packed.pth", ZIP_CM_DEFLATE)};
  for (int i = 0; i < 2; i++) {
    try_each_failure(state, &(job){.name = "from memory", .run = run_parse, .in = files[i]});
    free(files[i]);
  }
}

static void test_writer(void **state) {
  char *path = scratch_path(state, "new"), *link = scratch_path(state, "link");
  for (int i = 0; i < 2; i++) {
    job j = {.name = "writing", .run = run_write, .out = path, .container = i ? "gguf" : "safetensors"};
    try_each_failure(state, &j);
    j.fresh = true;
    try_each_failure(state, &j);
  }
  scratch_write(path, old_file, sizeof old_file);
  assert_int_equal(symlink("new", link), 0);
  struct stat info;
  inject_plan plan = {.kinds = INJECT_FILES};
  for (long calls = 1; plan.first <= calls; plan.first++) { /* what a link leads to is replaced, and never the link */
    uint64_t result = 0;
    inject_begin(&plan);
    run_write(&(job){.out = link, .container = "gguf"}, &result);
    calls = inject_end().calls;
    assert_true(!lstat(link, &info) && S_ISLNK(info.st_mode));
  }
  free(path);
  free(link);
}

static const char *byte_token(const void *self, int32_t id, size_t *n) {
  *n = 1;
  return (const char *)self + id;
}

static void test_convert(void **state) {
  static const checkpoint_dtype f16 = CHECKPOINT_F16, q4_k = CHECKPOINT_Q4_K, q8_0 = CHECKPOINT_Q8_0;
  static const convert_rule rule = {"head.*", false, CHECKPOINT_Q6_K};
  static const llama_layout_options layout = {
      .token = byte_token, .token_self = " abcdefghijklmnopqrstuvwxyz", .tokens = 27, .rescale_every = 1};
  const convert_options copy = {.container = "safetensors"}, half = {.type = &f16},
                        quantized = {.type = &q4_k, .rules = &rule, .n_rules = 1},
                        llama = {.type = &q8_0, .llama = &layout};
  char *gguf = scratch_path(state, "new.gguf"), *st = scratch_path(state, "new.safetensors");
  char *llama_file = scratch_path(state, "llama.gguf"), *quantized_file = scratch_path(state, "quantized.gguf");
  char *odd = odd_model(state, "odd.gguf"), *six = finch_file(state, "finch.safetensors");
  char *torch = pth_file(state, "m.pth", ZIP_CM_DEFLATE);
  uint64_t result = 0;
  if (run_convert(&(job){.in = six, .out = llama_file, .convert = &llama}, &result) ||
      run_convert(&(job){.in = six, .out = quantized_file, .convert = &quantized}, &result))
    fail_msg("%s", last_error());
  const job jobs[] = {
      {.name = "gguf to safetensors", .in = odd, .out = st, .convert = &copy},
      {.name = "pth to f16", .in = torch, .out = gguf, .convert = &half, .fresh = true},
      {.name = "rwkv.cpp to gguf", .in = "tests/fuzz/corpus/bin/v6-q8.bin", .out = gguf, .convert = &half},
      {.name = "quantizing", .in = six, .out = gguf, .convert = &quantized},
      {.name = "to llama.cpp's layout", .in = six, .out = gguf, .convert = &llama},
      {.name = "from llama.cpp's layout", .in = llama_file, .out = st, .convert = &half},
      {.name = "from blocks", .in = quantized_file, .out = st, .convert = &copy},
      {.name = "reading llama.cpp's layout", .run = run_read, .in = llama_file},
  };
  for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
    job j = jobs[i];
    if (!j.run) j.run = run_convert;
    try_each_failure(state, &j);
  }
  char *const paths[] = {gguf, st, llama_file, quantized_file, odd, six, torch};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) free(paths[i]);
}

static void test_params(void **state) {
  param_set set;
  model m;
  assert_int_equal(make_set(&set, &m), STATUS_OK);
  params_init(&set, 4);
  param_buffer moments = {"moment.", set.values};
  const convert_options own_layout = {0};
  for (int i = 0; i < 2; i++) {
    char *path = scratch_path(state, i ? "set.gguf" : "set.safetensors");
    try_each_failure(
        state,
        &(job){.name = "saving parameters", .run = run_params_save, .out = path, .set = &set, .moments = &moments});
    try_each_failure(state, &(job){.name = "loading parameters", .run = run_params_load, .in = path});
    char *own = scratch_path(state, "own.gguf");
    try_each_failure(
        state, &(job){.name = "interleaving", .run = run_convert, .in = path, .out = own, .convert = &own_layout});
    try_each_failure(state, &(job){.name = "opening for use", .run = run_params_open, .in = path});
    try_each_failure(state, &(job){.name = "opening what is mapped", .run = run_params_open, .in = own});
    free(own);
    free(path);
  }
  params_free(&set);
}

int main(void) {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_A_FOLDER(test_safetensors), IN_A_FOLDER(test_gguf),   IN_A_FOLDER(test_shards), IN_A_FOLDER(test_split),
      IN_A_FOLDER(test_rwkvcpp),     IN_A_FOLDER(test_pth),    IN_A_FOLDER(test_parse),  IN_A_FOLDER(test_writer),
      IN_A_FOLDER(test_convert),     IN_A_FOLDER(test_params),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
