#include "apps/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kernels/base.h"

static const double terminal_pause = 0.1, line_pause = 30; /* seconds */

progress progress_begin(bool quiet) {
  const bool terminal = isatty(STDERR_FILENO);
  return (progress){.quiet = quiet, .terminal = terminal, .last = clock_seconds() - (terminal ? terminal_pause : 0)};
}

static int terminal_width(void) {
  struct winsize size;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

static void draw_bar(double share, const char *text) {
  enum { CELLS = 20 };
  char bar[CELLS + 1], line[512];
  int done = (int)(share * CELLS);
  for (int i = 0; i < CELLS; i++) bar[i] = i < done ? '#' : '.';
  bar[CELLS] = 0;
  snprintf(line, sizeof line, "[%s] %3.0f%% %s", bar, 100 * share, text);
  fprintf(stderr, "\r%.*s\033[K", terminal_width() - 1, line);
  fflush(stderr);
}

void progress_show(progress *p, double share, const char *format, ...) {
  const double now = clock_seconds();
  if (p->quiet || now - p->last < (p->terminal ? terminal_pause : line_pause)) return;
  p->last = now;
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  share = share > 0 ? (share < 1 ? share : 1) : 0;
  if (p->terminal)
    draw_bar(share, text);
  else
    fprintf(stderr, "%3.0f%% %s\n", 100 * share, text);
  p->drawn = p->terminal;
}

void progress_end(progress *p) {
  if (p->drawn) fputs("\r\033[K", stderr);
  p->drawn = false;
}

char *duration_text(double seconds, char out[DURATION_TEXT]) {
  if (!(seconds >= 0 && seconds < 1e9)) return strcpy(out, "?");
  const long all = (long)(seconds + 0.5), days = all / 86400, hours = all / 3600 % 24;
  const int minutes = (int)(all / 60 % 60), rest = (int)(all % 60);
  if (days)
    snprintf(out, DURATION_TEXT, "%ldd %02ld:%02d:%02d", days, hours, minutes, rest);
  else if (hours)
    snprintf(out, DURATION_TEXT, "%ld:%02d:%02d", hours, minutes, rest);
  else
    snprintf(out, DURATION_TEXT, "%d:%02d", minutes, rest);
  return out;
}
