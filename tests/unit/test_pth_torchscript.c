/* TorchScript archives, as OpenAI published CLIP: attributes of nested objects become dotted names; hostile trees of
 * objects end with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "tests/support/make_pth.h"
#include "weights/checkpoint.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static char *make_script(const pickle_writer *w, size_t *size) {
  static const float values[] = {0, 1, 2, 3, 4, 5};
  const pth_entry entries[] = {
      {"s/data.pkl", w->bytes, w->size},          {"s/data/0", values, sizeof values},
      {"s/constants.pkl", "\x80\x02).", 4},       {"s/code/__torch__/m.py", "raise SystemExit", 16},
      {"s/code/__torch__/m.py.debug_pkl", "", 0}, {"s/version", "3\n", 2},
  };
  return make_zip(entries, sizeof entries / sizeof *entries, ZIP_CM_STORE, size);
}

static void expect_refused(const pickle_writer *w, const char *words) {
  size_t size;
  char *bytes = make_script(w, &size);
  if (checkpoint_parse(bytes, size, "memory")) fail_msg("opened, not refused as \"%s\"", words);
  if (!strstr(last_error(), words)) fail_msg("\"%s\" does not say \"%s\"", last_error(), words);
  free(bytes);
}

/* An object of a class of the program, up to its attributes. */
static void begin_object(pickle_writer *w, const char *class) {
  put_global(w, class);
  PUT(w, ")\x81}(");
  put_text(w, "training");
  PUT(w, "\x89");
}
#define END_OBJECT "ub"

static void test_clip(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02");
  begin_object(&w, "__torch__.clip CLIP");
  put_six(&w, "positional_embedding");
  put_text(&w, "input_resolution");
  PUT(&w, "K\340");
  put_text(&w, "sizes");
  put_global(&w, "torch.jit._pickle build_intlist");
  PUT(&w, "](K\1K\2e\x85R");
  put_text(&w, "names");
  put_global(&w, "torch.jit._pickle restore_type_tag");
  PUT(&w, "](U\1aU\1beU\x09List[str]\x86R");
  put_text(&w, "weights");
  put_global(&w, "torch.jit._pickle build_tensorlist");
  PUT(&w, "](");
  put_value(&w, "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
  PUT(&w, "e\x85R");
  put_text(&w, "device");
  put_global(&w, "torch device");
  PUT(&w, "U\3cpu\x85R");
  put_text(&w, "visual");
  begin_object(&w, "__torch__.clip.___torch_mangle_1 VisionTransformer");
  put_text(&w, "conv1");
  begin_object(&w, "__torch__.torch.nn.modules.conv Conv2d");
  put_tensor(&w, "weight", "FloatStorage", 6, 0, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3});
  put_text(&w, "bias");
  PUT(&w, "N" END_OBJECT);
  put_text(&w, "0");
  begin_object(&w, "__torch__.torch.nn.modules.activation QuickGELU");
  PUT(&w, END_OBJECT);
  put_tensor(&w, "proj", "FloatStorage", 6, 2, 1, (int64_t[]){4}, (int64_t[]){1});
  PUT(&w, END_OBJECT);
  put_text(&w, "logit_scale");
  put_value(&w, "FloatStorage", 6, 5, 0, NULL, NULL);
  PUT(&w, END_OBJECT ".");
  size_t size;
  char *bytes = make_script(&w, &size);
  checkpoint *c = checkpoint_parse(bytes, size, "memory");
  if (!c) fail_msg("%s", last_error());
  static const char *const names[] = {"positional_embedding", "visual.conv1.weight", "visual.proj", "logit_scale"};
  assert_string_equal(checkpoint_container(c), "torchscript");
  assert_string_equal(checkpoint_choices(c), "");
  assert_int_equal(checkpoint_count(c), 4);
  for (size_t i = 0; i < 4; i++) assert_string_equal(checkpoint_at(c, i)->name, names[i]);
  float have[6];
  assert_int_equal(checkpoint_read_f32(c, checkpoint_find(c, "visual.conv1.weight"), have), STATUS_OK);
  assert_memory_equal(have, ((float[]){0, 3, 1, 4, 2, 5}), sizeof have);
  assert_int_equal(checkpoint_read_f32(c, checkpoint_find(c, "visual.proj"), have), STATUS_OK);
  assert_memory_equal(have, ((float[]){2, 3, 4, 5}), 16);
  checkpoint_close(c);
  assert_null(checkpoint_parse_choice(bytes, size, "memory", "visual"));
  assert_int_equal(last_status(), STATUS_ARGUMENT);
  free(bytes);
}

static void test_hostile(void **state) {
  (void)state;
  pickle_writer w = {.size = 0};
  PUT(&w, "\x80\x02");
  begin_object(&w, "__torch__ M");
  PUT(&w, END_OBJECT ".");
  expect_refused(&w, "holds no tensors");

  w.size = 0; /* an object that holds itself */
  PUT(&w, "\x80\x02");
  put_global(&w, "__torch__ M");
  PUT(&w, ")\x81q\1}(U\1mh\1" END_OBJECT ".");
  expect_refused(&w, "nested more than 32 deep");

  w.size = 0; /* the same under many names: more paths than anybody can walk */
  PUT(&w, "\x80\x02");
  put_global(&w, "__torch__ Leaf");
  PUT(&w, ")\x81q\1");
  for (int level = 0; level < 12; level++) {
    put_global(&w, "__torch__ M");
    PUT(&w, ")\x81}(");
    for (char name = 'a'; name < 'k'; name++) {
      put(&w, (const char[]){'U', 1, name, 'h', 1}, 5);
    }
    PUT(&w, END_OBJECT "q\1");
  }
  PUT(&w, ".");
  expect_refused(&w, "more than 4194304 attributes");

  w.size = 0; /* attributes that are no text, and a state that is no dictionary */
  PUT(&w, "\x80\x02");
  put_global(&w, "__torch__ M");
  PUT(&w, ")\x81}(K\1");
  put_value(&w, "FloatStorage", 6, 0, 1, (int64_t[]){6}, (int64_t[]){1});
  PUT(&w, END_OBJECT ".");
  expect_refused(&w, "an attribute's name is no text");
  w.size = 0;
  PUT(&w, "\x80\x02");
  put_global(&w, "__torch__ M");
  PUT(&w, ")\x81K\1b.");
  expect_refused(&w, "holds no tensors");

  w.size = 0; /* names that grow beyond all bounds */
  PUT(&w, "\x80\x02");
  char name[140];
  memset(name, 'n', sizeof name);
  name[sizeof name - 1] = 0;
  begin_object(&w, "__torch__ M");
  put_text(&w, name);
  begin_object(&w, "__torch__ M");
  put_six(&w, name);
  PUT(&w, END_OBJECT END_OBJECT ".");
  expect_refused(&w, "more than 256 bytes");

  w.size = 0; /* what a program's pickle may not call either */
  PUT(&w, "\x80\x02");
  begin_object(&w, "__torch__ M");
  put_text(&w, "x");
  put_global(&w, "torch.jit._script unpackage_script_module");
  PUT(&w, ")R" END_OBJECT ".");
  expect_refused(&w, "the pickle calls torch.jit._script.unpackage_script_module");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_clip), cmocka_unit_test(test_hostile)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
