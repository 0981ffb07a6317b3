#include "weights/recognise.h"

#include <stdint.h>
#include <string.h>

typedef struct {
  const char *magic;
  size_t length, offset;
  const char *kind;
} signature;

static const signature signatures[] = {
    {"GGUF", 4, 0, "is a GGUF file"},
    {"FUGG", 4, 0, "is a GGUF file of a big-endian machine"},
    {"fmgg", 4, 0, "is an rwkv.cpp (ggmf) file"},
    {"tjgg", 4, 0, "is an old llama.cpp (ggjt) file"},
    {"lmgg", 4, 0, "is an old ggml file"},
    {"PK\003\004", 4, 0, "is a zip file"},
    {"PK\005\006", 4, 0, "is an empty zip file"},
    {"\200\002", 2, 0, "is a PyTorch .pth of before 1.6 (a bare pickle): load it with PyTorch and save it again"},
    {"\200\003", 2, 0, "is a Python pickle"},
    {"\200\004", 2, 0, "is a Python pickle"},
    {"\200\005", 2, 0, "is a Python pickle"},
    {"\223NUMPY", 6, 0, "is a NumPy .npy file"},
    {"\211HDF\r\n", 6, 0, "is an HDF5 file"},
    {"\211PNG\r\n", 6, 0, "is a picture (PNG)"},
    {"\377\330\377", 3, 0, "is a picture (JPEG)"},
    {"GIF8", 4, 0, "is a picture (GIF)"},
    {"WEBP", 4, 8, "is a picture (WebP)"},
    {"ftypavif", 8, 4, "is a picture (AVIF)"},
    {"ftyphei", 7, 4, "is a picture (HEIF)"},
    {"II*\0", 4, 0, "is a picture (TIFF)"},
    {"MM\0*", 4, 0, "is a picture (TIFF)"},
    {"BM", 2, 0, "is a picture (BMP)"},
    {"%PDF", 4, 0, "is a PDF document"},
    {"\037\213", 2, 0, "is compressed with gzip: unpack it first"},
    {"\3757zXZ", 5, 0, "is compressed with xz: unpack it first"},
    {"\050\265\057\375", 4, 0, "is compressed with zstd: unpack it first"},
    {"ustar", 5, 257, "is a tar archive: unpack it first"},
    {"\177ELF", 4, 0, "is a program"},
    {"version https://git-lfs", 23, 0, "is a Git LFS pointer, not the file itself: fetch it with git lfs pull"},
};

static const char *known_signature(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
    const signature *s = &signatures[i];
    if (size >= s->offset + s->length && !memcmp(data + s->offset, s->magic, s->length)) return s->kind;
  }
  return NULL;
}

/* How many bytes a UTF-8 character takes, by its first byte; 0 for what no text holds. */
static size_t text_step(uint8_t byte) {
  if (byte >= 0x80) return byte < 0xc2 || byte > 0xf4 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  return byte == 0x7f || (byte < 0x20 && !memchr("\t\n\v\f\r\033", byte, 6)) ? 0 : 1;
}

/* Text by its beginning: UTF-8 with no control characters but white space. */
static const char *known_text(const uint8_t *data, size_t size) {
  const size_t sample = size < 512 ? size : 512;
  for (size_t i = 0, step; i < sample; i += step) {
    if (!(step = text_step(data[i]))) return NULL;
    for (size_t k = 1; k < step && i + k < sample; k++)
      if ((data[i + k] & 0xc0) != 0x80) return NULL;
  }
  size_t start = sample >= 3 && !memcmp(data, "\357\273\277", 3) ? 3 : 0; /* byte order mark */
  while (start < sample && memchr(" \t\r\n", data[start], 4)) start++;
  if (start == sample) return "is blank text";
  if (data[start] == '<') return "is HTML or XML text (perhaps the page of a failed download)";
  if (data[start] == '{' || data[start] == '[') return "is JSON text";
  return "is text";
}

bool recognise_safetensors(const void *bytes, size_t size) {
  const uint8_t *data = bytes;
  if (size < 9 || data[8] != '{') return false;
  /* A length below 2^32 is never text, and all but certainly no other format's first eight bytes. */
  if (!data[4] && !data[5] && !data[6] && !data[7]) return true;
  return !known_signature(data, size) && !known_text(data, size);
}

bool recognise_zip(const void *bytes, size_t size) { return size >= 4 && !memcmp(bytes, "PK\003\004", 4); }

const char *recognise(const void *bytes, size_t size) {
  if (size == 0) return "is empty";
  const char *kind = known_signature(bytes, size);
  if (!kind) kind = known_text(bytes, size);
  if (!kind && size < 9) kind = "is too short to hold anything";
  return kind ? kind : "is of no known kind, or its beginning is damaged";
}
