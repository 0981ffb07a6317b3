#include "train/caption_batch.h"

#include <stdlib.h>
#include <string.h>

status caption_batch_new(caption_batch *b, const visualrwkv *m, int labels, int batch) {
  *b = (caption_batch){.batch = batch, .labels = labels};
  size_t B = (size_t)batch, S = (size_t)m->config.image_size, side = (size_t)visualrwkv_side(&m->config),
         P = side * side;
  b->scene = mem_zero(B, sizeof(scene *));
  for (size_t i = 0; b->scene && i < B; i++)
    if (!(b->scene[i] = scene_new(m->config.image_size))) return last_status();
  b->pixels = mem_alloc(B * S * S * 3, sizeof(float));
  b->patch_target = mem_alloc(B * P * (size_t)b->labels, sizeof(float));
  b->patch_weight = mem_alloc(B * P, sizeof(float));
  b->answer = mem_alloc(B * CAPTION_TOKENS, sizeof(int32_t));
  b->row = mem_alloc(B * CAPTION_TOKENS, sizeof(int32_t));
  b->target = mem_alloc(B * CAPTION_TOKENS, sizeof(int32_t));
  b->weight = mem_alloc(B * CAPTION_TOKENS, sizeof(float));
  bool ok =
      b->scene && b->pixels && b->patch_target && b->patch_weight && b->answer && b->row && b->target && b->weight;
  for (size_t i = 0; ok && i < B * P; i++) b->patch_weight[i] = 1 / (float)(B * P);
  return ok ? STATUS_OK : STATUS_MEMORY;
}

void caption_batch_free(caption_batch *b) {
  for (int i = 0; b->scene && i < b->batch; i++) scene_free(b->scene[i]);
  free(b->scene);
  free(b->pixels);
  free(b->patch_target);
  free(b->patch_weight);
  free(b->answer);
  free(b->row);
  free(b->target);
  free(b->weight);
  *b = (caption_batch){0};
}

/* Marks in every patch the kind and the said colour of each object that covers at least a quarter of it. */
static void label_patches(const scene *s, int patch, int side, uint32_t kinds, size_t labels, float *target) {
  memset(target, 0, (size_t)side * (size_t)side * labels * sizeof *target);
  for (int py = 0; py < side; py++)
    for (int px = 0; px < side; px++) {
      int covered[SCENE_MAX_OBJECTS + 1] = {0};
      for (int y = py * patch; y < (py + 1) * patch && y < s->size; y++)
        for (int x = px * patch; x < (px + 1) * patch && x < s->size; x++) covered[s->owner[y * s->size + x]]++;
      float *row = target + ((size_t)py * (size_t)side + (size_t)px) * labels;
      for (int i = 0; i < s->n_objects; i++) {
        if (4 * covered[i + 1] < patch * patch) continue;
        row[s->object[i].kind] = 1;
        if (s->object[i].colour != COLOUR_NONE) row[kinds + (uint32_t)s->object[i].colour - 1] = 1;
      }
    }
}

/* The answer's tokens: the caption after a blank, as it follows "Assistant:", then the stop token. */
static int answer_tokens(const visualrwkv *m, const char *caption, int32_t *ids) {
  char text[SCENE_MAX_CAPTION + 1];
  text[0] = ' ';
  size_t n = strlen(caption);
  memcpy(text + 1, caption, n);
  size_t tokens = tokenizer_encode(m->words, text, n + 1, ids, CAPTION_TOKENS - 1);
  if (tokens > CAPTION_TOKENS - 1) tokens = CAPTION_TOKENS - 1;
  ids[tokens] = m->stop;
  return (int)tokens + 1;
}

status caption_batch_make(caption_batch *b, const visualrwkv *m, const object_set *objects,
                          const scene_options *options, uint64_t seed, uint64_t first) {
  int B = b->batch, side = visualrwkv_side(&m->config),
      prompt = m->n_before + visualrwkv_image_tokens_count(m) + m->n_after;
  size_t image_floats = (size_t)m->config.image_size * (size_t)m->config.image_size * 3;
  status result = STATUS_OK;
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < B; i++) {
    scene *s = b->scene[i];
    if (scene_make(objects, options, seed, first + (uint64_t)i, s)) {
#pragma omp critical
      result = STATUS_FORMAT;
      continue;
    }
    visualrwkv_normalise(s->rgb, image_floats, b->pixels + (size_t)i * image_floats);
    label_patches(s, m->config.tower.patch, side, object_kinds(objects), (size_t)b->labels,
                  b->patch_target + (size_t)i * (size_t)side * (size_t)side * (size_t)b->labels);
  }
  if (result) return fail(result, "the object pack has no picture to draw for the chosen split");

  int32_t(*ids)[CAPTION_TOKENS] = mem_alloc((size_t)B, sizeof *ids);
  int *n = mem_alloc((size_t)B, sizeof *n);
  if (!ids || !n) {
    free(ids);
    free(n);
    return STATUS_MEMORY;
  }
  b->answer_length = b->rows = 0;
  for (int i = 0; i < B; i++) {
    n[i] = answer_tokens(m, b->scene[i]->caption, ids[i]);
    if (n[i] - 1 > b->answer_length) b->answer_length = n[i] - 1;
  }
  int length = prompt + b->answer_length;
  for (int i = 0; i < B; i++) {
    for (int t = 0; t < b->answer_length; t++) b->answer[i * b->answer_length + t] = t < n[i] - 1 ? ids[i][t] : 0;
    for (int t = 0; t < n[i]; t++, b->rows++) {
      b->row[b->rows] = i * length + prompt - 1 + t;
      b->target[b->rows] = ids[i][t];
      b->weight[b->rows] = 1 / ((float)B * (float)n[i]);
    }
  }
  free(ids);
  free(n);
  return STATUS_OK;
}
