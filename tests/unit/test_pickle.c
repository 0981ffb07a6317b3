/* The pickle machine: every instruction that torch.save emits gives its value, what a pickle would call is refused by
 * its name, and nothing is ever called. Hostile pickles are made like the published ones (spec ecosystem section 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/make_pth.h"
#include "weights/pickle.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* The bytes in a block of exactly their size, so that reading past them is seen. */
static pickle *parse_exactly(const void *bytes, size_t size, void **block) {
  *block = malloc(size ? size : 1);
  assert_non_null(*block);
  memcpy(*block, bytes, size);
  return pickle_parse(*block, size);
}

static pickle *expect_pickle(const void *bytes, size_t size, void **block) {
  pickle *p = parse_exactly(bytes, size, block);
  if (!p) fail_msg("%s", last_error());
  return p;
}

static void expect_refused(const void *bytes, size_t size, const char *words) {
  void *block;
  if (parse_exactly(bytes, size, &block)) fail_msg("accepted, not refused as \"%s\"", words);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  free(block);
}
#define REFUSED(bytes, words) expect_refused(bytes, sizeof(bytes) - 1, words)

static void expect_kind(const void *bytes, size_t size, pickle_kind kind, size_t count) {
  void *block;
  pickle *p = expect_pickle(bytes, size, &block);
  assert_int_equal(pickle_root(p)->kind, kind);
  assert_int_equal(pickle_root(p)->count, count);
  pickle_free(p);
  free(block);
}
#define KIND(bytes, kind, count) expect_kind(bytes, sizeof(bytes) - 1, kind, count)

static void expect_int(const void *bytes, size_t size, int64_t value) {
  void *block;
  pickle *p = expect_pickle(bytes, size, &block);
  assert_int_equal(pickle_root(p)->kind, PICKLE_INT);
  assert_int_equal(pickle_root(p)->integer, value);
  pickle_free(p);
  free(block);
}
#define INT(bytes, value) expect_int(bytes, sizeof(bytes) - 1, value)

static void test_numbers(void **state) {
  (void)state;
  INT("\x80\2K\377.", 255);
  INT("\x80\2M\1\2.", 513);
  INT("\x80\2J\376\377\377\377.", -2);
  INT("\x80\2\x8a\0.", 0);
  INT("\x80\2\x8a\1\377.", -1);
  INT("\x80\2\x8a\2\0\1.", 256);
  INT("\x80\2\x8b\1\0\0\0\177.", 127);
  KIND("\x80\2\x8a\x09\0\0\0\0\0\0\0\0\1.", PICKLE_OPAQUE, 3);
  KIND("\x80\2N.", PICKLE_NONE, 0);
  KIND("\x80\2\x88.", PICKLE_BOOL, 0);
  void *block;
  pickle *p = expect_pickle("\x80\2G\x3f\xf8\0\0\0\0\0\0.", 12, &block);
  assert_float_equal(pickle_root(p)->real, 1.5, 0);
  pickle_free(p);
  free(block);
}

static void test_texts(void **state) {
  (void)state;
  KIND("\x80\2X\2\0\0\0ab.", PICKLE_STRING, 2);
  KIND("\x80\2U\2ab.", PICKLE_STRING, 2);
  KIND("\x80\2T\2\0\0\0ab.", PICKLE_STRING, 2);
  KIND("\x80\3C\2ab.", PICKLE_STRING, 2);
  KIND("\x80\3B\2\0\0\0ab.", PICKLE_STRING, 2);
  KIND("\x80\4\x8c\2ab.", PICKLE_STRING, 2);
  KIND("\x80\4\x8d\2\0\0\0\0\0\0\0ab.", PICKLE_STRING, 2);
  KIND("\x80\4\x8e\2\0\0\0\0\0\0\0ab.", PICKLE_STRING, 2);
  KIND("\x80\5\x96\2\0\0\0\0\0\0\0ab.", PICKLE_STRING, 2);
  REFUSED("\x80\2X\3\0\0\0ab.", "ends within");
  REFUSED("\x80\4\x8d\377\377\377\377\377\377\377\377ab.", "ends within");
}

static void test_containers(void **state) {
  (void)state;
  KIND("\x80\2).", PICKLE_TUPLE, 0);
  KIND("\x80\2NN\x86.", PICKLE_TUPLE, 2);
  KIND("\x80\2(NNNNt.", PICKLE_TUPLE, 4);
  KIND("\x80\2]Na.", PICKLE_LIST, 1);
  KIND("\x80\2](NNNe.", PICKLE_LIST, 3);
  KIND("\x80\2}K\1Ns.", PICKLE_DICT, 2);
  KIND("\x80\2}(K\1NK\2Nu.", PICKLE_DICT, 4);
  KIND("\x80\4\x8f(NN\x90.", PICKLE_OPAQUE, 3); /* a set */
  KIND("\x80\4(NN\x91.", PICKLE_OPAQUE, 9);     /* a frozen one */
  KIND("\x80\2N2\x86.", PICKLE_TUPLE, 2);       /* the same value twice */
  KIND("\x80\2N(NN1.", PICKLE_NONE, 0);         /* taken off again */
  KIND("\x80\4\x95\3\0\0\0\0\0\0\0N0N.", PICKLE_NONE, 0);
}

