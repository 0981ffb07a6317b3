#include "train/caption_eval.h"

#include <stdlib.h>
#include <string.h>

#include "train/caption_score.h"
#include "train/caption_words.h"
#include "train/metrics.h"

const char *eval_set_name(eval_set which) {
  static const char *const names[EVAL_SETS] = {"scenes", "unseen", "kinds", "validation"};
  return names[which];
}

/* What is kept of a scene when its picture is gone. */
typedef struct {
  int n_groups, n_references;
  caption_mention group[SCENE_MAX_OBJECTS];
  char *reference[SCENE_MAX_REFERENCES]; /* as the metrics' words; reference[0] is `truth` tokenised */
  char *truth;
} eval_case;

typedef struct {
  const visualrwkv *m;
  const eval_options *o;
  object_set *objects;
  caption_lexicon *lexicon;
  uint32_t *picture; /* of a picture set */
  int n;
  eval_case *item;
} evaluation;

/* --- what is shown ------------------------------------------------------------------------------------------------ */

/* Streams of random numbers that training, which uses its seed as it is, does not share. */
static uint64_t scene_seed(const eval_options *o) { return random_u64(o->seed, 0x6576616c, (uint64_t)o->set); }

static status choose_pictures(evaluation *e) {
  split which = e->o->set == EVAL_VALIDATION ? SPLIT_VALIDATION : SPLIT_TEST;
  uint32_t n;
  const uint32_t *list = object_pictures_in(e->objects, which, &n);
  if (!(e->picture = mem_alloc(n, sizeof *e->picture))) return STATUS_MEMORY;
  for (uint32_t i = 0; i < n; i++) {
    const object_picture *p = object_picture_at(e->objects, list[i]);
    if (object_kind_at(e->objects, p->kind)->held_out == (e->o->set == EVAL_KINDS)) e->picture[e->n++] = list[i];
  }
  if (e->o->limit > 0 && e->o->limit < e->n) e->n = e->o->limit;
  return e->n ? STATUS_OK
              : fail(STATUS_FORMAT, "%s: no picture for the set '%s'", e->o->objects, eval_set_name(e->o->set));
}

static status make_scene(const evaluation *e, int i, scene *s) {
  int size = e->m->config.image_size;
  if (e->picture) return scene_of_picture(e->objects, e->picture[i], size, s);
  const scene_options options = {.size = size, .pictures = SPLIT_TRAIN, .max_objects = SCENE_MAX_OBJECTS};
  return scene_make(e->objects, &options, scene_seed(e->o), (uint64_t)i, s);
}

static status keep_truth(eval_case *x, const scene *s) {
  x->n_groups = s->n_groups;
  x->n_references = s->n_references;
  for (int g = 0; g < s->n_groups; g++)
    x->group[g] = (caption_mention){s->group[g].kind, s->group[g].count, s->group[g].colour};
  for (int r = 0; r < s->n_references; r++)
    if (!(x->reference[r] = caption_words(s->reference[r]))) return STATUS_MEMORY;
  return (x->truth = mem_string(s->caption)) ? STATUS_OK : STATUS_MEMORY;
}

/* --- captions ----------------------------------------------------------------------------------------------------- */

/* Captions every item; with `blank`, of pictures left white. said[i] is the caller's to free. */
static status caption_all(evaluation *e, bool blank, char **said, int *done, int all) {
  int S = e->m->config.image_size, batch = e->o->batch > 0 ? e->o->batch : 32;
  size_t floats = (size_t)S * (size_t)S * 3;
  const caption_options greedy = {.count = 1, .beam = 1, .max_tokens = 64};
  float *pixels = mem_alloc((size_t)batch * floats, sizeof *pixels);
  caption *found = mem_zero((size_t)batch, sizeof *found);
  scene *s = scene_new(S);
  ctx *c = ctx_new();
  status result = pixels && found && s && c ? STATUS_OK : last_status();
  for (int first = 0; !result && first < e->n; first += batch) {
    int n = e->n - first < batch ? e->n - first : batch;
    for (int i = 0; i < n && !result; i++) {
      if ((result = make_scene(e, first + i, s))) break;
      if (blank) memset(s->rgb, 255, floats);
      visualrwkv_normalise(s->rgb, floats, pixels + (size_t)i * floats);
      if (!e->item[first + i].truth) result = keep_truth(&e->item[first + i], s);
    }
    tensor input = {.type = DTYPE_F32, .n_dims = 4, .dim = {n, S, S, 3}, .data = pixels};
    if (!result) result = caption_pictures(c, e->m, &input, &greedy, found);
    for (int i = 0; !result && i < n; i++) said[first + i] = found[i].text;
    *done += n;
    if (!result && e->o->progress) e->o->progress(e->o->user, *done, all);
  }
  ctx_free(c);
  scene_free(s);
  free(found);
  free(pixels);
  return result;
}

