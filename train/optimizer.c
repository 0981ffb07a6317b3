#include "train/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

const recipe recipe_rwkv = {{
    [PARAM_MATRIX] = {1, true},
    [PARAM_EMBEDDING] = {1, true},
    [PARAM_LOW_RANK] = {1, false},
    [PARAM_MIX] = {1, false},
    [PARAM_DECAY] = {2, false},
    [PARAM_BONUS] = {1, false},
    [PARAM_LOG_BONUS] = {3, false},
    [PARAM_NORM] = {1, false},
    [PARAM_BIAS] = {1, false},
    [PARAM_POSITION] = {1, false},
    [PARAM_STATE] = {1, true},
}};

const recipe recipe_clip = {{
    [PARAM_MATRIX] = {1, true},
    [PARAM_EMBEDDING] = {1, true},
    [PARAM_LOW_RANK] = {1, true},
    [PARAM_MIX] = {1, true},
    [PARAM_DECAY] = {1, true},
    [PARAM_BONUS] = {1, true},
    [PARAM_LOG_BONUS] = {1, true},
    [PARAM_NORM] = {1, true},
    [PARAM_BIAS] = {1, true},
    [PARAM_POSITION] = {1, true},
    [PARAM_STATE] = {1, true},
}};

status adamw_new(adamw *o, param_set *set, const adamw_options *options) {
  *o = (adamw){.set = set, .options = *options};
  o->first = mem_zero(set->count, sizeof *o->first);
  o->second = mem_zero(set->count, sizeof *o->second);
  return o->first && o->second ? STATUS_OK : STATUS_MEMORY;
}

status adamw_of_run(adamw *o, param_set *set, const run_settings *run, double eps, const recipe *groups) {
  const adamw_options options = {.beta1 = run->beta1,
                                 .beta2 = run->beta2,
                                 .eps = eps,
                                 .weight_decay = run->weight_decay,
                                 .clip = run->clip,
                                 .recipe = groups};
  const status s = params_want_grads(set, true);
  return s ? s : adamw_new(o, set, &options);
}

void adamw_free(adamw *o) {
  free(o->first);
  free(o->second);
  *o = (adamw){0};
}

status adamw_step(adamw *o, double rate, double *norm) {
  const adamw_options *k = &o->options;
  param_set *set = o->set;
  double length = sqrt(cpu()->sum_squares(set->count, set->grads));
  if (norm) *norm = length;
  if (!isfinite(length)) return fail(STATUS_FORMAT, "the gradient is not finite");
  double scale = k->clip > 0 && length > k->clip ? k->clip / (length + 1e-6) : 1;
  o->steps++;
  double c1 = 1 / (1 - pow(k->beta1, (double)o->steps)), c2 = 1 / (1 - pow(k->beta2, (double)o->steps));
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    const recipe_row *row = &k->recipe->of[p->spec->class];
    cpu()->adamw((size_t)tensor_count(p->value), (float)(rate * row->rate), (float)k->beta1, (float)k->beta2,
                 (float)k->eps, row->decay ? (float)k->weight_decay : 0, (float)c1, (float)c2, (float)scale,
                 set->grads + p->first, o->first + p->first, o->second + p->first, f32(p->value));
  }
  return STATUS_OK;
}

void adamw_buffers(const adamw *o, param_buffer buffers[ADAMW_BUFFERS]) {
  buffers[0] = (param_buffer){"optimizer.first.", o->first};
  buffers[1] = (param_buffer){"optimizer.second.", o->second};
}

params_file adamw_checkpoint(const adamw *o, param_buffer moments[ADAMW_BUFFERS]) {
  adamw_buffers(o, moments);
  return (params_file){.type = CHECKPOINT_F32, .training = true, .n_buffers = ADAMW_BUFFERS, .buffers = moments};
}

status adamw_load(adamw *o, const checkpoint *file, int64_t steps) {
  param_buffer buffers[ADAMW_BUFFERS];
  status s = STATUS_OK;
  adamw_buffers(o, buffers);
  for (int i = 0; !s && i < ADAMW_BUFFERS; i++) s = params_load_buffer(o->set, file, &buffers[i]);
  o->steps = steps;
  return s;
}
