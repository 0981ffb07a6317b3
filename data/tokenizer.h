/* Texts as token ids, and back: the tokenizers of the models behind one interface.
 *
 *   World      the World models' vocabulary, and our own small ones in the same format: a text of lines
 *              `ID LITERAL BYTELEN`. The longest token that fits, from the left, over bytes: any bytes encode, valid
 *              UTF-8 or not, and decode to themselves. Nothing is added, trimmed or special. (data/tokenizer_world.c)
 *   byte BPE   the Pile and Raven models' GPT-NeoX 20B: a Hugging Face tokenizer.json. Texts are brought into
 *              normalisation form C, which decoding does not undo. (data/bpe.h)
 *   CLIP       OpenAI's CLIP, OpenCLIP and RWKV-CLIP: a list of merges, packed by gzip or not, or a tokenizer.json.
 * Texts are repaired and brought into small letters; what decodes has a space behind every word. (data/clip_bpe.h) MIDI
 * the music models' words for notes and waits. It is built in and has no file. (data/midi.c)
 *
 * Which one a file is, its content says. Spec language-models section 6. Id 0 ends a text in all but CLIP's (clip_end);
 * World encodes no text to it, the others their "<|endoftext|>" and "<pad>".
 *
 * A tokenizer does not change after it was opened and may be shared by threads. */
#ifndef LINNET_DATA_TOKENIZER_H
#define LINNET_DATA_TOKENIZER_H

#include "kernels/base.h"

#define TOKENIZER_END 0                       /* the id that ends a text */
#define TOKENIZER_MAX_TEXT ((size_t)16 << 20) /* bytes of a vocabulary, unpacked; CLIP's list has 3.2 million */
#define TOKENIZER_MIDI "midi"                 /* the name of the one that is built in */
#define TOKENIZER_FAILED SIZE_MAX             /* tokenizer_encode: memory ran out */

typedef enum { TOKENIZER_KIND_WORLD, TOKENIZER_KIND_BPE, TOKENIZER_KIND_CLIP, TOKENIZER_KIND_MIDI } tokenizer_kind;

typedef struct tokenizer tokenizer;

/* Reads a vocabulary file; the path "midi" is no file but the built-in one. NULL with a sentence that names the file
 * and the line or the token otherwise. */
tokenizer *tokenizer_open(const char *path);
/* The same from n bytes in memory, which are not kept: a tokenizer.json begins with '{', a list of merges says
 * "#version" in its first line, "midi" stands for itself, and everything else is a World vocabulary; any of them may be
 * gzip. `name` is used in error sentences. */
tokenizer *tokenizer_parse(const void *text, size_t n, const char *name);
void tokenizer_free(tokenizer *t);

tokenizer_kind tokenizer_kind_of(const tokenizer *t);
/* The largest id + 1 (id 0 counts). A model's logits may be wider; what is beyond has no bytes. */
uint32_t tokenizer_size(const tokenizer *t);

/* The most ids that n bytes of any text can give: n, but 3 n for byte BPE, as normalisation may lengthen a text, and
 * 5 n for CLIP.
 * SIZE_MAX if that is more than a size_t holds. */
size_t tokenizer_room(const tokenizer *t, size_t n);
/* Writes the ids of text[0..n), up to `capacity` of them, and returns how many there are; never more than
 * tokenizer_room. With capacity 0, `ids` may be NULL. World and MIDI cannot fail; byte BPE and CLIP need memory, and
 * return TOKENIZER_FAILED if there is none. */
size_t tokenizer_encode(const tokenizer *t, const char *text, size_t n, int32_t *ids, size_t capacity);
/* All ids of text[0..n) as a new array that the caller frees. Fails only for memory. */
status tokenizer_ids(const tokenizer *t, const char *text, size_t n, int32_t **ids, size_t *count);

/* The bytes of one token; no terminator. *n = 0 for ids that the vocabulary does not have, and for World's end. Those
 * of MIDI have a space in front, which parts them. Valid as long as the tokenizer. */
const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n);
/* The bytes of n ids in a row as a new string, terminated, that the caller frees; for MIDI without the space in front.
 * *size, if not NULL, gets its length: text may contain the byte 0. Fails only for memory. Streams of tokens go through
 * utf8_stream (kernels/utf8.h). */
status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, char **out, size_t *size);

/* The vocabulary as a text in one canonical form: equal vocabularies give equal texts, whatever file they came from.
 * Made to be embedded in a model file and parsed again. Terminated; the caller frees *out. */
status tokenizer_text(const tokenizer *t, char **out, size_t *n);

/* One entry of a World vocabulary to be written. */
typedef struct {
  const char *bytes;
  size_t n;
} vocabulary_entry;
/* The canonical text of the entries with ids 1, 2, 3... in order, with LF after every line; does not check them. As
 * tokenizer_text. */
status vocabulary_text(const vocabulary_entry *entries, uint32_t n_entries, char **out, size_t *n);

#endif
