/* Lists of pictures with what is said of them, to learn from or to be judged by. What a path is, its content says:
 *
 *   a folder        NAME.png (or any other picture) beside NAME.txt, a caption on every line that is not blank; and the
 *                   *.tar in it, each as below
 *   a tar archive   a shard of a web data set: files of one name, up to its first dot, are one sample: a picture, and
 *                   .txt as above or .json as a line below
 *   JSON Lines      an object a line: the picture's path under "image", "file_name" or "path", its captions under
 *                   "caption", "captions" or "text", a string or several
 *   anything else   a line is a path, and after tabs its captions; empty lines and those with '#' first are left out
 *
 * Paths that do not begin with '/' begin at the list's folder. Pictures are not opened before they are asked for. */
#ifndef LINNET_DATA_PAIRS_H
#define LINNET_DATA_PAIRS_H

#include "data/image.h"

#define PAIRS_MAX_BYTES ((uint64_t)1 << 30) /* of a list */

typedef struct {
  char *name;          /* the picture's path, or its name in the archive */
  uint32_t archive;    /* PAIRS_NO_ARCHIVE: a file of its own */
  size_t offset, size; /* in the archive */
  size_t first;        /* of its captions */
  uint32_t n;          /* captions, at least one */
} pair_entry;
#define PAIRS_NO_ARCHIVE UINT32_MAX

typedef struct {
  char *path;
  const void *data; /* mapped */
  size_t size;
} pair_archive;

typedef struct {
  pair_entry *entry;
  size_t n, capacity;
  char **caption;
  size_t n_captions, caption_capacity;
  pair_archive *archive;
  size_t n_archives, archive_capacity;
  size_t unpaired; /* samples of folders and archives that lack their picture or their text: left out */
} pairs;

/* Adds what a path has; STATUS_FORMAT names the list and the line that is broken, or says that there is no pair. Start
 * with zeros; free in every case. */
status pairs_read(pairs *p, const char *path);
void pairs_free(pairs *p);

/* The picture of entry i; NULL with a sentence that names it. Threads may share the list. */
image *pairs_picture(const pairs *p, size_t i);
static inline const char *pairs_caption(const pairs *p, size_t i, uint32_t k) {
  return p->caption[p->entry[i].first + k];
}
/* All captions with the entries they belong to, in order: texts and entry_of [n_captions] -> how many. */
size_t pairs_captions(const pairs *p, const char **texts, int32_t *entry_of);
/* Tells lists apart: a hash of every name and caption. */
uint64_t pairs_digest(const pairs *p);

#endif
