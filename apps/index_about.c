/* What an index keeps of its rows and of the model that made them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/index.h"
#include "apps/output.h"
#include "weights/checksum.h"
#include "weights/metadata.h"

/* --- rows --------------------------------------------------------------------------------------------------------- */

const char *const measured_fields[] = {FIELD_WIDTH, "height", "bytes", "modified", NULL};

json_t *record_metadata(const index_record *r) {
  json_t *metadata = json_loads(r->metadata, JSON_ALLOW_NUL, NULL);
  if (json_is_object(metadata)) return metadata;
  json_decref(metadata);
  return json_object();
}

bool is_picture(const json_t *metadata) { return json_is_number(json_object_get(metadata, FIELD_WIDTH)); }

char *picture_file(const char *path, const char *index) {
  if (!access(path, F_OK)) return mem_string(path);
  const char *slash = *path == '/' ? NULL : strrchr(index, '/');
  if (!slash) return NULL;
  const size_t folder = (size_t)(slash - index) + 1, room = folder + strlen(path) + 1;
  char *there = mem_alloc(room, 1);
  if (there) snprintf(there, room, "%.*s%s", (int)folder, index, path);
  if (there && !access(there, F_OK)) return there;
  free(there);
  return NULL;
}

/* --- names of files ----------------------------------------------------------------------------------------------- */

bool is_faiss_name(const char *name) { return text_ends_with(name, ".index") || text_ends_with(name, ".faiss"); }

/* --- models ------------------------------------------------------------------------------------------------------- */

static const char key_model[] = "model", key_parameters[] = "parameters";

char *about_pair(const clip_model *m, const char *path) {
  const char *slash = strrchr(path, '/');
  char parameters[CHECKSUM_DIGITS + 1];
  checksum *sum = checksum_new();
  if (!sum) return NULL;
  params_each_value(&m->pair.params, checksum_values, sum);
  checksum_text(sum, parameters);
  checksum_free(sum);
  json_t *about = json_pack("{s:o,s:s,s:i,s:b}", key_model, json_text(slash ? slash + 1 : path), key_parameters,
                            parameters, "side", m->side, "fit", m->pair.config.fit);
  char *text = metadata_json_text(about, JSON_COMPACT);
  json_decref(about);
  return text;
}

json_t *about_name(const char *about) {
  json_t *value = json_loads(about, 0, NULL);
  json_t *name = json_incref(json_object_get(value, key_model));
  json_decref(value);
  return name ? name : json_null();
}

bool about_same(const char *one, const char *other) {
  json_t *a = json_loads(one, 0, NULL), *b = json_loads(other, 0, NULL);
  json_object_del(a, key_model);
  json_object_del(b, key_model);
  const bool same = a && b && json_equal(a, b);
  json_decref(a);
  json_decref(b);
  return same;
}

status about_check(const char *index, const index_facts *facts, const clip_model *m, const char *path) {
  const size_t width = (size_t)clip_width(&m->pair);
  json_t *name = about_name(facts->about);
  const char *made_by = json_is_string(name) ? json_string_value(name) : "another model";
  char *about = about_pair(m, path);
  status s = about ? STATUS_OK : last_status();
  if (!s && width != facts->width)
    s = fail(STATUS_ARGUMENT,
             "%s has vectors of %zu numbers, made by %s, and %s makes such of %zu: give the model that made them with "
             "--model",
             index, facts->width, made_by, path, width);
  else if (!s && !about_same(facts->about, about))
    s = fail(STATUS_ARGUMENT, "%s was made by %s, and %s is another model: give the one that made it with --model",
             index, made_by, path);
  json_decref(name);
  free(about);
  return s;
}
