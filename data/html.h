/* Character references of HTML in a text: "&eacute;", "&#233;", "&#xe9;" for one character.
 *
 * Two readings. The standard's (HTML Living Standard 13.2.5.72 to 80, as Python's html.unescape has it) also takes
 * references that lack their semicolon, if old HTML had them: "&notit;" begins with "&not". The careful one, ftfy's,
 * takes whole references only, and small letters' names in capitals. Spec rwkv-clip 7.3 and 7.4. */
#ifndef LINNET_DATA_HTML_H
#define LINNET_DATA_HTML_H

#include "kernels/base.h"

/* One reference each, its name and its one or two characters in hexadecimal: "Aacute c1", or "Abreve; 102" if the
 * semicolon must be there. */
extern const char *const html_entities[];
extern const size_t n_html_entities;

typedef enum { HTML_STANDARD, HTML_CAREFUL } html_reading;

/* Replaces the references of n bytes of valid UTF-8. `out` has room for HTML_ROOM(n) bytes; returns how many there are.
 * The worst is "&nGt;", which becomes six bytes. */
size_t html_unescape(const char *text, size_t n, html_reading reading, char *out);
#define HTML_ROOM(n) ((n) + (n) / 5)

#endif
