/* What kind of file some bytes are: each kind that people hand to a loader by mistake gets its own words, and the five
 * that are read are told apart from everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "weights/recognise.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

#define BYTES(text) text, sizeof text - 1
/* Of a zip file's first entry: everything before its name, whose length is the argument. */
#define ZIP(length) "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" length "\0\0\0"
#define INDEX_JSON "{\n  \"metadata\": {\"total_size\": 8},\n  \"weight_map\": {\"a\": \"b\"}}"

static const struct {
  const char *bytes;
  size_t size;
  const char *words;
  char reader; /* which reader takes it: g(guf), b(in), z(ip), i(ndex), s(afetensors); '-': none */
} kinds[] = {
    {BYTES("GGUF\3\0\0\0\0\0\0\0"), "is a GGUF file", 'g'},
    {BYTES("GGUF"), "is a GGUF file", 'g'},
    {BYTES("GGUF\0\0\0\3\0\0\0\0"), "GGUF file of a big-endian machine", '-'},
    {BYTES("FUGG\0\0\0\3\0\0\0\0"), "GGUF file with its bytes in reverse", '-'},
    {BYTES("fmgge\0\0\0"), "is an rwkv.cpp (ggmf) file", 'b'},
    {BYTES("ggmf\0\0\0e"), "rwkv.cpp file of a big-endian machine", '-'},
    {BYTES("tjgg\3\0\0\0"), "before GGUF (ggjt): convert the original", '-'},
    {BYTES("lmgg\3\0\0\0"), "before GGUF (ggml): convert the original", '-'},
    {BYTES("algg\1\0\0\0"), "adapter of before GGUF", '-'},
    {BYTES(ZIP("\20") "archive/data.pkl"), "is a zip file", 'z'},
    {BYTES("PK\3\4"), "is a zip file", 'z'},
    {BYTES(ZIP("\10") "blk0.npy"), "is a NumPy .npz archive", '-'},
    {BYTES(ZIP("\15") "metadata.json"), "is a Keras model", '-'},
    {BYTES(ZIP("\23") "[Content_Types].xml"), "is an office document", '-'},
    {BYTES(ZIP("\377") "cut short"), "is a zip file", 'z'},
    {BYTES("PK\5\6\0\0\0\0\0\0\0\0"), "is an empty zip file", '-'},
    {BYTES("\200\2\212\nl\374\234F\371 j\250P\31."), "is a PyTorch .pth of before 1.6 (a bare pickle): load it", '-'},
    {BYTES("\200\2}q\0."), "is a Python pickle, perhaps a PyTorch .pth", '-'},
    {BYTES("\200\4\225\0"), "is a Python pickle", '-'},
    {BYTES("\223NUMPY\1\0"), "is a NumPy .npy file", '-'},
    {BYTES("\211HDF\r\n\32\n"), "is an HDF5 file", '-'},
    {BYTES("\34\0\0\0TFL3"), "is a TensorFlow Lite model", '-'},
    {BYTES("\10\1\22\200\200\4"), "is a TensorFlow SavedModel", '-'},
    {BYTES("\10\7\22\7pytorch\32"), "is an ONNX model", '-'},
    {BYTES("\10\7\22\7pyt"), "is too short", '-'},
    {BYTES("\201\246params\203"), "is a MessagePack file (Flax", '-'},
    {BYTES("SQLite format 3\0"), "is an SQLite database", '-'},
    {BYTES("\211PNG\r\n\32\n\0\0\0\rIHDR"), "is a picture (PNG)", '-'},
    {BYTES("RIFF\0\0\0\0WEBPVP8 "), "is a picture (WebP)", '-'},
    {BYTES("\37\213\10\0"), "compressed with gzip", '-'},
    {BYTES("7z\274\257\47\34\0\4"), "is a 7z archive", '-'},
    {BYTES("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer", '-'},
    {BYTES("<!DOCTYPE html>"), "is HTML or XML text", '-'},
    {BYTES(INDEX_JSON), "is an index of safetensors shards", 'i'},
    {BYTES("\357\273\277 " INDEX_JSON), "is an index of safetensors shards", 'i'},
    {BYTES("[\"weight_map\"]"), "is JSON text", '-'},
    {BYTES("{\"weights\": 1}"), "is JSON text", '-'},
    {BYTES("The \"weight_map\" of an index.\n"), "is text", '-'},
    {BYTES("{\0\0\0\0\0\0\0{\"weight_map\":{"), "is of no known kind", 's'},
    {BYTES("\20\0\0\0\0\0\0\0{\"a\":"), "is of no known kind", 's'},
    {BYTES("\0\1\2"), "is too short", '-'},
    {BYTES(" \n"), "is blank text", '-'},
};

static void test_kinds(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    char *block = malloc(kinds[i].size); /* of exactly that size, so that reading past it is seen */
    assert_non_null(block);
    memcpy(block, kinds[i].bytes, kinds[i].size);
    const char *words = recognise(block, kinds[i].size);
    if (!strstr(words, kinds[i].words)) fail_msg("kind %zu: \"%s\" does not say \"%s\"", i, words, kinds[i].words);
    const struct {
      char reader;
      bool (*takes)(const void *data, size_t size);
    } readers[] = {{'g', recognise_gguf},
                   {'b', recognise_ggmf},
                   {'z', recognise_zip},
                   {'i', recognise_shards},
                   {'s', recognise_safetensors}};
    for (size_t k = 0; k < sizeof readers / sizeof *readers; k++)
      if (readers[k].takes(block, kinds[i].size) != (readers[k].reader == kinds[i].reader))
        fail_msg("kind %zu (%s): reader %c", i, words, readers[k].reader);
    free(block);
  }
  assert_string_equal(recognise("", 0), "is empty");
}

/* A tar archive is known by a word far from its beginning, PyTorch's own by the name of its first member too. */
static void test_tar(void **state) {
  (void)state;
  char tar[512] = "sys_info";
  memcpy(tar + 257, "ustar", 5);
  assert_non_null(strstr(recognise(tar, sizeof tar), "is a PyTorch file of before 0.1.10"));
  memcpy(tar, "sys_inf.", 8);
  assert_string_equal(recognise(tar, sizeof tar), "is a tar archive: unpack it first");
  memcpy(tar, "storages", 9);
  assert_non_null(strstr(recognise(tar, sizeof tar), "PyTorch"));
  assert_null(strstr(recognise(tar, 200), "tar"));
}

/* The word may stand behind much metadata, but not anywhere. */
static void test_late_map(void **state) {
  (void)state;
  const size_t room = 1 << 17;
  char *text = malloc(room);
  assert_non_null(text);
  for (int late = 0; late < 2; late++) {
    memset(text, ' ', room);
    text[0] = '{';
    memcpy(text + (late ? 1 << 16 : 1 << 15), "\"weight_map\"", 12);
    assert_int_equal(recognise_shards(text, room), !late);
  }
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kinds),
      cmocka_unit_test(test_tar),
      cmocka_unit_test(test_late_map),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
