/* The growing list of pictures (data/build/build.h). */
#include <stdlib.h>

#include "data/build/build.h"

static status append(candidate_list *list, candidate item) {
  candidate *items = mem_room(list->item, list->n, &list->room, sizeof *items);
  if (items == NULL) return last_status();
  list->item = items;
  list->item[list->n++] = item;
  return STATUS_OK;
}

status candidate_add(candidate_list *list, const char *name, const char *author, uint32_t kind, object_source source,
                     image *picture, bool *copy) {
  uint64_t content = content_hash(picture->pixels, picture->width, picture->height);
  *copy = false;
  for (size_t i = 0; i < list->n && !*copy; i++) *copy = list->item[i].content == content;
  if (*copy) {
    image_free(picture);
    return STATUS_OK;
  }
  candidate item = {mem_string(name), mem_string(author), kind, source, content, picture};
  if (item.name == NULL || item.author == NULL || append(list, item) != STATUS_OK) {
    free(item.name);
    free(item.author);
    image_free(picture);
    return last_status();
  }
  return STATUS_OK;
}

void candidate_list_free(candidate_list *list) {
  for (size_t i = 0; i < list->n; i++) {
    free(list->item[i].name);
    free(list->item[i].author);
    image_free(list->item[i].picture);
  }
  free(list->item);
  *list = (candidate_list){0};
}
