/* The pictures that operands name: files as they are, folders by their content, lists by their lines. */
#ifndef LINNET_APPS_INPUTS_H
#define LINNET_APPS_INPUTS_H

#include "kernels/base.h"

typedef struct {
  char **path;
  size_t n, capacity;
  bool named_one; /* one operand, and it is a picture's */
  bool failed;    /* a folder could not be read or has no picture; it was named on stderr */
} inputs;

/* Folders give their pictures, recognised by content, in the order of their names; with `recursive` also those of the
 * folders in them (symbolic links to folders are not followed). A file of a folder that cannot be looked at is among
 * them, so that it is missed by nobody: opening it says why. A text whose first line is the path of something that is
 * there is a list: a path a line, from the list's folder on if it does not begin with a slash. Start with zeros; free
 * in every case. */
status inputs_gather(inputs *in, char *const *operand, size_t n, bool recursive);
void inputs_free(inputs *in);

#endif
