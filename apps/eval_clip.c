/* linnet eval zeroshot, retrieval and linear-probe: how a pair of towers is judged (spec rwkv-clip 9). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/eval.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/work.h"
#include "data/pairs.h"
#include "linnet.h"
#include "train/object_task.h"

static const char usual_prefix[] = "a photo of ";

typedef struct {
  const char *model, *vocabulary, *data, *labels, *templates_file, *sets, *objects, *prefix, *train, *valid, *test;
  arg_texts template;
  int64_t limit, hold, scenes;
  uint64_t seed;
  double C;
  int labels_most, batch, threads;
  bool json, quiet;
} settings;

#define ARG_VOCABULARY(o)                                                                                              \
  { "vocab", 0, ARG_TEXT, &(o)->vocabulary, 0, 0, "PATH", "the vocabulary, if the model's file carries none" }
#define ARG_LABELS(o)                                                                                                  \
  { "labels", 0, ARG_TEXT, &(o)->labels, 0, 0, "FILE", "names of the classes, one a line; else the data's own" }
#define ARG_OBJECTS(o)                                                                                                 \
  { "objects", 0, ARG_TEXT, &(o)->objects, 0, 0, "PATH", "the object pack" }
#define ARG_LIMIT(o)                                                                                                   \
  { "limit", 'n', ARG_LONG, &(o)->limit, 0, 1e9, "N", "most pictures of a set, evenly spaced; 0 = all" }
#define ARG_BATCH(o)                                                                                                   \
  { "batch", 'b', ARG_INT, &(o)->batch, 1, 4096, "N", "pictures at a time" }

static settings defaults(void) {
  return (settings){.objects = DEFAULT_OBJECTS, .scenes = 1000, .labels_most = 100, .batch = 32};
}

typedef struct {
  const settings *o;
  clip_model *model;
  work progress;
  json_t *results; /* NULL = printed at once */
  size_t failed;
} job;

static task_options begin_task(job *j, size_t pictures) {
  j->progress = work_begin("pictures", pictures, j->o->quiet);
  return (task_options){.batch = j->o->batch, .step = step_work, .user = &j->progress};
}

static void end_task(job *j) {
  work_end(&j->progress);
  j->failed += j->progress.failed;
}

static void say_cut(size_t n) {
  if (n) complain("%zu texts are too long for the model: their ends are cut", n);
}

/* Takes the value over. */
static void give(job *j, json_t *one) { json_array_append_new(j->results, one); }

/* --- zero-shot classification ------------------------------------------------------------------------------------- */

static status gather_templates(zero_shot *z, const settings *o) {
  status s = STATUS_OK;
  for (int i = 0; !s && i < o->template.n; i++) s = zero_shot_template(z, o->template.item[i]);
  if (!s && o->templates_file) s = zero_shot_template_file(z, o->templates_file);
  return s;
}

static status score_zeroshot(job *j, const char *name, zero_shot *z, const picture_source *pictures,
                             const int32_t *targets) {
  zero_shot_report r;
  const task_options o = begin_task(j, pictures->n);
  const status s = zero_shot_task(j->model, z, pictures, targets, &o, &r);
  end_task(j);
  if (s) return s;
  say_cut(z->n_cut);
  if (j->results)
    give(j, class_scores_json(name, r.pictures, r.skipped, r.classes, &r.scores));
  else
    print_class_scores(name, r.pictures, r.classes, &r.scores);
  output_flush();
  return STATUS_OK;
}

/* The classes that the data's own names make, when no file named them. */
static status add_names(zero_shot *z, const label_names *names) {
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < names->n; i++) s = zero_shot_add(z, names->name[i], NULL, 0);
  return s;
}

