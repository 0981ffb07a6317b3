/* linnet bench training: how near a training step comes to the machine's matrix products. */
#include <stdio.h>

#include "apps/bench.h"
#include "apps/limits.h"
#include "apps/output.h"
#include "train/caption_train.h"

static json_t *measure(const bench_options *o) {
  const int batch = o->batch ? o->batch : caption_train_defaults().run.batch;
  double most, rate, gflops;
  if (limit_sgemm(&most) || caption_train_bench(batch, o->steps, &rate, &gflops)) return NULL;
  return json_pack("{s:i,s:o,s:o,s:o,s:o}", "batch", batch, "samples_per_second", json_number(rate), "gflops",
                   json_number(gflops), "sgemm_gflops", json_number(most), "share", json_number(gflops / most));
}

static void print(const bench_options *o, const json_t *found) {
  (void)o;
  printf("training, %.0f scenes a step\n", number_in(found, "batch"));
  printf("  %-24s %9.1f /s\n", "scenes", number_in(found, "samples_per_second"));
  print_products("matrix products of a step", found);
}

const bench_part bench_training = {"training", true, false, measure, print};
