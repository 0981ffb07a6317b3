/* The pictures that operands name: files as they are, folders by their content, lists by their lines. */
#ifndef LINNET_APPS_INPUTS_H
#define LINNET_APPS_INPUTS_H

#include <jansson.h>

#include "kernels/base.h"

/* What a list says of a picture. */
typedef struct {
  char *caption;  /* NULL: nothing */
  json_t *fields; /* the other members of its JSON line; NULL: none */
} input_said;

typedef struct {
  char **path;
  input_said *said; /* of each */
  size_t n, capacity, said_capacity;
  bool named_one; /* one operand, and it is a picture's */
  bool failed;    /* a folder could not be read or has no picture; it was named on stderr */
} inputs;

/* Folders give their pictures, recognised by content, in the order of their names; with `recursive` also those of the
 * folders in them (symbolic links to folders are not followed). A file of a folder that cannot be looked at is among
 * them, so that it is missed by nobody: opening it says why. A text is a list if its first line begins with the path of
 * something that is there, or is a JSON object: lines of a path and, after tabs, captions, or JSON Lines as in
 * data/pairs.h, where captions may be absent. A path is from the list's folder on if it does not begin with a slash.
 * Start with zeros; free in every case. */
status inputs_gather(inputs *in, char *const *operand, size_t n, bool recursive);
void inputs_free(inputs *in);

/* What a line of JSON Lines says: captions under caption, captions or text (several become one, with "; " between), and
 * all members but those, the path's and `left_out` (may be NULL). Members of an object under "metadata" count as its
 * own. *path (may be NULL, and becomes so if there is none) lies in `line`. */
status input_line(const json_t *line, const char *const *left_out, const char **path, input_said *said);
void input_said_free(input_said *said);

#endif
