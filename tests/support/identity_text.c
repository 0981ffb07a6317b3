#include "tests/support/identity_text.h"

#include <stdio.h>
#include <string.h>

const char *identity_text(const identity *id, char text[IDENTITY_TEXT]) {
  size_t n = 0;
  const char *part = "";
  text[0] = 0;
  for (int i = 0; i < id->n_sizes && n < IDENTITY_TEXT; i++) {
    const identity_size *s = &id->size[i];
    const bool same = !strcmp(s->part, part);
    n += (size_t)snprintf(text + n, IDENTITY_TEXT - n, "%s%s%s%s %lld",
                          !n     ? ""
                          : same ? ", "
                                 : "; ",
                          same ? "" : s->part, same ? "" : ": ", s->name, (long long)s->value);
    part = s->part;
  }
  return text;
}
