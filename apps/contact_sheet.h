/* A contact sheet: an HTML file with what searches found, thumbnails, scores and captions, that a browser opens without
 * a server: everything is in it, nothing is fetched, there are no scripts. */
#ifndef LINNET_APPS_CONTACT_SHEET_H
#define LINNET_APPS_CONTACT_SHEET_H

#include "fusion/vector_index.h"

typedef struct contact_sheet contact_sheet;

/* `title` of the page; `index` is where relative paths may begin (picture_file). NULL with a sentence. */
contact_sheet *sheet_create(const char *path, const char *title, const char *index);
/* A heading, below which stands what follows. */
status sheet_query(contact_sheet *s, const char *query);
/* A picture of what is found, or a text. One whose file is gone or broken has a picture that says so. */
status sheet_result(contact_sheet *s, double score, const index_record *r);
/* The file appears, whole; frees it in every case. */
status sheet_commit(contact_sheet *s);
void sheet_abandon(contact_sheet *s); /* NULL is fine */

#endif
