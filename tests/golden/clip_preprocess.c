/* CLIP's published preprocessing: decoding, Pillow's resizing, cropping, normalising. Spec rwkv-clip section 8. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "tests/golden/runner.h"
#include "vision/rwkv_clip_image.h"

static const golden_rule rules[] = {
    {"io/*.f32", CLOSE, 0, 0x1p-23, NULL}, /* one unit in the last place */
    {"io/*", SAME, 0, 0, NULL},
    {NULL, GIVEN, 0, 0, NULL},
};

static void offer_pixels(golden_case *k, const image *im, const char *key) {
  if (!im) {
    golden_error(k);
    return;
  }
  size_t pixels = (size_t)im->width * (size_t)im->height;
  size_t n = im->mode == IMAGE_I ? pixels : pixels * image_pixel_size(im->mode);
  int32_t *values = mem_alloc(n, sizeof *values);
  for (size_t i = 0; values && i < n; i++)
    values[i] = im->mode == IMAGE_I ? ((const int32_t *)im->pixels)[i] : ((const uint8_t *)im->pixels)[i];
  if (values) golden_offer_ids(k, values, n, "%s", key);
  free(values);
}

/* The normalised picture, channels first as the case has it. */
static void offer_floats(golden_case *k, const image *im, const char *key) {
  if (!im) {
    golden_error(k);
    return;
  }
  size_t n = (size_t)im->width * (size_t)im->height;
  float *values = mem_alloc(6 * n, sizeof *values), *planes = values ? values + 3 * n : NULL;
  if (!values) {
    golden_error(k);
    return;
  }
  image_tower_normalise(im->pixels, 3 * n, values);
  for (size_t i = 0; i < 3 * n; i++) planes[i % 3 * n + i / 3] = values[i];
  golden_offer(k, planes, 3 * n, "%s", key);
  free(values);
}

/* One tensor of a picture, by what its name says: "decoded_native", "s64.u8". */
static void offer(golden_case *k, const image *im, const char *key, const char *what) {
  int size = 0, end = 0;
  image *rgb = image_to_rgb(im), *got = NULL;
  if (!strcmp(what, "decoded_native")) {
    offer_pixels(k, im, key);
  } else if (!strcmp(what, "decoded_rgb")) {
    offer_pixels(k, rgb, key);
  } else if (rgb && sscanf(what, "s%d.%n", &size, &end) == 1 && size > 0 && end) {
    got = image_clip_transform(strcmp(what + end, "rgbfirst_u8") ? im : rgb, size);
    if (!strcmp(what + end, "f32"))
      offer_floats(k, got, key);
    else if (!strcmp(what + end, "u8") || !strcmp(what + end, "rgbfirst_u8"))
      offer_pixels(k, got, key);
  }
  image_free(got);
  image_free(rgb);
}

static void run_picture(golden_case *k, const char *file, const char *mode) {
  static const char *const modes[] = {"L", "LA", "RGB", "RGBA", "P", "1", "I"};
  image *im = image_open(golden_path(k, file), &(image_limits){.keep_orientation = true});
  if (!im) {
    golden_error(k);
    return;
  }
  golden_check(k, !strcmp(mode, modes[im->mode]), "%s opens in mode %s", file, modes[im->mode]);
  size_t stem = strcspn(file, ".");
  for (size_t i = 0; golden_key(k, i); i++) {
    const char *name = golden_key(k, i) + strlen("io/");
    if (!strncmp(name, file, stem) && name[stem] == '.') offer(k, im, golden_key(k, i), name + stem + 1);
  }
  image_free(im);
}

static void run(golden_case *k) {
  golden_rules(k, rules);
  json_error_t error;
  json_t *cases = json_load_file(golden_path(k, "cases.json"), 0, &error), *entry;
  size_t i;
  if (!json_array_size(cases))
    golden_check(k, false, "cases.json cannot be read: %s", cases ? "it is empty" : error.text);
  json_array_foreach(cases, i, entry) {
    const char *file = json_string_value(json_object_get(entry, "file"));
    const char *mode = json_string_value(json_object_get(entry, "mode"));
    if (file && mode)
      run_picture(k, file, mode);
    else
      golden_check(k, false, "cases.json: entry %zu has no file or mode", i);
  }
  json_decref(cases);
}

const golden_system golden_clip_preprocess = {"clip-preprocess", run};
