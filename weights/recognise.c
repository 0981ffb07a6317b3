#include "weights/recognise.h"

#include <stdint.h>
#include <string.h>

#include "kernels/bytes.h"

typedef struct {
  const char *magic;
  size_t length, offset;
  const char *kind;
} signature;

#define PYTORCH_AGAIN "load it with PyTorch and save it again"

/* The first that fits. */
static const signature signatures[] = {
    {"GGUF", 4, 0, "is a GGUF file"},
    {"FUGG", 4, 0, "is a GGUF file with its bytes in reverse: fetch or convert it again"},
    {"fmgg", 4, 0, "is an rwkv.cpp (ggmf) file"},
    {"ggmf", 4, 0, "is an rwkv.cpp file of a big-endian machine: convert the original again on this one"},
    {"tjgg", 4, 0, "is a llama.cpp file of before GGUF (ggjt): convert the original to GGUF"},
    {"lmgg", 4, 0, "is a file of before GGUF (ggml): convert the original to GGUF"},
    {"algg", 4, 0, "is a llama.cpp adapter of before GGUF (ggla)"},
    {"PK\003\004", 4, 0, "is a zip file"},
    {"PK\005\006", 4, 0, "is an empty zip file"},
    {"\200\002\212\nl\374\234F\371", 9, 0, "is a PyTorch .pth of before 1.6 (a bare pickle): " PYTORCH_AGAIN},
    {"\200\002", 2, 0, "is a Python pickle, perhaps a PyTorch .pth of before 1.6: " PYTORCH_AGAIN},
    {"\200\003", 2, 0, "is a Python pickle"},
    {"\200\004", 2, 0, "is a Python pickle"},
    {"\200\005", 2, 0, "is a Python pickle"},
    {"\223NUMPY", 6, 0, "is a NumPy .npy file: one array, without names"},
    {"\211HDF\r\n", 6, 0, "is an HDF5 file (Keras and TensorFlow write such): convert it to safetensors"},
    {"TFL3", 4, 4, "is a TensorFlow Lite model"},
    {"\10\1\22", 3, 0, "is a TensorFlow SavedModel"},
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
    {"BZh", 3, 0, "is compressed with bzip2: unpack it first"},
    {"\3757zXZ", 5, 0, "is compressed with xz: unpack it first"},
    {"\050\265\057\375", 4, 0, "is compressed with zstd: unpack it first"},
    {"7z\274\257\047\034", 6, 0, "is a 7z archive: unpack it first"},
    {"Rar!\032\a", 6, 0, "is a RAR archive: unpack it first"},
    {"ustar", 5, 257, "is a tar archive: unpack it first"},
    {"SQLite format 3", 16, 0, "is an SQLite database"},
    {"\177ELF", 4, 0, "is a program"},
    {"version https://git-lfs", 23, 0, "is a Git LFS pointer, not the file itself: fetch it with git lfs pull"},
};

static bool has(const uint8_t *data, size_t size, size_t offset, const char *word) {
  const size_t length = strlen(word);
  return size >= offset && size - offset >= length && !memcmp(data + offset, word, length);
}

static bool printable(const uint8_t *data, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (data[i] < 0x20 || data[i] > 0x7e) return false;
  return true;
}

/* GGUF's magic is the same on every machine; the version after it is a small number in the machine's byte order. */
static bool is_big_gguf(const uint8_t *data, size_t size) {
  return has(data, size, 0, "GGUF") && size >= 8 && !data[4] && !data[5] && data[7];
}

/* Zip files that are known by the name of their first entry not to be PyTorch's. */
static const char *known_zip(const uint8_t *data, size_t size) {
  if (!has(data, size, 0, "PK\003\004") || size < 30) return NULL;
  const uint8_t *name = data + 30;
  size_t length = little16(data + 26);
  if (length > size - 30) length = size - 30;
  if (length > 4 && !memcmp(name + length - 4, ".npy", 4)) return "is a NumPy .npz archive: convert it to safetensors";
  if ((length == 13 && !memcmp(name, "metadata.json", 13)) || (length == 11 && !memcmp(name, "config.json", 11)))
    return "is a Keras model (.keras): convert it to safetensors";
  if (length == 19 && !memcmp(name, "[Content_Types].xml", 19)) return "is an office document";
  return NULL;
}

