/* Learning-rate schedules. Steps are 0-based. Spec operators 6.4, language-models 5.3. */
#ifndef LINNET_TRAIN_SCHEDULE_H
#define LINNET_TRAIN_SCHEDULE_H

#include <stdint.h>

/* The one cycle of PyTorch's OneCycleLR with cosine phases: the rate climbs from peak/25 until 10 % of the steps are
 * done and falls to peak/250000 at the last, while beta1 goes from 0.95 to 0.85 and back. Spec rwkv-clip 10.2. */
typedef struct {
  double rate, beta1;
} one_cycle;
one_cycle schedule_one_cycle(int64_t step, int64_t steps, double peak);

/* Linear warm-up over `warmup` steps, then half a cosine from `peak` to `final` at `steps`. */
double schedule_cosine(int64_t step, int64_t warmup, int64_t steps, double peak, double final);

/* The official trainer's: from `first` to `last`, with a warm-up that begins at a share `warmup_from` of the rate. */
typedef struct {
  double first, last;
  int64_t warmup, steps; /* of the warm-up, of the whole run */
  double warmup_from;    /* 0.01 since RWKV-5, 0.2 for RWKV-4 */
  /* Tokens that end a cosine; 0: none, the rate falls exponentially over `steps` (linearly if either rate is 0);
   * negative: the mean of both. */
  int64_t exit_tokens;
  int64_t step_tokens; /* tokens of one step */
} rwkv_schedule;
/* `launched` is the step at which this launch began: a resumed run warms up again. */
double schedule_rwkv(const rwkv_schedule *s, int64_t step, int64_t launched);

#endif
