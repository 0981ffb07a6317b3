/* Multi-query associative recall: the reference's examples, and the law by which keys are asked for, which a generator
 * with other random numbers must follow. Spec goldfinch 7.2. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/mqar.h"
#include "tests/golden/runner.h"

static const golden_rule rules[] = {
    {"io/*", GIVEN, 0, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

/* Whether tokens are an example of the task: at, value as mqar_make gives them. */
static bool is_example(const mqar_task *k, const int32_t *ids, const int32_t *at, const int32_t *value) {
  const int context = 2 * k->pairs;
  bool *seen = mem_zero((size_t)k->vocabulary, sizeof *seen), sound = seen != NULL;
  char *asked = mem_zero((size_t)k->length, 1);
  for (int t = 0; sound && t < context; t++) {
    const int half = k->vocabulary / 2, low = t % 2 ? half : 1, high = t % 2 ? k->vocabulary : half;
    sound = ids[t] >= low && ids[t] < high && !seen[ids[t]];
    if (sound) seen[ids[t]] = true;
  }
  for (int i = 0; sound && i < k->pairs; i++) {
    sound = at[i] >= context && at[i] < k->length && at[i] % 2 == 0 && ids[at[i]] == ids[2 * i] &&
            value[i] == ids[2 * i + 1] && asked && !asked[at[i]];
    if (sound) asked[at[i]] = 1;
  }
  for (int t = context; sound && !k->random_filler && t < k->length; t++) sound = asked[t] ? ids[t] : !ids[t];
  free(seen), free(asked);
  return sound;
}

/* The reference's own examples, its labels turned into places and values: is the rule of the task understood? */
static void check_reference(golden_case *k, const mqar_task *task, const tensor *inputs, const tensor *labels) {
  const int64_t n = inputs->dim[0], T = inputs->dim[1];
  int32_t *at = mem_alloc((size_t)T, sizeof *at), *value = mem_alloc((size_t)T, sizeof *value);
  int sound = 0;
  for (int64_t e = 0; at && value && e < n; e++) {
    const int32_t *ids = i32(inputs) + e * T, *label = i32(labels) + e * T;
    int labelled = 0, found = 0;
    for (int64_t t = 0; t < T; t++) labelled += label[t] != MQAR_UNLABELLED;
    for (int i = 0; i < task->pairs; i++)
      for (int64_t t = 2 * task->pairs; t < T; t++)
        if (label[t] != MQAR_UNLABELLED && ids[t] == ids[2 * i]) at[i] = (int32_t)t, value[i] = label[t], found++;
    sound += labelled == task->pairs && found == task->pairs && is_example(task, ids, at, value);
  }
  golden_check(k, n > 0 && sound == n, "io/inputs, io/labels: %d of %d are examples of this task", sound, (int)n);
  free(at), free(value);
}

typedef struct {
  double *slot, *mean, *any; /* [slots,pairs] and [slots] shares, [pairs] */
  int examples, sound, slots;
  int32_t low[2], high[2]; /* of keys, of values */
} census;

static void count(const mqar_task *k, census *c, const int32_t *ids, const int32_t *at, const int32_t *value) {
  c->sound += is_example(k, ids, at, value);
  for (int i = 0; i < k->pairs; i++) {
    const int slot = at[i] / 2 - k->pairs;
    c->slot[slot * k->pairs + i] += 1.0 / c->examples;
    c->any[slot] += 1.0 / c->examples;
    c->mean[i] += (double)slot / c->examples;
    for (int of = 0; of < 2; of++) {
      const int32_t token = ids[2 * i + of];
      if (token < c->low[of]) c->low[of] = token;
      if (token > c->high[of]) c->high[of] = token;
    }
  }
}

/* Shares of as many examples of either side: five standard errors of their difference and 0.002. The error is that of
 * both together: of 1500 examples a rare case is often never seen by one side. */
static void check_shares(golden_case *k, const char *key, const double *got, const float *want, size_t n,
                         int examples) {
  double worst = 0;
  for (size_t i = 0; want && i < n; i++) {
    const double p = (got[i] + (double)want[i]) / 2, allowed = 5 * sqrt(p * (1 - p) * 2 / examples) + 0.002;
    worst = fmax(worst, fabs(got[i] - (double)want[i]) / allowed);
  }
  golden_check(k, want && worst <= 1, "%-30s at worst %.2f of what chance allows", key, worst);
}

