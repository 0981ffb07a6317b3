/* The training text of the small language model: prose of Debian packages as documents, cleaned, without near copies,
 * split so that no held-out document can be read in training. The rules in words: docs/data.md. */
#ifndef LINNET_DATA_BUILD_TEXT_H
#define LINNET_DATA_BUILD_TEXT_H

#include "data/split.h"
#include "kernels/base.h"

/* In the order in which they are collected: of two near copies the earlier is kept. Named by their packages. */
typedef enum { TEXT_KJV, TEXT_WEB, TEXT_JARGON, TEXT_DEVIL, TEXT_WORDNET, TEXT_SOURCES } text_source;
extern const char *const text_source_name[TEXT_SOURCES];

/* Where the sources lie. */
typedef struct {
  const char *kjv;          /* the file bible.data */
  const char *web;          /* the folder of ot.bzs, ot.bzz, nt.bzs, nt.bzz */
  const char *dictionaries; /* the folder of jargon.index, jargon.dict.dz, devil.index, devil.dict.dz */
  const char *wordnet;      /* the folder of data.noun, data.verb, data.adj, data.adv */
} text_folders;
extern const text_folders text_installed; /* where the Debian packages put them */

/* ---- text_list.c: documents ---- */

/* Bytes that grow; whoever writes looks at `status` once, at the end. Start with {0}, free `bytes`. */
typedef struct {
  char *bytes; /* with a zero byte after n; NULL while nothing was written */
  size_t n, room;
  status status;
} text_buffer;
void text_put(text_buffer *to, const char *bytes, size_t n);
void text_puts(text_buffer *to, const char *string);

typedef struct {
  char *text; /* clean: valid UTF-8, no control characters but '\n' between paragraphs and lines of verse */
  size_t n;
  uint64_t key; /* documents of one key go to one split */
  uint8_t source, split;
} text_document;

typedef struct {
  text_document *item;
  size_t n, room;
} text_list;

/* Cleans the text and adds it if anything is left of it. `key` names what the document is about. */
status text_list_add(text_list *list, text_source source, const char *key, size_t key_bytes, const text_buffer *text);
void text_list_free(text_list *list);
/* Writes clean text: plain quotation marks and dashes, single spaces, no empty lines. Fails on bytes that are not
 * UTF-8. */
status text_clean(const char *raw, size_t n, text_buffer *out);

/* ---- the sources: each adds its documents ---- */
status text_collect_kjv(const char *path, text_list *list);
status text_collect_web(const char *folder, text_list *list);
status text_collect_dictionary(const char *folder, const char *name, text_source source, text_list *list);
status text_collect_wordnet(const char *folder, text_list *list);

/* ---- text_lzw.c ---- */
/* Decodes the codes of compress(1) (LZW of 9 to 16 bits, least significant bit first, 256 clears the table), without
 * its three bytes of header. Returns false if they are damaged or give more than `room` bytes. */
bool lzw_decode(const uint8_t *codes, size_t n, uint8_t *out, size_t room, size_t *size);

/* ---- text_split.c: near copies and the split ---- */

/* Keeps of documents that are nearly the same the first; *dropped counts the others. */
status text_drop_copies(text_list *list, size_t *dropped);
/* Sets `split` of every document; *moved counts those that a draw held out and that their overlap with another split
 * sent to training. */
status text_split(text_list *list, size_t *moved);
/* Marks the held-out documents that can be read in another split: more than half of their words stand in runs of
 * eight words that occur there. Returns their number through *count. overlaps[list->n] or NULL. */
status text_overlaps(const text_list *list, bool *overlaps, size_t *count);

/* ---- text_corpus.c ---- */

typedef struct {
  size_t collected, copies, moved, kept; /* documents: of the sources, near copies dropped, sent to training, left */
} text_counts;

/* Collects, cleans, splits and writes FOLDER/train.jsonl, validation.jsonl and test.jsonl, one object a line:
 * {"text": ..., "source": ...}. The manifest is written if there is none or `renew` is set; otherwise the corpus must
 * be what it says, or nothing is written. */
status text_corpus_make(const text_folders *from, const char *folder, const char *manifest, bool renew,
                        text_counts *counts);

/* What a corpus comes to: of each split the documents and bytes of each source, and the file. */
typedef struct {
  size_t documents[SPLITS][TEXT_SOURCES], bytes[SPLITS][TEXT_SOURCES]; /* bytes of text, without JSON */
  size_t file_bytes[SPLITS];
  uint64_t sum[SPLITS][2]; /* XXH3-128 of the file: high, low */
} text_summary;
void text_summary_file(text_summary *sum, int side, const void *bytes, size_t n);
void text_manifest(const text_summary *sum, text_buffer *out);
void text_file_path(char *path, size_t room, const char *folder, int side);

/* ---- text_audit.c ---- */

typedef struct {
  size_t documents[SPLITS];
  size_t copies;   /* documents whose very words, case and punctuation aside, occur as another document elsewhere */
  size_t overlaps; /* held-out documents of which more than half can be read in another split */
  size_t unclean;  /* documents that cleaning would change */
  bool as_pinned;  /* the files are those of the manifest */
  char first[512]; /* one sentence about the first violation; "" if there is none */
} text_audit;
/* Reads the three files back and looks for what must not be, without regard to keys or the draw. */
status text_corpus_audit(const char *folder, const char *manifest, text_audit *out);
size_t text_audit_violations(const text_audit *audit);

#endif