/* The word that training captions most often have at each place, up to the place where most have ended. */
static status most_frequent(const evaluation *e, char out[SCENE_MAX_CAPTION]) {
  enum { SAMPLES = 2000, PLACES = 32, WORD = 48 };
  const scene_options options = {.size = 16, .pictures = SPLIT_TRAIN, .max_objects = SCENE_MAX_OBJECTS};
  const uint64_t seed = random_u64(e->o->seed, 0x6576616c, EVAL_SETS); /* the same words for every set */
  char(*words)[PLACES][WORD] = mem_zero(SAMPLES, sizeof *words);
  scene *s = scene_new(options.size);
  status result = words && s ? STATUS_OK : last_status();
  for (uint64_t i = 0; !result && i < SAMPLES; i++) {
    result = scene_make(e->objects, &options, seed, i, s);
    const char *at = s->caption;
    for (int p = 0; !result && p < PLACES && *at; p++) {
      size_t n = strcspn(at, " ");
      memcpy(words[i][p], at, n < WORD ? n : WORD - 1);
      at += n + (at[n] == ' ');
    }
  }
  size_t length = 0;
  for (int p = 0; !result && p < PLACES; p++) {
    int best = 0, best_count = 0, ended = 0;
    for (int i = 0; i < SAMPLES; i++) {
      int count = 0;
      ended += !words[i][p][0];
      if (!words[i][p][0]) continue;
      for (int j = i; j < SAMPLES; j++) count += !strcmp(words[i][p], words[j][p]);
      if (count > best_count) best = i, best_count = count;
    }
    size_t n = strlen(words[best][p]);
    if (2 * ended > SAMPLES || length + n + 2 > SCENE_MAX_CAPTION) break;
    if (length) out[length++] = ' ';
    memcpy(out + length, words[best][p], n);
    length += n;
  }
  out[length] = 0;
  scene_free(s);
  free(words);
  return result;
}

/* --- scores ------------------------------------------------------------------------------------------------------- */

static status score(const evaluation *e, char *const *said, eval_scores *out) {
  caption_tally tally = {0};
  metric_scores corpus = {0};
  caption_case *cases = mem_zero((size_t)e->n, sizeof *cases);
  char **words = mem_zero((size_t)e->n, sizeof *words);
  status s = cases && words ? STATUS_OK : STATUS_MEMORY;
  for (int i = 0; !s && i < e->n; i++) {
    const eval_case *x = &e->item[i];
    s = caption_tally_add(&tally, e->lexicon, said[i], x->group, (size_t)x->n_groups);
    if (!s && !(words[i] = caption_words(said[i]))) s = STATUS_MEMORY;
    cases[i] = (caption_case){words[i], (const char *const *)x->reference, (size_t)x->n_references};
  }
  if (!s) s = caption_metrics(cases, (size_t)e->n, &corpus, NULL);
  caption_content content = caption_tally_scores(&tally);
  *out = (eval_scores){
      .recall = content.recall,
      .precision = content.precision,
      .colour = content.colour_accuracy,
      .count = content.count_accuracy,
      .cider = corpus.cider,
      .bleu4 = corpus.bleu[3],
      .rouge = corpus.rouge_l,
      .colours = (int)tally.colours,
      .counts = (int)tally.counts,
  };
  for (int i = 0; words && i < e->n; i++) free(words[i]);
  free(words);
  free(cases);
  return s;
}

static status make_lexicon(evaluation *e) {
  enum { NUMBERS = 5 };
  static const char *const numbers[NUMBERS] = {"no", "one", "two", "three", "four"};
  const char *colours[COLOURS];
  for (int i = 0; i < COLOURS; i++) colours[i] = colour_name((colour)i);
  uint32_t n = object_kinds(e->objects);
  kind_words *kinds = mem_alloc(n, sizeof *kinds);
  if (!kinds) return STATUS_MEMORY;
  for (uint32_t k = 0; k < n; k++)
    kinds[k] = (kind_words){object_kind_at(e->objects, k)->singular, object_kind_at(e->objects, k)->plural};
  e->lexicon = caption_lexicon_new(kinds, n, colours, COLOURS, numbers, NUMBERS);
  free(kinds);
  return e->lexicon ? STATUS_OK : last_status();
}

static status begin(evaluation *e) {
  if (!(e->objects = object_set_open(e->o->objects))) return last_status();
  status s = make_lexicon(e);
  if (s) return s;
  if (e->o->set != EVAL_SCENES) s = choose_pictures(e);
  if (s) return s;
  if (!e->picture) e->n = e->o->limit > 0 ? e->o->limit : 1000;
  return (e->item = mem_zero((size_t)e->n, sizeof *e->item)) ? STATUS_OK : STATUS_MEMORY;
}

static void end(evaluation *e) {
  for (int i = 0; e->item && i < e->n; i++) {
    free(e->item[i].truth);
    for (int r = 0; r < e->item[i].n_references; r++) free(e->item[i].reference[r]);
  }
  free(e->item);
  free(e->picture);
  caption_lexicon_free(e->lexicon);
  object_set_close(e->objects);
}

/* Captions and scores the items as the model sees them. */
static status run(evaluation *e, bool blank, int *done, eval_scores *out) {
  char **said = mem_zero((size_t)e->n, sizeof *said);
  status s = said ? caption_all(e, blank, said, done, 2 * e->n) : STATUS_MEMORY;
  if (!s) s = score(e, said, out);
  for (int i = 0; !s && !blank && e->o->each && i < e->n; i++) e->o->each(e->o->user, e->item[i].truth, said[i]);
  for (int i = 0; said && i < e->n; i++) free(said[i]);
  free(said);
  return s;
}

static status run_frequent(evaluation *e, eval_report *report) {
  status s = most_frequent(e, report->frequent_caption);
  char **said = s ? NULL : mem_alloc((size_t)e->n, sizeof *said);
  for (int i = 0; said && i < e->n; i++) said[i] = report->frequent_caption;
  if (said) s = score(e, said, &report->frequent);
  free(said);
  return s ? s : said ? STATUS_OK : STATUS_MEMORY;
}

status caption_eval(const visualrwkv *m, const eval_options *options, eval_report *report) {
  evaluation e = {.m = m, .o = options};
  *report = (eval_report){.set = options->set};
  int done = 0;
  status s = begin(&e);
  report->scenes = e.n;
  if (!s) s = run(&e, false, &done, &report->model);
  if (!s) s = run(&e, true, &done, &report->blank);
  if (!s) s = run_frequent(&e, report);
  end(&e);
  return s;
}