static status zeroshot_data(job *j) {
  const settings *o = j->o;
  zero_shot z = {0};
  labelled_part part = {0};
  labelled *set = NULL;
  status s = o->labels ? zero_shot_add_file(&z, o->labels) : STATUS_OK;
  const label_names given = {.name = z.label.item, .n = z.label.n};
  if (!s && !(set = labelled_open(o->data, o->labels ? &given : NULL))) s = last_status();
  if (!s && !o->labels) s = add_names(&z, labelled_names(set));
  if (!s) s = gather_templates(&z, o);
  if (!s) s = zero_shot_usual(&z, j->model);
  if (!s) s = labelled_part_new(&part, set, 0, labelled_count(set), o->limit);
  if (!s) s = score_zeroshot(j, o->data, &z, &(picture_source){labelled_part_open, &part, part.n}, part.targets);
  labelled_part_free(&part);
  labelled_close(set);
  zero_shot_free(&z);
  return s;
}

static status zeroshot_kinds(job *j, const object_set *objects, kinds_set which) {
  zero_shot z = {0};
  kinds_task t;
  status s = gather_templates(&z, j->o);
  if (!s) s = kinds_task_new(&t, objects, which, (size_t)j->o->labels_most, j->model->side);
  if (s) return zero_shot_free(&z), s;
  s = kinds_task_classes(&t, &z);
  if (!s) s = score_zeroshot(j, kinds_set_name[which], &z, &(picture_source){kinds_task_open, &t, t.n}, t.target);
  kinds_task_free(&t);
  zero_shot_free(&z);
  return s;
}

/* "unseen,kinds" -> which; false if a word is none of the sets. */
static bool parse_sets(const char *text, bool which[KINDS_SETS]) {
  for (const char *at = text;; at++) {
    const size_t n = strcspn(at, ",");
    int set = 0;
    while (set < KINDS_SETS && (strlen(kinds_set_name[set]) != n || memcmp(at, kinds_set_name[set], n))) set++;
    if (set == KINDS_SETS) return false;
    which[set] = true;
    if (!*(at += n)) return true;
  }
}

static status zeroshot_sets(job *j) {
  bool which[KINDS_SETS] = {false};
  object_set *objects = object_set_open(j->o->objects);
  status s = objects ? STATUS_OK : last_status();
  parse_sets(j->o->sets, which);
  for (int i = 0; !s && i < KINDS_SETS; i++)
    if (which[i]) s = zeroshot_kinds(j, objects, (kinds_set)i);
  object_set_close(objects);
  return s;
}

/* --- retrieval ---------------------------------------------------------------------------------------------------- */

static json_t *recalls_json(const double recall[RECALLS]) {
  json_t *all = json_object();
  for (int i = 0; i < RECALLS; i++) {
    char key[16];
    snprintf(key, sizeof key, "R@%d", recall_at[i]);
    json_object_set_new(all, key, json_number(recall[i]));
  }
  return all;
}

static void print_recalls(const char *what, const double recall[RECALLS]) {
  printf("  %-16s", what);
  for (int i = 0; i < RECALLS; i++) printf("  R@%d %6.2f %%", recall_at[i], recall[i]);
  putchar('\n');
}

static status score_retrieval(job *j, const char *name, const picture_source *pictures, const char *const *texts,
                              const int32_t *image_of, size_t T, const char *prefix) {
  retrieval_report r;
  const task_options o = begin_task(j, pictures->n);
  const status s = retrieval_task(j->model, pictures, texts, image_of, T, prefix, &o, &r);
  end_task(j);
  if (s) return s;
  say_cut(r.cut);
  if (j->results) {
    give(j, json_pack("{s:o,s:I,s:I,s:I,s:o,s:o,s:o}", "set", json_text(name), "pictures", (json_int_t)r.pictures,
                      "skipped", (json_int_t)r.skipped, "texts", (json_int_t)r.texts, "prefix", json_text(prefix),
                      "image_to_text", recalls_json(r.scores.image_to_text), "text_to_image",
                      recalls_json(r.scores.text_to_image)));
    return STATUS_OK;
  }
  text_put(stdout, name, strlen(name));
  printf(": %zu pictures, %zu texts\n", r.pictures, r.texts);
  print_recalls("picture to text", r.scores.image_to_text);
  print_recalls("text to picture", r.scores.text_to_image);
  return STATUS_OK;
}

static image *open_pair(void *list, size_t index) { return pairs_picture(list, index); }

