/* Linnet: vision-language models built on RWKV, in C.
 *
 *   #include <linnet.h>
 *   #include <stdio.h>
 *
 *   int main(int argc, char **argv) {
 *     linnet_model *model = linnet_open("captioner.gguf");
 *     if (!model) return fprintf(stderr, "%s\n", linnet_error()), 1;
 *     linnet_captions *found = linnet_caption_file(model, argv[1], NULL);
 *     if (found) puts(linnet_caption_text(found, 0));
 *     else fprintf(stderr, "%s\n", linnet_error());
 *     linnet_captions_free(found);
 *     linnet_close(model);
 *     return found ? 0 : 1;
 *   }
 *
 * Link with -llinnet (docs/library.md). The library never prints, exits or aborts on input. A model does not change
 * after it was opened and may be used by any number of threads at once; everything else belongs to one thread at a
 * time.
 */
#ifndef LINNET_H
#define LINNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LINNET_VERSION "0.1.0"

/* What a failure was about. Functions that return a status return LINNET_OK or one of the negative values; functions
 * that return a pointer return NULL. Either way linnet_error() holds one sentence: which file, what was expected, what
 * was found, what to do. */
typedef enum {
  LINNET_OK = 0,
  LINNET_ERROR_ARGUMENT = -1,    /* the caller asked for something that makes no sense */
  LINNET_ERROR_IO = -2,          /* a file could not be opened, read or written */
  LINNET_ERROR_FORMAT = -3,      /* a file is damaged or not of the expected kind */
  LINNET_ERROR_UNSUPPORTED = -4, /* valid, but not something this build can do */
  LINNET_ERROR_MEMORY = -5,      /* memory ran out, or a cap (pixels, bytes) was exceeded */
  LINNET_ERROR_INTERRUPTED = -6, /* a callback asked to stop */
} linnet_status;

/* The calling thread's last error: a sentence ("" if none) and its status. Valid until the thread's next failure. */
const char *linnet_error(void);
linnet_status linnet_last_status(void);

/* --- models ------------------------------------------------------------------------------------------------------ */

typedef struct linnet_model linnet_model;

/* Opens a captioning model. NULL on failure. */
linnet_model *linnet_open(const char *path);
void linnet_close(linnet_model *model); /* NULL is fine */

/* --- captions ---------------------------------------------------------------------------------------------------- */

/* Called with each piece of text as it is found (complete UTF-8 characters, `n` bytes, not terminated), for one caption
 * without a beam. Return false to stop: the call then fails with LINNET_ERROR_INTERRUPTED. */
typedef bool (*linnet_token_callback)(void *user, const char *text, size_t n);

typedef struct {
  int count;                      /* how many captions of a picture; default 1 */
  int beam;                       /* hypotheses of a beam search; 1 = none (default) */
  float temperature;              /* 0 = the most probable token each time (default); more = more varied */
  float top_p;                    /* keep the most probable tokens up to this share; >= 1 = all (default) */
  uint64_t seed;                  /* of the draws when temperature > 0; default 0 */
  int max_tokens;                 /* longest caption; default 48 */
  linnet_token_callback on_token; /* default NULL */
  void *user;                     /* handed to on_token */
} linnet_caption_options;

/* The defaults above: start from these. */
linnet_caption_options linnet_caption_defaults(void);

typedef struct linnet_captions linnet_captions;

/* Captions a picture from a file (PNG, JPEG, BMP, GIF, TGA, PNM), from such a file's bytes in memory, or from RGB
 * pixels (rows top to bottom, 3 bytes a pixel, no padding). options NULL = defaults. Captions come best first. Free the
 * result. */
linnet_captions *linnet_caption_file(const linnet_model *model, const char *path,
                                     const linnet_caption_options *options);
linnet_captions *linnet_caption_memory(const linnet_model *model, const void *bytes, size_t n,
                                       const linnet_caption_options *options);
linnet_captions *linnet_caption_pixels(const linnet_model *model, const uint8_t *rgb, int width, int height,
                                       const linnet_caption_options *options);

int linnet_captions_count(const linnet_captions *found);
/* UTF-8, owned by `found`. */
const char *linnet_caption_text(const linnet_captions *found, int index);
/* Natural logarithm of the caption's probability, and its number of tokens (the closing one included). */
double linnet_caption_log_probability(const linnet_captions *found, int index);
int linnet_caption_tokens(const linnet_captions *found, int index);
void linnet_captions_free(linnet_captions *found); /* NULL is fine */

/* --- pictures and words in one space ----------------------------------------------------------------------------- */

typedef struct linnet_pair linnet_pair;

/* Opens a pair of towers, RWKV-CLIP or CLIP, from a file of any kind. `vocabulary` names a file (CLIP's merges, or
 * World's format); NULL takes the one that the model's file carries, and without any only texts are refused. NULL on
 * failure. */
linnet_pair *linnet_pair_open(const char *path, const char *vocabulary);
void linnet_pair_close(linnet_pair *pair);      /* NULL is fine */
int linnet_pair_width(const linnet_pair *pair); /* numbers of a row; 0 without a pair */

/* The row [linnet_pair_width] of a picture (as linnet_caption_* take them) or a text of UTF-8: of length 1, so that the
 * inner product of two rows is the cosine of what they stand for. A text that is too long is cut. */
