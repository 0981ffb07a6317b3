/* The colour words: exact words of chosen pixels, bounds of the table, the vote. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "data/colour.h"

typedef struct {
  uint8_t r, g, b;
  colour word;
} sample;

static void expect(const sample *s, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (colour_of_pixel(s[i].r, s[i].g, s[i].b) != s[i].word)
      fail_msg("%d %d %d is \"%s\", expected \"%s\"", s[i].r, s[i].g, s[i].b,
               colour_name(colour_of_pixel(s[i].r, s[i].g, s[i].b)), colour_name(s[i].word));
}

#define EXPECT(table) expect(table, sizeof table / sizeof *table)

static void test_names(void **state) {
  (void)state;
  assert_string_equal(colour_name(COLOUR_NONE), "");
  assert_string_equal(colour_name(COLOUR_BLACK), "black");
  assert_string_equal(colour_name(COLOUR_GREY), "grey");
  assert_string_equal(colour_name(COLOUR_WHITE), "white");
  assert_string_equal(colour_name(COLOUR_RED), "red");
  assert_string_equal(colour_name(COLOUR_ORANGE), "orange");
  assert_string_equal(colour_name(COLOUR_YELLOW), "yellow");
  assert_string_equal(colour_name(COLOUR_GREEN), "green");
  assert_string_equal(colour_name(COLOUR_BLUE), "blue");
  assert_string_equal(colour_name(COLOUR_PURPLE), "purple");
  assert_string_equal(colour_name(COLOUR_PINK), "pink");
  assert_string_equal(colour_name(COLOUR_BROWN), "brown");
  assert_string_equal(colour_name(COLOURS), "");
  assert_string_equal(colour_name((colour)-1), "");
}

static void test_pure(void **state) {
  (void)state;
  static const sample table[] = {
      {0, 0, 0, COLOUR_BLACK},       {255, 255, 255, COLOUR_WHITE}, {128, 128, 128, COLOUR_GREY},
      {255, 0, 0, COLOUR_RED},       {0, 255, 0, COLOUR_GREEN},     {0, 0, 255, COLOUR_BLUE},
      {255, 255, 0, COLOUR_YELLOW},  {255, 128, 0, COLOUR_ORANGE},  {128, 0, 128, COLOUR_PURPLE},
      {255, 192, 203, COLOUR_PINK},  {139, 69, 19, COLOUR_BROWN},   {0, 255, 255, COLOUR_BLUE},
      {0, 128, 0, COLOUR_GREEN},     {255, 165, 0, COLOUR_ORANGE},  {255, 215, 0, COLOUR_YELLOW},
      {138, 43, 226, COLOUR_PURPLE}, {255, 105, 180, COLOUR_PINK},  {50, 205, 50, COLOUR_GREEN},
  };
  EXPECT(table);
}

static void test_brown_and_orange(void **state) {
  (void)state;
  static const sample table[] = {
      {255, 140, 0, COLOUR_ORANGE},  {230, 126, 34, COLOUR_ORANGE},
      {210, 105, 30, COLOUR_ORANGE}, {150, 75, 0, COLOUR_BROWN},
      {121, 85, 72, COLOUR_BROWN},   {160, 120, 80, COLOUR_BROWN},
      {109, 76, 65, COLOUR_BROWN},   {255, 224, 189, COLOUR_NONE} /* beige */,
  };
  EXPECT(table);
}

static void test_pink_and_red(void **state) {
  (void)state;
  static const sample table[] = {
      {220, 20, 60, COLOUR_RED},
      {139, 0, 0, COLOUR_RED},
      {178, 34, 34, COLOUR_RED},
      {255, 182, 193, COLOUR_PINK},
      {255, 20, 147, COLOUR_PINK},
      {250, 128, 114, COLOUR_PINK},
      {255, 101, 101, COLOUR_RED} /* saturation above 0.6 */,
      {255, 103, 103, COLOUR_PINK} /* below */,
  };
  EXPECT(table);
}

static void test_light_and_dark(void **state) {
  (void)state;
  static const sample table[] = {
      {250, 250, 250, COLOUR_WHITE}, {225, 225, 225, COLOUR_WHITE}, {224, 224, 224, COLOUR_GREY},
      {255, 250, 240, COLOUR_WHITE}, {240, 248, 255, COLOUR_WHITE}, {44, 0, 0, COLOUR_BLACK},
      {45, 0, 0, COLOUR_RED},        {20, 20, 40, COLOUR_BLACK},    {0, 0, 139, COLOUR_BLUE},
      {0, 0, 70, COLOUR_BLUE},       {79, 79, 79, COLOUR_BLACK},    {80, 80, 80, COLOUR_GREY},
      {144, 164, 174, COLOUR_GREY},  {173, 216, 230, COLOUR_BLUE},
  };
  EXPECT(table);
}

static void fill(uint8_t *rgba, size_t n, uint8_t r, uint8_t g, uint8_t b, uint8_t a) {
  for (size_t i = 0; i < n; i++) memcpy(rgba + 4 * i, (uint8_t[4]){r, g, b, a}, 4);
}

static void test_share(void **state) {
  (void)state;
  uint8_t rgba[100][4];
  fill(rgba[0], 60, 255, 0, 0, 255);
  fill(rgba[60], 40, 0, 0, 255, 255);
  assert_int_equal(colour_of_picture(rgba[0], 100), COLOUR_RED);
  fill(rgba[59], 1, 0, 0, 255, 255);
  assert_int_equal(colour_of_picture(rgba[0], 100), COLOUR_NONE);
  fill(rgba[0], 41, 0, 0, 255, 255);
  assert_int_equal(colour_of_picture(rgba[0], 100), COLOUR_BLUE);
  fill(rgba[0], 100, 255, 224, 189, 255); /* pixels without a word make no word win */
  assert_int_equal(colour_of_picture(rgba[0], 100), COLOUR_NONE);
}

static void test_alpha(void **state) {
  (void)state;
  uint8_t rgba[100][4];
  fill(rgba[0], 90, 0, 255, 0, 127); /* below the threshold: no vote */
  fill(rgba[90], 10, 255, 0, 0, 128);
  assert_int_equal(colour_of_picture(rgba[0], 100), COLOUR_RED);
  assert_int_equal(colour_of_picture(rgba[0], 90), COLOUR_NONE);
  assert_int_equal(colour_of_picture(rgba[0], 0), COLOUR_NONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_pure),
      cmocka_unit_test(test_brown_and_orange),
      cmocka_unit_test(test_pink_and_red),
      cmocka_unit_test(test_light_and_dark),
      cmocka_unit_test(test_share),
      cmocka_unit_test(test_alpha),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
