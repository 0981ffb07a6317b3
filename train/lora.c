#include "train/lora.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/ops.h"

enum { RANK = 1, IN, OUT, LORA_SIZES };
static const param_spec rows[] = {
    {"lora_A", offsetof(lora_pair, A), {-RANK, -IN}, PARAM_MATRIX, init_fan_in, 0, 0, LAYOUT_SAME},
    {"lora_B", offsetof(lora_pair, B), {-OUT, -RANK}, PARAM_MATRIX, init_constant, 0, 0, LAYOUT_SAME},
};
static const char ending[] = "weight"; /* of an adapted matrix's name, in whose place the factors' names are put */

static bool is_adapted(const param *p) {
  const size_t n = strlen(p->name), end = sizeof ending - 1;
  return p->spec->class == PARAM_MATRIX && p->n_dims == 2 && strstr(p->spec->name, "%d") && n > end &&
         !strcmp(p->name + n - end, ending);
}

static status declare_pair(lora *l, size_t item, int rank) {
  const param *w = &l->base->item[item];
  const int64_t sizes[LORA_SIZES] = {[RANK] = rank, [IN] = w->dim[1], [OUT] = w->dim[0]};
  char *prefix = mem_string(w->name);
  if (!prefix) return STATUS_MEMORY;
  prefix[strlen(prefix) - (sizeof ending - 1)] = 0;
  lora_pair *pair = &l->pair[l->n++];
  pair->adapted = item;
  const status s = params_declare(&l->factors, prefix, rows, sizeof rows / sizeof *rows, -1, 1, sizes, pair);
  free(prefix);
  return s;
}

status lora_new(lora *l, param_set *base, int rank, double alpha) {
  *l = (lora){.base = base, .scale = (float)(alpha / rank)};
  if (!(l->pair = mem_zero(base->n, sizeof *l->pair))) return STATUS_MEMORY;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < base->n; i++)
    if (is_adapted(&base->item[i])) s = declare_pair(l, i, rank);
  return s ? s : params_allocate(&l->factors);
}

void lora_free(lora *l) {
  params_free(&l->factors);
  free(l->pair);
  *l = (lora){0};
}

/* W + (alpha / rank) B A */
static tensor *adapted(const lora *l, ctx *c, const lora_pair *p) {
  tensor *scaled = scale(c, p->B, l->scale);
  return scaled ? add(c, l->base->item[p->adapted].value, linear_right(c, scaled, p->A)) : NULL;
}

status lora_apply(lora *l, ctx *c) {
  for (size_t i = 0; i < l->n; i++) {
    tensor *w = adapted(l, c, &l->pair[i]);
    if (!w) {
      lora_remove(l);
      return last_status();
    }
    *l->base->item[l->pair[i].adapted].slot = w;
  }
  return STATUS_OK;
}

void lora_remove(lora *l) {
  for (size_t i = 0; i < l->n; i++) {
    const param *w = &l->base->item[l->pair[i].adapted];
    *w->slot = w->value;
  }
}

float *lora_merged(const lora *l, ctx *c) {
  float *values = mem_alloc(l->base->count, sizeof *values);
  if (values) memcpy(values, l->base->values, l->base->count * sizeof *values);
  for (size_t i = 0; values && i < l->n; i++) {
    const arena_mark mark = arena_here(c->memory);
    const tensor *w = adapted(l, c, &l->pair[i]);
    if (w) {
      memcpy(values + l->base->item[l->pair[i].adapted].first, w->data, (size_t)tensor_count(w) * sizeof *values);
    } else {
      free(values);
      values = NULL;
    }
    arena_release(c->memory, mark);
  }
  return values;
}
