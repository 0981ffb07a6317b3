/* Conversations in the format of the World models (spec language-models section 7):
 *
 *   System: {s}\n\nUser: {q}\n\nAssistant: {reply}\n\nUser: {q}\n\nAssistant:...
 *
 * without a blank after the colon that the reply follows; the model brings its own. {s} and {q} have no blank lines,
 * nor anything blank around them, so that they cannot end a turn. A conversation is a generation: everything that was
 * said is in its state, whose size does not depend on it.
 *
 *   generation_new(&g, c, model);
 *   chat_system(&g, rule, n);
 *   while (...) chat_ask(&g, question, n, &tokens), chat_reply(&g, &options, &result);
 */
#ifndef LINNET_LM_CHAT_H
#define LINNET_LM_CHAT_H

#include "lm/generate.h"

/* The penalties and cuts of the reference's chat demo. */
generation_draw chat_draw_defaults(void);

/* Text as a turn holds it: "\r\n" is "\n", several of those in a row are one, nothing blank before and after. In place;
 * returns the length. */
size_t chat_clean(char *text, size_t n);

/* What the conversation is to follow; only before anything else, STATUS_ARGUMENT otherwise. */
status chat_system(generation *g, const char *text, size_t n);
/* A turn of the user, and the words that a reply follows: *tokens tokens. */
status chat_ask(generation *g, const char *text, size_t n, size_t *tokens);
/* The model's turn, up to a blank line, or else to what ends a generation: options->stop is not looked at. Given out
 * without the blanks that it begins with. The blank line is in the state afterwards, exactly one, whatever ended the
 * reply. */
status chat_reply(generation *g, const generate_options *options, generate_result *result);

#endif