linnet_status linnet_embed_file(const linnet_pair *pair, const char *path, float *row);
linnet_status linnet_embed_memory(const linnet_pair *pair, const void *bytes, size_t n, float *row);
linnet_status linnet_embed_pixels(const linnet_pair *pair, const uint8_t *rgb, int width, int height, float *row);
linnet_status linnet_embed_text(const linnet_pair *pair, const char *text, float *row);

/* Classes that are told by words. They do not change, and threads may share them. */
typedef struct linnet_classes linnet_classes;

/* n labels, each asked for in every one of the templates, in which "{}" stands for it; without templates in those that
 * the pair's file names, else in "a photo of a {}". NULL on failure. Nothing of the pair is needed afterwards. */
linnet_classes *linnet_classes_new(const linnet_pair *pair, const char *const *labels, size_t n,
                                   const char *const *templates, size_t n_templates);
/* probabilities [n], which sum to 1, of a picture's row. */
linnet_status linnet_classify(const linnet_classes *classes, const float *row, float *probabilities);
void linnet_classes_free(linnet_classes *classes); /* NULL is fine */

/* --- text -------------------------------------------------------------------------------------------------------- */

typedef struct linnet_text_model linnet_text_model;

/* Opens an RWKV language model (versions 4 to 7) from a file of any kind. `vocabulary` names a file (World's format, or
 * a tokenizer.json) or is "midi"; NULL takes the one that the model's file carries. NULL on failure. */
linnet_text_model *linnet_text_open(const char *path, const char *vocabulary);
/* Texts begin from the trained initial states of a file (`linnet train lm --train states`), which must be for a model
 * of these sizes. To be called before the model is used, once; after a failure it can only be closed. */
linnet_status linnet_text_start(linnet_text_model *model, const char *states);
void linnet_text_close(linnet_text_model *model); /* NULL is fine; its texts must be freed before */

/* What a model has read and said: a state whose size does not depend on its length. */
typedef struct linnet_text linnet_text;

/* A text of which there is nothing yet. The model must outlive it. */
linnet_text *linnet_text_new(const linnet_text_model *model);
linnet_text *linnet_text_fork(const linnet_text *text); /* another that begins as this one stands */
void linnet_text_free(linnet_text *text);               /* NULL is fine */
/* A text as a file, of a few megabytes at most, whatever its length. Loading replaces what `text` was; it refuses the
 * file of another model, and then changes nothing. */
linnet_status linnet_text_save(linnet_text *text, const char *path);
linnet_status linnet_text_load(linnet_text *text, const char *path);

/* The model reads n bytes of UTF-8, after what was read and said before. */
linnet_status linnet_text_read(linnet_text *text, const char *bytes, size_t n);

typedef struct {
  int64_t max_tokens;      /* most tokens; below 0 = no bound; default 256 */
  float temperature;       /* 0 = the most probable token each time; default 1 */
  float top_p;             /* draw from the most probable tokens up to this share; >= 1 = all; default 0.85 */
  int top_k;               /* draw from so many tokens; 0 = all (default) */
  float min_p;             /* draw from tokens of at least this share of the likeliest one's probability; default 0 */
  float presence_penalty;  /* off the logit of a token that was said; default 0.2 */
  float frequency_penalty; /* and for each time that still counts; default 0.2 */
  float penalty_decay;     /* of those times, a token; default 0.996 */
  uint64_t seed;           /* of the draws; default 0 */
  const char *const *stop; /* texts at which to end, which are not said; default none. A reply ends where it ends */
  int stops;               /* how many; default 0 */
  linnet_token_callback
      on_token; /* default NULL. Return false to end: what was said stands, LINNET_ENDED_BY_CALLBACK */
  void *user;   /* handed to on_token */
} linnet_text_options;

/* The defaults above, for going on with a text: start from these. */
linnet_text_options linnet_text_defaults(void);
/* Those for conversations: top_p 0.3, both penalties 0.5. */
linnet_text_options linnet_chat_defaults(void);

/* Goes on with the text. options NULL = defaults. What was said, UTF-8, terminated, owned by `text` until its next
 * call; NULL on failure. */
const char *linnet_text_generate(linnet_text *text, const linnet_text_options *options);

/* A conversation in the format of the World models. linnet_chat_system, which may only come first, gives the rule that
 * it is to follow; linnet_chat_ask gives a turn of the user and returns the reply, as linnet_text_generate does,
 * options NULL being those of linnet_chat_defaults. */
linnet_status linnet_chat_system(linnet_text *text, const char *rule, size_t n);
const char *linnet_chat_ask(linnet_text *text, const char *question, size_t n, const linnet_text_options *options);

/* About what was said last: how many tokens it had, and why it ended. */
typedef enum {
  LINNET_ENDED_BY_LENGTH,   /* max_tokens */
  LINNET_ENDED_BY_MODEL,    /* it said the token that ends a text */
  LINNET_ENDED_BY_STOP,     /* a stop text; of a reply: the empty line after it */
  LINNET_ENDED_BY_CALLBACK, /* on_token asked for it */
} linnet_text_end;
int64_t linnet_text_tokens(const linnet_text *text);
linnet_text_end linnet_text_ended_by(const linnet_text *text);

/* --- the machine ------------------------------------------------------------------------------------------------- */

/* Threads that computation uses, at most 1024; 0 = what OMP_NUM_THREADS says, else one for each processor that the
 * process may use (default). */
void linnet_set_threads(int threads);
/* What computation runs on, one "name: value" line each: kernels chosen, BLAS, threads. Owned by the library. */
const char *linnet_devices(void);

#ifdef __cplusplus
}
#endif

#endif
