/* `linnet-data build`: from the sources to the split, the pack and the manifest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"
#include "data/build/pinned.h"

static const char PNG_ROOT[] = "/usr/share/openclipart/png";
static const char SVG_ROOT[] = "/usr/share/openclipart/svg";
static const char FONT[] = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
static const char ANNOTATIONS[] = "/usr/share/unicode/cldr/common/annotations/en.xml";

static void report(const char *source, const source_counts *c) {
  printf("%s: %u names; left out: %u by folder, %u without a kind, %u by name, %u too large, %u damaged, %u without an "
         "object, %u copies\n",
         source, c->files, c->excluded, c->unnamed, c->rejected, c->too_large, c->damaged, c->without_object,
         c->copies);
}

static status collect(const kind_table *kinds, candidate_list *out) {
  source_counts clipart = {0}, emoji = {0};
  name_table *names = name_table_read("data/build/synonyms.tsv", kinds);
  if (names == NULL) return last_status();
  status s = clipart_collect(PNG_ROOT, SVG_ROOT, "data/build", names, out, &clipart);
  if (s == STATUS_OK) s = emoji_collect(FONT, ANNOTATIONS, names, out, &emoji);
  name_table_free(names);
  if (s == STATUS_OK) {
    report("OpenClipart", &clipart);
    report("Noto Color Emoji", &emoji);
  }
  return s;
}

/* Says every kind of the table that is not as it must be, not only the first. */
static status check_kinds(const kind_table *kinds, const candidate_list *list) {
  uint32_t wrong = 0;
  for (uint32_t k = 0; k < kinds->n; k++) {
    const object_kind *kind = &kinds->kind[k];
    bool found = false;
    for (size_t i = 0; i < list->n && !found; i++) found = list->item[i].kind == k;
    if (!found) fprintf(stderr, "no picture: %s\n", kind->singular);
    if (kind->held_out != kind_is_held_out(kind->singular)) {
      fprintf(stderr, "held out should be %d: %s\n", !kind->held_out, kind->singular);
    }
    wrong += !found || kind->held_out != kind_is_held_out(kind->singular);
  }
  return wrong == 0 ? STATUS_OK : fail(STATUS_FORMAT, "data/kinds.tsv has %u wrong lines (see above)", wrong);
}

static status make_entries(const kind_table *kinds, const candidate_list *list, manifest_entry *entry) {
  for (size_t i = 0; i < list->n; i++) {
    const candidate *c = &list->item[i];
    const image *im = c->picture;
    entry[i] =
        (manifest_entry){.name = c->name,
                         .author = c->author,
                         .kind = c->kind,
                         .content = c->content,
                         .width = (uint16_t)im->width,
                         .height = (uint16_t)im->height,
                         .colour = (uint8_t)colour_of_picture(im->pixels, (size_t)im->width * (size_t)im->height),
                         .look = look_hash_of(im->pixels, im->width, im->height)};
  }
  return split_make(entry, (uint32_t)list->n, kinds);
}

static status write_pack(const char *path, const kind_table *kinds, const candidate_list *list,
                         const manifest_entry *entry) {
  object_picture *picture = mem_alloc(list->n, sizeof *picture);
  if (picture == NULL) return last_status();
  for (size_t i = 0; i < list->n; i++) {
    const manifest_entry *e = &entry[i];
    picture[i] = (object_picture){
        e->kind, e->split, e->colour, (uint8_t)list->item[i].source, e->width, e->height, list->item[i].picture->pixels,
        e->name};
  }
  status s = object_pack_write(path, kinds->kind, kinds->n, picture, (uint32_t)list->n);
  free(picture);
  return s;
}

/* ---- the manifest ---- */

/* The text of the manifest; free() it. */
static char *manifest_text(const kind_table *kinds, const manifest_entry *entry, uint32_t n, size_t *bytes) {
  char *text = NULL;
  FILE *stream = open_memstream(&text, bytes);
  status s = stream != NULL ? manifest_write(stream, entry, n, kinds) : STATUS_MEMORY;
  if (stream != NULL && fclose(stream) == 0 && s == STATUS_OK) return text;
  free(text);
  return fail_null(STATUS_MEMORY, "no memory for the manifest");
}

static status settle_manifest(const char *path, bool renew, const kind_table *kinds, const manifest_entry *entry,
                              uint32_t n) {
  size_t bytes;
  char *fresh = manifest_text(kinds, entry, n, &bytes);
  if (fresh == NULL) return last_status();
  status s = pinned_settle(path, renew, fresh, bytes);
  free(fresh);
  return s;
}

static status build_with(const kind_table *kinds, const char *pack, const char *manifest_path, bool renew,
                         const candidate_list *list, manifest_entry *entry) {
  status s = check_kinds(kinds, list);
  if (s == STATUS_OK) s = make_entries(kinds, list, entry);
  if (s == STATUS_OK) s = settle_manifest(manifest_path, renew, kinds, entry, (uint32_t)list->n);
  if (s == STATUS_OK) {
    folders_make(pack);
    s = write_pack(pack, kinds, list, entry);
  }
  return s;
}

status dataset_build(const char *pack, const char *manifest_path, bool renew) {
  candidate_list list = {0};
  manifest_entry *entry = NULL;
  kind_table *kinds = kind_table_read("data/kinds.tsv");
  status s = kinds != NULL ? collect(kinds, &list) : last_status();
  if (s == STATUS_OK) {
    entry = mem_zero(list.n, sizeof *entry);
    s = entry != NULL ? build_with(kinds, pack, manifest_path, renew, &list, entry) : last_status();
  }
  if (s == STATUS_OK) printf("%s: %zu pictures of %u kinds\n", pack, list.n, kinds->n);
  free(entry);
  candidate_list_free(&list);
  kind_table_free(kinds);
  return s;
}
