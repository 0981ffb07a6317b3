/* Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP) during long work: noticed, so that the work can end cleanly
 * with exit code 130. */
#ifndef LINNET_APPS_INTERRUPT_H
#define LINNET_APPS_INTERRUPT_H

#include <signal.h>

extern volatile sig_atomic_t interrupted; /* 1 after a signal */

/* From here on the first signal sets `interrupted`; a second one ends the process at once. */
void watch_interrupts(void);

#endif