static status retrieval_list(job *j) {
  pairs list = {0};
  status s = pairs_read(&list, j->o->data);
  int32_t *image_of = s ? NULL : mem_alloc(list.n_captions, sizeof *image_of);
  const char **texts = s ? NULL : mem_alloc(list.n_captions, sizeof *texts);
  if (!s && (!image_of || !texts)) s = STATUS_MEMORY;
  const size_t T = s ? 0 : pairs_captions(&list, texts, image_of);
  if (!s)
    s = score_retrieval(j, j->o->data, &(picture_source){open_pair, &list, list.n}, texts, image_of, T,
                        j->o->prefix ? j->o->prefix : usual_prefix);
  free(image_of), free(texts);
  pairs_free(&list);
  return s;
}

static status retrieval_scenes(job *j) {
  const settings *o = j->o;
  scenes_task t = {0};
  object_set *objects = object_set_open(o->objects);
  const scene_options drawn = {.size = j->model->side, .pictures = SPLIT_TRAIN, .max_objects = SCENE_MAX_OBJECTS};
  status s = objects ? scenes_task_new(&t, objects, &drawn, (size_t)o->scenes, o->seed) : last_status();
  if (!s)
    s = score_retrieval(j, "scenes", &(picture_source){scenes_task_open, &t, t.n}, (const char *const *)t.caption,
                        t.image_of, t.n, o->prefix ? o->prefix : "");
  scenes_task_free(&t);
  object_set_close(objects);
  return s;
}

/* --- linear probes ------------------------------------------------------------------------------------------------ */

/* Sets of labelled pictures that have the names of the first. */
typedef struct {
  labelled *train, *valid, *test;
  labelled_part part[3];
} probe_sets;

static status open_sets(probe_sets *p, const settings *o) {
  label_names names = {0};
  status s = o->labels ? label_names_read(&names, o->labels) : STATUS_OK;
  if (!s && !(p->train = labelled_open(o->train, o->labels ? &names : NULL))) s = last_status();
  label_names_free(&names);
  if (!s && !(p->test = labelled_open(o->test, labelled_names(p->train)))) s = last_status();
  if (!s && o->valid && !(p->valid = labelled_open(o->valid, labelled_names(p->train)))) s = last_status();
  if (s) return s;
  const size_t all = labelled_count(p->train), hold = o->valid ? 0 : (size_t)o->hold;
  if (hold >= all) return fail(STATUS_ARGUMENT, "%s: %zu of %zu pictures held back", o->train, hold, all);
  s = labelled_part_new(&p->part[0], p->train, 0, all - hold, o->limit);
  if (!s && p->valid) s = labelled_part_new(&p->part[1], p->valid, 0, labelled_count(p->valid), o->limit);
  if (!s && !p->valid) s = labelled_part_new(&p->part[1], p->train, all - hold, hold, o->limit);
  return s ? s : labelled_part_new(&p->part[2], p->test, 0, labelled_count(p->test), 0);
}

static void show_probe(job *j, const probe_report *r) {
  if (j->results) {
    json_t *one = class_scores_json(j->o->test, r->test, r->skipped, r->classes, &r->scores);
    json_t *how =
        json_pack("{s:I,s:I,s:o,s:o,s:b}", "train", (json_int_t)r->train, "valid", (json_int_t)r->valid, "C",
                  json_number(r->C), "valid_top1", json_number(r->valid_top1), "converged", (int)r->converged);
    json_object_update(one, how);
    json_decref(how);
    give(j, one);
    return;
  }
  print_class_scores(j->o->test, r->test, r->classes, &r->scores);
  if (isnan(r->valid_top1))
    printf("  learned from %zu pictures with C = %g", r->train + r->valid, r->C);
  else
    printf("  learned from %zu pictures and %zu more, by which C = %g was chosen (top-1 of them %.2f %%)", r->train,
           r->valid, r->C, r->valid_top1);
  printf("%s\n", r->converged ? "" : "; the search ended before it was done");
}