static void test_memo(void **state) {
  (void)state;
  INT("\x80\2K\7q\5NNh\5.", 7);
  INT("\x80\2K\7r\5\0\0\0Nj\5\0\0\0.", 7);
  INT("\x80\4K\7\x94K\10\x94Nh\1.", 8);
  INT("\x80\2K\7q\1K\10q\1Nh\1.", 8);  /* the last one counts */
  INT("\x80\4K\7q\5K\10\x94Nh\1.", 8); /* MEMOIZE takes the place of the number that are filled */
}

static void test_damaged(void **state) {
  (void)state;
  REFUSED("", "does not begin with its protocol");
  REFUSED("N.", "does not begin with its protocol");
  REFUSED("\x80\6N.", "protocol 6");
  REFUSED("\x80\1N.", "protocol 1");
  REFUSED("\x80\2N", "ends within");
  REFUSED("\x80\2.", "takes a value where there is none");
  REFUSED("\x80\2(.", "takes a value where there is none");
  REFUSED("\x80\2t.", "a mark that is not there");
  REFUSED("\x80\2}Ns.", "ends within");
  REFUSED("\x80\2}(Nu.", "a key without a value");
  REFUSED("\x80\2NNa.", "takes no items");
  REFUSED("\x80\2](a.", "a mark for a value");
  REFUSED("\x80\2h\x09.", "nothing at place 9");
  REFUSED("\x80\2Nr\377\377\377\177.", "no place 2147483647");
  REFUSED("\x80\2)Q.", "a storage is not described");
  REFUSED("\x80\2N}b.", "gives a state to something that has none");
  REFUSED("\x80\2N)R.", "calls something that is no class");
  REFUSED("\x80\2(o.", "calls nothing");
  REFUSED("\x80\2\x82\1.", "unknown instruction 0x82"); /* the extension registry */
  REFUSED("\x80\5\x97.", "unknown instruction 0x97");   /* buffers beside the pickle */
  REFUSED("\x80\2P0\n.", "unknown instruction 0x50");   /* a persistent id as text */
}

/* What would run a program, in every way that a pickle can ask for a call. */
static void test_calls(void **state) {
  (void)state;
  REFUSED("\x80\2cos\nsystem\nU\4true\x85R.", "the pickle calls os.system");
  REFUSED("\x80\2(U\4trueios\nsystem\n.", "the pickle calls os.system");
  REFUSED("\x80\2(cos\nsystem\nU\4trueo.", "the pickle calls os.system");
  REFUSED("\x80\2cos\nsystem\n)\x81.", "the pickle calls os.system");
  REFUSED("\x80\4\x8c\5posix\x8c\6system\x93)}\x92.", "the pickle calls posix.system");
  REFUSED("\x80\4\x8c\5posix\x8c\6system\x93\x8c\4true\x85R.", "the pickle calls posix.system");
  REFUSED("\x80\2ctorch\nnn\n}b.", "the pickle changes torch.nn");
  /* Even what is refused is only named before. */
  KIND("\x80\2cos\nsystem\n.", PICKLE_GLOBAL, 9);
}

/* Ways past scanners of pickles that were published: a memo whose places are counted differently, dotted names, lookups
 * by attribute, classes given to a constructor, loaders within loaders. */
static void test_bypasses(void **state) {
  static const char *const globals[] = {"builtins eval",
                                        "builtins exec",
                                        "builtins __import__",
                                        "builtins getattr.__call__",
                                        "importlib import_module",
                                        "marshal loads",
                                        "pickle loads",
                                        "_pickle loads",
                                        "operator attrgetter",
                                        "operator methodcaller",
                                        "functools partial",
                                        "runpy _run_code",
                                        "pip main",
                                        "bdb Bdb.run",
                                        "asyncio.unix_events _UnixSubprocessTransport._start",
                                        "os path.os.system",
                                        "os.path os.system",
                                        "torch hub.load",
                                        "torch.hub load",
                                        "torch load",
                                        "torch.serialization load",
                                        "torch.storage _load_from_bytes",
                                        "torch.utils._config_module load_config",
                                        "torch.jit.annotations parse_type_line",
                                        "torch.distributed.rpc.internal PythonUDF",
                                        "torch.jit._pickle build_tensor_from_id",
                                        "torch.FloatStorage from_file",
                                        "numpy.testing._private.utils runstring",
                                        "numpy load",
                                        "yaml unsafe_load",
                                        "omegaconf.omegaconf OmegaConf.load",
                                        "argparse FileType",
                                        "collections OrderedDict.fromkeys",
                                        "torch Tensor",
                                        "torch FloatStorage"};
  (void)state;
  for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
    pickle_writer w = {.size = 0};
    char words[200] = "the pickle calls ";
    strcat(words, globals[i]);
    *strchr(words + 17, ' ') = '.';
    PUT(&w, "\x80\2");
    put_global(&w, globals[i]);
    PUT(&w, "U\4true\x85R.");
    expect_refused(w.bytes, w.size, words);
  }
  /* MEMOIZE counts places that were filled, not the highest */
  REFUSED("\x80\4U\2osq\5U\6systemq\6U\1x\x94h\5h\6\x93U\4true\x85R.", "the pickle calls os.system");
  /* an attribute of anything but a record, and a call of what the attribute is */
  REFUSED("\x80\2cbuiltins\ngetattr\ncos\npath\nU\2os\x86R.", "the pickle calls builtins.getattr");
  REFUSED("\x80\2cbuiltins\ngetattr\ncargparse\nNamespace\nU\1x\x86R)R.", "calls something that is no class");
  REFUSED("\x80\2ccopyreg\n__newobj__\ncos\nsystem\n\x85R.", "the pickle calls os.system");
  REFUSED("\x80\2ccopy_reg\n_reconstructor\ncsubprocess\nPopen\nc__builtin__\nobject\nN\x87R.",
          "the pickle calls subprocess.Popen");
  REFUSED("\x80\2ccopyreg\n__newobj__\n)R.", "the pickle calls copyreg.__newobj__");
  /* a pure function gives back what may not be called either */
  REFUSED("\x80\2ctorch.jit._pickle\nbuild_intlist\ncos\nsystem\n\x85RU\4true\x85R.", "the pickle calls os.system");
  REFUSED("\x80\2ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n)NtR.",
          "the pickle calls os.system");
  REFUSED("\x80\2ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\ncos\nsystem\n)NtR.",
          "the pickle calls os.system");
  /* a name may not hide behind a line's end or a zero byte */
  REFUSED("\x80\4U\13collections\x8c\14OrderedDict\0\x93)R.", "the pickle calls collections.OrderedDict");
}