/* PyTorch's first container; other tar archives are left to their signature. */
static const char *known_tar(const uint8_t *data, size_t size) {
  static const char *const members[] = {"sys_info", "pickle", "tensors", "storages"};
  for (size_t i = 0; i < sizeof members / sizeof *members; i++)
    if (has(data, size, 257, "ustar") && has(data, size, 0, members[i]) && !data[strlen(members[i])])
      return "is a PyTorch file of before 0.1.10 (a tar archive): " PYTORCH_AGAIN;
  return NULL;
}

/* An ONNX model is a protocol buffer: a version of the format, then the name of the program that made it. */
static const char *known_onnx(const uint8_t *data, size_t size) {
  if (size < 5 || data[0] != 0x08 || data[1] < 2 || data[1] > 0x40 || data[2] != 0x12) return NULL;
  const size_t length = data[3];
  return length > 0 && length < 64 && length <= size - 4 && printable(data + 4, length) ? "is an ONNX model" : NULL;
}

/* Flax writes MessagePack: a map of few entries, whose first key is a short text. */
static const char *known_msgpack(const uint8_t *data, size_t size) {
  if (size < 3 || data[0] < 0x81 || data[0] > 0x8f || data[1] < 0xa1 || data[1] > 0xbf) return NULL;
  const size_t length = data[1] & 0x1f;
  return length <= size - 2 && printable(data + 2, length)
             ? "is a MessagePack file (Flax and JAX write such): convert it to safetensors"
             : NULL;
}

static const char *known_signature(const uint8_t *data, size_t size) {
  static const char *(*const closer[])(const uint8_t *, size_t) = {known_zip, known_tar, known_onnx, known_msgpack};
  if (is_big_gguf(data, size)) return "is a GGUF file of a big-endian machine: llama.cpp's gguf-py can turn it around";
  for (size_t i = 0; i < sizeof closer / sizeof *closer; i++) {
    const char *kind = closer[i](data, size);
    if (kind) return kind;
  }
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

/* Where text begins after a byte order mark and white space; `size` if it is blank. */
static size_t text_start(const uint8_t *data, size_t size) {
  size_t start = has(data, size, 0, "\357\273\277") ? 3 : 0;
  while (start < size && memchr(" \t\r\n", data[start], 4)) start++;
  return start;
}

/* Text by its beginning: UTF-8 with no control characters but white space. */
static const char *known_text(const uint8_t *data, size_t size) {
  const size_t sample = size < 512 ? size : 512;
  for (size_t i = 0, step; i < sample; i += step) {
    if (!(step = text_step(data[i]))) return NULL;
    for (size_t k = 1; k < step && i + k < sample; k++)
      if ((data[i + k] & 0xc0) != 0x80) return NULL;
  }
  const size_t start = text_start(data, sample);
  if (start == sample) return "is blank text";
  if (data[start] == '<') return "is HTML or XML text (perhaps the page of a failed download)";
  if (recognise_shards(data, size)) return "is an index of safetensors shards";
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

bool recognise_gguf(const void *bytes, size_t size) { return has(bytes, size, 0, "GGUF") && !is_big_gguf(bytes, size); }

bool recognise_ggmf(const void *bytes, size_t size) { return has(bytes, size, 0, "fmgg"); }

bool recognise_zip(const void *bytes, size_t size) {
  return has(bytes, size, 0, "PK\003\004") && !known_zip(bytes, size);
}

bool recognise_shards(const void *bytes, size_t size) {
  const char word[] = "\"weight_map\"";
  const uint8_t *data = bytes;
  const size_t start = text_start(data, size), sample = size < 1 << 16 ? size : 1 << 16;
  if (start >= sample || data[start] != '{') return false;
  for (size_t i = start + 1; i + sizeof word - 1 <= sample && data[i]; i++)
    if (data[i] == word[0] && !memcmp(data + i, word, sizeof word - 1)) return true;
  return false;
}

const char *recognise(const void *bytes, size_t size) {
  if (size == 0) return "is empty";
  const char *kind = known_signature(bytes, size);
  if (!kind) kind = known_text(bytes, size);
  if (!kind && size < 9) kind = "is too short to hold anything";
  return kind ? kind : "is of no known kind, or its beginning is damaged";
}