static status probe(job *j) {
  probe_sets p = {0};
  probe_part part[3];
  probe_report r;
  status s = open_sets(&p, j->o);
  for (int i = 0; i < 3; i++) part[i] = (probe_part){{labelled_part_open, &p.part[i], p.part[i].n}, p.part[i].targets};
  if (!s) {
    const task_options o = begin_task(j, part[0].pictures.n + part[1].pictures.n + part[2].pictures.n);
    s = probe_task(j->model, &part[0], &part[1], &part[2], labelled_names(p.train)->n, j->o->C, &o, &r);
    end_task(j);
  }
  if (!s) show_probe(j, &r);
  for (int i = 0; i < 3; i++) labelled_part_free(&p.part[i]);
  labelled_close(p.train), labelled_close(p.valid), labelled_close(p.test);
  return s;
}

/* --- the verbs ---------------------------------------------------------------------------------------------------- */

static int run_job(const settings *o, status (*task)(job *j)) {
  job j = {.o = o};
  linnet_set_threads(o->threads);
  if (!(j.model = pair_open(o->model, o->vocabulary))) return failed();
  j.results = o->json ? json_array() : NULL;
  const status s = task(&j);
  clip_model_close(j.model);
  const int code = s ? failed() : j.failed ? EXIT_DATA : EXIT_DONE;
  if (j.results && !s)
    json_print(j.results, false);
  else
    json_decref(j.results);
  return code;
}

#define LABELLED_HELP                                                                                                  \
  "Labelled pictures are a folder that has a folder of pictures for every class, a list (lines of path\n"              \
  "TAB label, or JSON Lines of image and label), or an IDX file of pictures as MNIST's, with its labels\n"             \
  "beside it. A picture that cannot be read is named on stderr and left out, and the exit code is 1.\n"

static const verb zeroshot = {
    "eval zeroshot", "scores a pair of towers as a classifier that was never trained", NULL,
    "  linnet eval zeroshot\n"
    "  linnet eval zeroshot --data pictures/ --template 'a photo of a {}' --template 'a drawing of a {}'\n\n"
    "Usage: linnet eval zeroshot [options]\n\n"
    "Each class is the mean direction of its prompts, made from its name by templates (by default as\n"
    "'linnet classify' has it). Without --data: the project's own test pictures among 100 kinds. Sets:\n"
    "unseen (unseen pictures of known kinds), kinds (pictures of kinds held out whole), validation; prompts\n"
    "are the kind alone and with every colour. Scores stand with their 95 % intervals (Wilson's).\n" LABELLED_HELP};

