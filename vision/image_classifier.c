#include "vision/image_classifier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 1, WIDTH, HEAD_SIZES };
/* clang-format off */
static const param_spec head_rows[] = {
    {"head.weight", offsetof(image_classifier, weight), {-CLASSES, -WIDTH}, PARAM_MATRIX, init_fan_in, 0, 0, 0},
    {"head.bias", offsetof(image_classifier, bias), {-CLASSES}, PARAM_BIAS, init_constant, 0, 0, 0},
};
/* clang-format on */
static const char tower_prefix[] = "tower.";
static const char key_size[] = "linnet.image_size", key_scan[] = "linnet.tower_scan", key_labels[] = "linnet.labels";
static const char scan_rows[] = "rows", scan_alternate[] = "alternate";

/* --- declaration -------------------------------------------------------------------------------------------------- */

static status copy_names(label_names *to, const label_names *from) {
  char *text = label_names_text(from);
  const status s = text ? label_names_parse(to, text, "the classes") : STATUS_MEMORY;
  free(text);
  return s;
}

status image_classifier_declare(image_classifier *m, const image_classifier_config *config, const label_names *names) {
  enum { LARGEST = 4096 };
  *m = (image_classifier){.config = *config};
  if (config->image_size < 1 || config->image_size > LARGEST)
    return fail(STATUS_FORMAT, "pictures of %d pixels a side: expected 1 to %d", config->image_size, LARGEST);
  status s = copy_names(&m->names, names);
  if (!s) s = image_tower_new(&m->tower, &config->tower, tower_prefix, &m->params);
  const int64_t sizes[HEAD_SIZES] = {[CLASSES] = (int64_t)names->n, [WIDTH] = config->tower.width};
  return s ? s : params_declare(&m->params, "", head_rows, sizeof head_rows / sizeof *head_rows, -1, 1, sizes, m);
}

void image_classifier_free(image_classifier *m) {
  image_tower_free(&m->tower);
  params_free(&m->params);
  label_names_free(&m->names);
  *m = (image_classifier){0};
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static status config_read(image_classifier_config *k, const checkpoint *file) {
  const char *size = checkpoint_metadata(file, key_size), *scan = checkpoint_metadata(file, key_scan);
  const status s = image_tower_config_read(&k->tower, file, tower_prefix);
  if (s) return s;
  char *end = NULL;
  const long side = size ? strtol(size, &end, 10) : 0;
  if (!size || end == size || *end || side < 1 || side > 1 << 16)
    return fail(STATUS_FORMAT, "%s: metadata '%s' is '%.40s', expected a positive number", checkpoint_path(file),
                key_size, size ? size : "");
  k->image_size = (int)side;
  k->tower.alternate_scan = scan && !strcmp(scan, scan_alternate);
  if (!scan || (!k->tower.alternate_scan && strcmp(scan, scan_rows)))
    return fail(STATUS_UNSUPPORTED, "%s: metadata '%s' is '%.40s', expected '%s' or '%s'", checkpoint_path(file),
                key_scan, scan ? scan : "", scan_rows, scan_alternate);
  return STATUS_OK;
}

status image_classifier_declare_like(image_classifier *m, const checkpoint *file) {
  *m = (image_classifier){0};
  const char *system = checkpoint_metadata(file, CHECKPOINT_SYSTEM), *labels = checkpoint_metadata(file, key_labels);
  if (!system || strcmp(system, IMAGE_CLASSIFIER_SYSTEM) || !labels)
    return fail(STATUS_UNSUPPORTED, "%s: not a classifier of pictures (its metadata '%s' is %.40s, expected %s)",
                checkpoint_path(file), CHECKPOINT_SYSTEM, system ? system : "absent", IMAGE_CLASSIFIER_SYSTEM);
  image_classifier_config config = {0};
  label_names names = {0};
  status s = config_read(&config, file);
  if (!s) s = label_names_parse(&names, labels, checkpoint_path(file));
  if (!s) s = image_classifier_declare(m, &config, &names);
  label_names_free(&names);
  return s;
}

status image_classifier_load(image_classifier *m, const checkpoint *file) {
  status s = image_classifier_declare_like(m, file);
  return s ? s : params_open(&m->params, file, PARAMS_FOR_USE);
}

image_classifier *image_classifier_open(const char *path) {
  checkpoint *file = checkpoint_open(path);
  if (!file) return NULL;
  image_classifier *m = mem_zero(1, sizeof *m);
  if (m && image_classifier_load(m, file)) {
    image_classifier_close(m);
    m = NULL;
  }
  checkpoint_close(file);
  return m;
}

void image_classifier_close(image_classifier *m) {
  if (m) image_classifier_free(m);
  free(m);
}

status image_classifier_save(const image_classifier *m, const char *path, const params_file *what) {
  enum { OWN = 4 };
  char size[16];
  snprintf(size, sizeof size, "%d", m->config.image_size);
  char *labels = label_names_text(&m->names);
  const char *(*all)[2] = mem_alloc(OWN + what->n_metadata, sizeof *all);
  status s = labels && all ? STATUS_OK : STATUS_MEMORY;
  if (!s) {
    const char *const own[OWN][2] = {
        {CHECKPOINT_SYSTEM, IMAGE_CLASSIFIER_SYSTEM},
        {key_size, size},
        {key_scan, m->config.tower.alternate_scan ? scan_alternate : scan_rows},
        {key_labels, labels},
    };
    memcpy(all, own, sizeof own);
    if (what->n_metadata) memcpy(all + OWN, what->metadata, what->n_metadata * sizeof *all);
    params_file whole = *what;
    whole.n_metadata += OWN;
    whole.metadata = (const char *const(*)[2])all;
    s = params_save(&m->params, path, &whole);
  }
  free(all), free(labels);
  return s;
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

status image_classifier_picture(const image_classifier *m, const image *im, uint8_t *rgb) {
  image *square = image_fit_square(im, m->config.image_size);
  if (!square) return last_status();
  memcpy(rgb, square->pixels, (size_t)square->width * (size_t)square->height * 3);
  image_free(square);
  return STATUS_OK;
}

tensor *image_classifier_logits(ctx *c, const image_classifier *m, const tensor *pixels, const image_tower_drop *drop) {
  int h, w;
  tensor *tokens = image_tower_tokens_drop(c, &m->tower, pixels, drop, &h, &w);
  return linear(c, image_tower_pool(c, &m->tower, tokens), m->weight, m->bias);
}
