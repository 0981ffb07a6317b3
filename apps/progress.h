/* Progress of long work on stderr: a bar that is drawn over itself on a terminal, else a line every half minute. */
#ifndef LINNET_APPS_PROGRESS_H
#define LINNET_APPS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
  bool quiet, terminal, drawn;
  double last; /* when something was last shown */
} progress;

progress progress_begin(bool quiet);
/* `share` of the work is done, 0 to 1; the format gives what else there is to say. May be called as often as one likes.
 */
void progress_show(progress *p, double share, const char *format, ...) __attribute__((format(printf, 3, 4)));
void progress_end(progress *p); /* takes the bar away */

/* "2:05", "1:02:05", "3d 04:05:06"; "?" if it is not known. Returns out. */
enum { DURATION_TEXT = 32 };
char *duration_text(double seconds, char out[DURATION_TEXT]);

#endif