int run_eval_zeroshot(int argc, char **argv) {
  settings o = defaults();
  bool which[KINDS_SETS];
  int at, code;
  o.sets = "unseen,kinds";
  const arg list[] = {
      ARG_MODEL(&o.model),
      ARG_VOCABULARY(&o),
      {"data", 'd', ARG_TEXT, &o.data, 0, 0, "PATH", "labelled pictures"},
      ARG_LABELS(&o),
      {"template", 0, ARG_TEXTS, &o.template, 0, 0, "TEXT", "a prompt, {} being the class; may be given several times"},
      {"templates-file", 0, ARG_TEXT, &o.templates_file, 0, 0, "FILE", "prompts, one a line"},
      {"set", 0, ARG_TEXT, &o.sets, 0, 0, "SETS", "without --data: which, with commas between"},
      {"classes", 0, ARG_INT, &o.labels_most, 2, 1 << 20, "N", "without --data: kinds to choose from"},
      ARG_OBJECTS(&o),
      ARG_LIMIT(&o),
      ARG_BATCH(&o),
      ARG_JSON(&o.json),
      ARG_THREADS(&o.threads),
      ARG_QUIET(&o.quiet),
  };
  if (!args_parse(&zeroshot, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(&zeroshot, "eval zeroshot takes no operands, found '%s'", argv[at + 1]);
  if (!parse_sets(o.sets, which)) return misuse(&zeroshot, "--set: '%s' is not of unseen, kinds, validation", o.sets);
  if (o.labels && !o.data) return misuse(&zeroshot, "--labels goes with --data");
  return run_job(&o, o.data ? zeroshot_data : zeroshot_sets);
}

static const verb retrieval = {
    "eval retrieval", "scores a pair of towers at finding pictures and captions", NULL,
    "  linnet eval retrieval\n"
    "  linnet eval retrieval -m clip.pt --vocab bpe_simple_vocab_16e6.txt.gz --data flickr30k.jsonl\n\n"
    "Usage: linnet eval retrieval [options]\n\n"
    "Every picture against every caption: how often the right one is among the first 1, 5 and 10. --data is\n"
    "a list of pictures with their captions (JSON Lines of image and captions; `linnet train clip` has the\n"
    "other kinds); each caption is read behind --prefix, by default 'a photo of '. Without --data: new\n"
    "scenes of training pictures, no wording of one being true of another, without a prefix.\n"
    "A picture that cannot be read is named on stderr and left out, and the exit code is 1.\n"};

int run_eval_retrieval(int argc, char **argv) {
  settings o = defaults();
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      ARG_VOCABULARY(&o),
      {"data", 'd', ARG_TEXT, &o.data, 0, 0, "LIST", "pictures with captions"},
      {"prefix", 0, ARG_TEXT, &o.prefix, 0, 0, "TEXT", "stands before every caption"},
      {"set", 0, ARG_TEXT, &o.sets, 0, 0, "SET", "without --data: scenes"},
      {"scenes", 0, ARG_LONG, &o.scenes, 1, 1 << 20, "N", "how many scenes"},
      {"seed", 's', ARG_SEED, &o.seed, 0, 0, "S", "of the scenes"},
      ARG_OBJECTS(&o),
      ARG_BATCH(&o),
      ARG_JSON(&o.json),
      ARG_THREADS(&o.threads),
      ARG_QUIET(&o.quiet),
  };
  if (!args_parse(&retrieval, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(&retrieval, "eval retrieval takes no operands, found '%s'", argv[at + 1]);
  if (o.sets && strcmp(o.sets, "scenes")) return misuse(&retrieval, "--set: '%s' is not scenes", o.sets);
  return run_job(&o, o.data ? retrieval_list : retrieval_scenes);
}

static const verb linear_probe_verb = {
    "eval linear-probe", "scores what an image tower's features tell", NULL,
    "  linnet eval linear-probe --train pictures/train --valid pictures/valid --test pictures/test\n\n"
    "Usage: linnet eval linear-probe --train PATH --test PATH [options]\n\n"
    "Logistic regression on the image tower's features, which stay as they are. Its strength C is the best\n"
    "of a sweep over 10^-6 .. 10^6 on --valid, else on the last --hold pictures of --train; the regression\n"
    "that is scored learns from both.\n" LABELLED_HELP};

int run_eval_linear_probe(int argc, char **argv) {
  settings o = defaults();
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"train", 0, ARG_TEXT, &o.train, 0, 0, "PATH", "labelled pictures to learn from"},
      {"valid", 0, ARG_TEXT, &o.valid, 0, 0, "PATH", "labelled pictures to choose C by"},
      {"hold", 0, ARG_LONG, &o.hold, 0, 1e9, "N", "without --valid: so many of the last of --train"},
      {"test", 0, ARG_TEXT, &o.test, 0, 0, "PATH", "labelled pictures to score"},
      ARG_LABELS(&o),
      {"strength", 'C', ARG_REAL, &o.C, 0, 1e12, "C", "takes this C without a sweep; 0 = sweep"},
      ARG_LIMIT(&o),
      ARG_BATCH(&o),
      ARG_JSON(&o.json),
      ARG_THREADS(&o.threads),
      ARG_QUIET(&o.quiet),
  };
  const verb *self = &linear_probe_verb;
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at > 1) return misuse(self, "eval linear-probe takes no operands, found '%s'", argv[at + 1]);
  if (!o.train || !o.test) return misuse(self, "eval linear-probe needs --train PATH and --test PATH");
  if (!o.valid && !o.hold && !(o.C > 0))
    return misuse(self, "without --valid, --hold or --strength C cannot be chosen");
  return run_job(&o, probe);
}
