/* What the parts of the dataset builder share. The rules in words: docs/data.md. */
#ifndef LINNET_DATA_BUILD_BUILD_H
#define LINNET_DATA_BUILD_BUILD_H

#include "data/image.h"
#include "data/split.h"

enum { PICTURE_SIDE = 128, PICTURE_LEAST = 32 }; /* longer side of a packed picture; shorter ones are left out */

/* A picture on its way into the pack. Owns its strings and pixels. */
typedef struct {
  char *name, *author;
  uint32_t kind;
  object_source source;
  uint64_t content; /* content_hash of the picture */
  image *picture;   /* RGBA, cut out */
} candidate;

typedef struct {
  candidate *item;
  size_t n, room;
} candidate_list;

/* Takes the picture over, also on failure. *copy: the list has the very same pixels already, and nothing was added. */
status candidate_add(candidate_list *list, const char *name, const char *author, uint32_t kind, object_source source,
                     image *picture, bool *copy);
void candidate_list_free(candidate_list *list);

/* ---- names.c: which kind a name says ---- */
typedef struct name_table name_table;
name_table *name_table_read(const char *synonyms_path, const kind_table *kinds);
void name_table_free(name_table *names);

enum { NAME_UNKNOWN = -1, NAME_REJECTED = -2 };
/* The kind of a title or file name by its head noun. `place` is the folder of a file, or "emoji". */
int64_t kind_of_name(const name_table *names, const char *text, const char *place);
/* Lower-case words of letters separated by one space; what is in parentheses is left out. */
void normal_words(const char *text, char *out, size_t capacity);

/* ---- cutout.c: from a whole picture to the cut-out object ---- */
/* RGBA, cropped to what is opaque, at most PICTURE_SIDE. NULL with status UNSUPPORTED and the reason as sentence if
 * there is nothing to cut out. */
image *cut_out(const image *whole);

/* ---- the sources ---- */
typedef struct {
  uint32_t files, excluded, unnamed, rejected, without_object, too_large, copies, damaged;
} source_counts;
status clipart_collect(const char *png_root, const char *svg_root, const char *tables, const name_table *names,
                       candidate_list *out, source_counts *counts);
status emoji_collect(const char *font, const char *annotations, const name_table *names, candidate_list *out,
                     source_counts *counts);

/* ---- dataset.c ---- */
/* Makes the pack. The manifest is written if there is none or `renew` is set; otherwise the build must reproduce it. */
status dataset_build(const char *pack, const char *manifest_path, bool renew);

/* ---- svg.c ---- */
/* The keywords (dc:subject) of an SVG file, plain or gzip-compressed, separated by '\n'; "" if there are none. Free
 * with free(). */
char *svg_keywords(const char *path);

/* ---- sheet.c ---- */
/* Every picture of the set that passes the filters (which split or kind < 0: any) on one PNG, `columns` a row. */
status sheet_write(const object_set *set, const char *path, int which, int64_t kind, uint32_t first, uint32_t most,
                   int columns);

/* ---- tasks.c ---- */
typedef struct {
  size_t passages, questions;
} task_counts;
/* Makes FOLDER/lambada.jsonl and FOLDER/choices.jsonl from FOLDER/test.jsonl, and nothing else. */
status tasks_make(const char *folder, task_counts *counts);

#endif
