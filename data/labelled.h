/* Pictures with one label each, whatever they are kept in:
 *
 *   a folder      every folder in it is a class that has the pictures in there (told by content) for its own
 *   a list        lines of `path TAB label`, or JSON Lines of {"image": path, "label": label}; paths are relative to
 * the list's folder an IDX file   of pictures [n,height,width] (idx.h); the labels, numbers, are in the file beside it
 * whose name has "labels-idx1" in place of "images-idx3"
 *
 * Names of classes stand in the order of their bytes, unless the caller gives them. IDX numbers count the given names,
 * or are names themselves. */
#ifndef LINNET_DATA_LABELLED_H
#define LINNET_DATA_LABELLED_H

#include "data/image.h"

typedef struct {
  char **name;
  size_t n, capacity;
} label_names;

/* The lines of a text file that are not empty; STATUS_FORMAT if one comes twice. */
status label_names_read(label_names *names, const char *path);
/* The same of what label_names_text gave. `where` begins sentences. */
status label_names_parse(label_names *names, const char *text, const char *where);
/* One name a line, with a zero byte after; free() it. */
char *label_names_text(const label_names *names);
void label_names_free(label_names *names);

typedef struct labelled labelled;

/* With `names` (NULL: its own), a label that is none of them is STATUS_FORMAT. NULL with a sentence. */
labelled *labelled_open(const char *path, const label_names *names);
void labelled_close(labelled *set); /* NULL is fine */

const label_names *labelled_names(const labelled *set);
size_t labelled_count(const labelled *set);                 /* at least 1 */
int32_t labelled_target(const labelled *set, size_t index); /* which name */
/* A picture, decoded now; NULL with a sentence that names it. Any number of threads may ask. */
image *labelled_picture(const labelled *set, size_t index);

#endif
