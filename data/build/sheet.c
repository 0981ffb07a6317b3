/* Contact sheets: what is in the pack, to be looked at. */
#include <string.h>

#include "data/build/build.h"

enum { CELL = 68, THUMB = 64 };

/* Puts the picture, on white and made to fit, into a cell of the sheet. */
static status place(const object_picture *p, image *sheet, int column, int row) {
  image *whole = image_new(IMAGE_RGBA, p->width, p->height);
  if (whole == NULL) return last_status();
  memcpy(whole->pixels, p->rgba, (size_t)p->width * p->height * 4);
  image *small = image_fit_square(whole, THUMB);
  image_free(whole);
  if (small == NULL) return last_status();
  for (int y = 0; y < THUMB; y++) {
    uint8_t *to = (uint8_t *)sheet->pixels +
                  3 * ((size_t)(row * CELL + y + 2) * (size_t)sheet->width + (size_t)(column * CELL + 2));
    memcpy(to, (uint8_t *)small->pixels + (size_t)y * THUMB * 3, THUMB * 3);
  }
  image_free(small);
  return STATUS_OK;
}

static bool is_wanted(const object_picture *p, int which, int64_t kind) {
  return (which < 0 || p->split == which) && (kind < 0 || p->kind == kind);
}

status sheet_write(const object_set *set, const char *path, int which, int64_t kind, uint32_t first, uint32_t most,
                   int columns) {
  uint32_t wanted = 0, shown = 0;
  for (uint32_t i = 0; i < object_pictures(set); i++) wanted += is_wanted(object_picture_at(set, i), which, kind);
  if (wanted <= first) return fail(STATUS_ARGUMENT, "the pack has only %u such pictures", wanted);
  uint32_t cells = wanted - first < most ? wanted - first : most;
  image *sheet =
      image_new(IMAGE_RGB, columns * CELL, (int)((cells + (uint32_t)columns - 1) / (uint32_t)columns) * CELL);
  if (sheet == NULL) return last_status();
  memset(sheet->pixels, 200, (size_t)sheet->width * (size_t)sheet->height * 3);
  status s = STATUS_OK;
  for (uint32_t k = 0; k < object_kinds(set) && s == STATUS_OK; k++) { /* by kind, so that odd ones stand out */
    for (uint32_t i = 0; i < object_pictures(set) && s == STATUS_OK; i++) {
      const object_picture *p = object_picture_at(set, i);
      if (p->kind != k || !is_wanted(p, which, kind)) continue;
      if (shown >= first && shown < first + cells) {
        s = place(p, sheet, (int)((shown - first) % (uint32_t)columns), (int)((shown - first) / (uint32_t)columns));
      }
      shown++;
    }
  }
  if (s == STATUS_OK) s = image_write_png(path, sheet);
  image_free(sheet);
  return s;
}
