/* What identify found, as one line that a test can compare. */
#ifndef LINNET_TESTS_IDENTITY_TEXT_H
#define LINNET_TESTS_IDENTITY_TEXT_H

#include "weights/identify.h"

enum { IDENTITY_TEXT = 4096 };

/* "layers 2, width 8; image tower: patch 4, grid 3": all sizes in their order. Returns text. */
const char *identity_text(const identity *id, char text[IDENTITY_TEXT]);

#endif