static void check_means(golden_case *k, const census *c, const float *mean, const float *variance, int pairs) {
  double worst = 0;
  for (int i = 0; mean && variance && i < pairs; i++)
    worst = fmax(worst, fabs(c->mean[i] - (double)mean[i]) / (5 * sqrt(2 * (double)variance[i] / c->examples)));
  golden_check(k, mean && variance && worst <= 1, "%-30s at worst %.2f of what chance allows", "io/mean_slot", worst);
}

static void check_ranges(golden_case *k, const mqar_task *task, const census *c) {
  static const char *const keys[] = {"io/key_min_max", "io/value_min_max"};
  const int32_t half = task->vocabulary / 2, low[] = {1, half}, high[] = {half - 1, task->vocabulary - 1};
  for (int of = 0; of < 2; of++) {
    const tensor *t = golden_ids(k, keys[of]);
    const bool theirs = t && tensor_count(t) == 2 && i32(t)[0] >= low[of] && i32(t)[1] <= high[of];
    golden_check(k, theirs && c->low[of] >= low[of] && c->high[of] <= high[of], "%-30s %d to %d, within %d to %d",
                 keys[of], c->low[of], c->high[of], low[of], high[of]);
  }
}

static void compare(golden_case *k, mqar *m, const golden_shape *slots, const float *slot_prob) {
  const mqar_task *task = &m->task;
  const int examples = (int)golden_note(k, "estimated from", 6000);
  census c = {.examples = examples, .slots = (int)slots->dim[0], .low = {INT32_MAX, INT32_MAX}};
  int32_t *ids = mem_alloc((size_t)task->length, sizeof *ids);
  int32_t *at = mem_alloc(2 * (size_t)task->pairs, sizeof *at), *value = at + task->pairs;
  c.slot = mem_zero(slots->n, sizeof *c.slot);
  c.mean = mem_zero((size_t)task->pairs, sizeof *c.mean);
  c.any = mem_zero((size_t)c.slots, sizeof *c.any);
  if (!ids || !at || !c.slot || !c.mean || !c.any) {
    golden_error(k);
    return;
  }
  for (int e = 0; e < examples; e++) {
    mqar_make(m, (uint64_t)e, ids, at, value);
    count(task, &c, ids, at, value);
  }
  golden_check(k, examples > 0 && c.sound == examples, "%d of %d made here are examples of this task", c.sound,
               examples);
  check_shares(k, "io/slot_prob", c.slot, slot_prob, slots->n, examples);
  check_shares(k, "io/slot_any", c.any, golden_floats(k, "io/slot_any", NULL), (size_t)c.slots, examples);
  check_means(k, &c, golden_floats(k, "io/mean_slot", NULL), golden_floats(k, "io/var_slot", NULL), task->pairs);
  check_ranges(k, task, &c);
  free(ids), free(at), free(c.slot), free(c.mean), free(c.any);
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  golden_shape slots = {0};
  const tensor *inputs = golden_ids(k, "io/inputs"), *labels = golden_ids(k, "io/labels");
  const float *slot_prob = golden_floats(k, "io/slot_prob", &slots);
  if (!inputs || !labels || !slot_prob) return;
  const bool shaped = inputs->n_dims == 2 && labels->n_dims == 2 && slots.n_dims == 2 && slots.dim[1] > 0 &&
                      tensor_count(inputs) == tensor_count(labels) && inputs->dim[1] == labels->dim[1] &&
                      inputs->dim[1] == 2 * (slots.dim[0] + slots.dim[1]);
  golden_check(k, shaped, "a table of slots by pairs goes with the examples");
  if (!shaped) return;
  mqar_task task = mqar_task_of((int)inputs->dim[1], (int)slots.dim[1]);
  task.vocabulary = (int)golden_note(k, "vocab_size", task.vocabulary);
  task.random_filler = golden_mentions(k, "random_non_queries True");
  mqar m;
  if (mqar_new(&m, &task, 1)) {
    golden_error(k);
  } else {
    check_reference(k, &task, inputs, labels);
    compare(k, &m, &slots, slot_prob);
  }
  mqar_free(&m);
}

const golden_system golden_mqar = {"mqar", run};