static void test_records(void **state) {
  static const char *const made[] = {
      "\x80\2cargparse\nNamespace\n)\x81}U\2lrNsb.",
      "\x80\2c__builtin__\nset\n]\x85R.",
      "\x80\2cyacs.config\nCfgNode\n)\x81(U\1aNu}b.",
      ("\x80\2cmmengine.logging.history_buffer\nHistoryBuffer\n)\x81}U\4_min"
       "c__builtin__\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\nU\3min\x86Rsb."),
      "\x80\2cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\1\x85U\1b\x87R(K\1)Ntb.",
      "\x80\2ccopy_reg\n_reconstructor\ncomegaconf.dictconfig\nDictConfig\nc__builtin__\nobject\nN\x87R}b.",
      "\x80\2cpytorch_lightning.utilities.parsing\nAttributeDict\n)\x81(U\1aNu.",
      "\x80\2cdeepspeed.runtime.zero.config\nZeroStageEnum\nK\2\x85R.",
      "\x80\2ctorch.serialization\n_get_layout\nU\x0dtorch.strided\x85R.",
      "\x80\2ccollections\ndeque\n)R(NNe.",
  };
  (void)state;
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    void *block;
    pickle *p = expect_pickle(made[i], strlen(made[i]), &block);
    assert_int_equal(pickle_root(p)->kind, PICKLE_OPAQUE);
    pickle_free(p);
    free(block);
  }
  KIND("\x80\2ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(K\1Nu.", PICKLE_DICT, 2);
  KIND("\x80\2ctorch.jit._pickle\nbuild_intlist\n](NNe\x85R.", PICKLE_LIST, 2);
  KIND("\x80\2c__torch__.a.b\nModel\n)\x81}U\1xNsb.", PICKLE_OBJECT, 1);
  REFUSED("\x80\2ccollections\nOrderedDict\n]\x85R.", "an empty one is known");
}

/* Memory stays bounded whatever the bytes: values that multiply by being taken from the memo again and again. */
static void test_multiplied_values(void **state) {
  (void)state;
  const size_t size = (1 << 24) + 64;
  char *bytes = malloc(size);
  assert_non_null(bytes);
  memset(bytes, '(', size);
  memcpy(bytes, "\x80\2", 2);
  expect_refused(bytes, size, "values at hand");
  memset(bytes + 2, 'N', size - 2);
  expect_refused(bytes, size, "holds more than");
  char *at = bytes + 2;
  memcpy(at, "]q\0", 3);
  for (at += 3; at + 3 < bytes + size; at += 3) memcpy(at, "h\0a", 3);
  expect_refused(bytes, (size_t)(at - bytes), "ends within");
  for (at = bytes + 2; at + 9 < bytes + size; at += 9) memcpy(at, "cos\na\n\x30\x88\x30", 9);
  expect_refused(bytes, (size_t)(at - bytes), "names classes more than");
  free(bytes);
}

/* A list that holds itself is a value like others. */
static void test_cycle(void **state) {
  (void)state;
  KIND("\x80\2]q\1h\1a.", PICKLE_LIST, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers),  cmocka_unit_test(test_texts),   cmocka_unit_test(test_containers),
      cmocka_unit_test(test_memo),     cmocka_unit_test(test_damaged), cmocka_unit_test(test_calls),
      cmocka_unit_test(test_bypasses), cmocka_unit_test(test_records), cmocka_unit_test(test_multiplied_values),
      cmocka_unit_test(test_cycle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
