/* Sampling of tokens: truncated distributions, and the loop with penalties. Spec language-models 7. */
#include <stdlib.h>
#include <string.h>

#include "lm/sample.h"
#include "tests/golden/rwkv.h"

static const golden_rule of_sampling[] = {
    {"io/logits", GIVEN, 0, 0, NULL},     {"io/config", GIVEN, 0, 0, NULL},   {"io/table", GIVEN, 0, 0, NULL},
    {"io/probs.*", CLOSE, 1e-6, 0, NULL}, {"io/generated", SAME, 0, 0, NULL}, {NULL, GIVEN, 0, 0, NULL},
};

static void sample_distributions(golden_case *k) {
  ctx *c = golden_ctx(k);
  tensor *logits = golden_tensor(k, "io/logits"), *config = golden_tensor(k, "io/config");
  if (!logits || !config || tensor_last(config) != 3 || tensor_count(logits) == 0) {
    golden_check(k, false, "io/logits and io/config must be rows, of three numbers io/config");
    return;
  }
  int64_t rows = tensor_rows(logits), V = tensor_last(logits);
  tensor *p = tensor_like(c, logits);
  float *scratch = arena_alloc(c->memory, (size_t)V * sizeof *scratch);
  for (int64_t j = 0; p && scratch && j < tensor_rows(config); j++) {
    const float *o = f32(config) + 3 * j;
    const sample_options options = {.temperature = o[0], .top_p = o[1], .top_k = (int)o[2]};
    for (int64_t r = 0; r < rows; r++) {
      float *row = f32(p) + r * V;
      double sum = sample_weights(f32(logits) + r * V, (int)V, &options, row, scratch);
      for (int64_t v = 0; v < V; v++) row[v] = (float)(row[v] / sum);
    }
    golden_offer_tensor(k, p, "io/probs.%d", (int)j);
  }
}

/* A model that is a table: the logits after token t are its row t. Tokens 0..11 are the texts that do not count. */
static void sample_loop(golden_case *k) {
  static const char uncounted[] = " \t0123456789";
  enum { START = 5 };
  tensor *table = golden_tensor(k, "io/table"), *want = golden_ids(k, "io/generated");
  int32_t at = (int32_t)golden_note(k, "started from token", START);
  if (!table || !want || table->n_dims != 2 || table->dim[0] != table->dim[1] || at < 0 || at >= table->dim[0]) {
    golden_check(k, false, "io/table must be square and hold the token that is started from");
    return;
  }
  int V = (int)tensor_last(table);
  int64_t n = tensor_count(want);
  const sample_options options = {.temperature = 0};
  const penalty_options penalty = {.presence = (float)golden_note(k, "alpha_presence", 0.3),
                                   .frequency = (float)golden_note(k, "alpha_frequency", 0.4),
                                   .decay = (float)golden_note(k, "alpha_decay", 0.9)};
  float *logits = mem_alloc((size_t)V, sizeof *logits), *scratch = mem_alloc(2 * (size_t)V, sizeof *scratch);
  int32_t *ids = mem_alloc((size_t)n, sizeof *ids);
  rng random = rng_make(0, 0);
  spoken said;
  if (spoken_new(&said, V) || !logits || !scratch || !ids) {
    golden_error(k);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    memcpy(logits, f32(table) + (size_t)at * (size_t)V, (size_t)V * sizeof *logits);
    spoken_penalise(&said, &penalty, logits);
    ids[i] = at = sample_token(logits, V, &options, &random, scratch, NULL);
    const char text = at < (int)sizeof uncounted - 1 ? uncounted[at] : 'x';
    spoken_add(&said, &penalty, at, spoken_weight(&text, 1));
  }
  golden_offer_ids(k, ids, (size_t)n, "io/generated");
  spoken_free(&said);
  free(logits), free(scratch), free(ids);
}

void golden_run_sampling(golden_case *k) {
  golden_rules(k, of_sampling);
  if (golden_has(k, "io/config")) sample_distributions(k);
  if (golden_has(k, "io/table")) sample_loop(k);
}
