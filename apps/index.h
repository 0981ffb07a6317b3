/* What `linnet index` can do, one function each, and what they share. */
#ifndef LINNET_APPS_INDEX_H
#define LINNET_APPS_INDEX_H

#include <jansson.h>

#include "apps/args.h"
#include "fusion/clip_model.h"
#include "fusion/vector_index.h"

/* argv[0] is the word. */
int run_index_build(int argc, char **argv);
int run_index_add(int argc, char **argv);
int run_index_delete(int argc, char **argv);
int run_index_stats(int argc, char **argv);
int run_index_verify(int argc, char **argv);
int run_index_compact(int argc, char **argv);
int run_index_merge(int argc, char **argv);
int run_index_export(int argc, char **argv);

/* --- what is known of a row --------------------------------------------------------------------------------------- */

/* The members of its metadata that are measured of a picture, and not said by anybody; ends with NULL. */
extern const char *const measured_fields[];
#define FIELD_WIDTH "width" /* whoever has one is a picture */

/* New reference; an empty object, never NULL but for want of memory, if the text is no object. */
json_t *record_metadata(const index_record *r);
/* Whether a row is a picture's, and not a text's. */
bool is_picture(const json_t *metadata);
/* A picture's file: at its path, else, if the path is relative, from the index's folder on. The caller frees it; NULL
 * if it is at neither place. */
char *picture_file(const char *path, const char *index);

/* --- names of files ----------------------------------------------------------------------------------------------- */

bool is_faiss_name(const char *name); /* .index, .faiss */

/* --- the model that made an index --------------------------------------------------------------------------------- */

/* What an index keeps of a pair that was read from `path`: {"model": name, "parameters": checksum, "side", "fit"}. The
 * caller frees it. */
char *about_pair(const clip_model *m, const char *path);
/* The model's name in such a text (new reference), or null. */
json_t *about_name(const char *about);
/* Whether two such texts are of one model, whatever its file was called. */
bool about_same(const char *one, const char *other);
/* STATUS_ARGUMENT, with a sentence, unless this pair is the one that made the index, or one that cannot be told from
 * it. */
status about_check(const char *index, const index_facts *facts, const clip_model *m, const char *path);

#endif
