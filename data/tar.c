#include "data/tar.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, NAME = 100, PREFIX = 155 };
/* Where a header keeps what. */
enum { AT_SIZE = 124, AT_SUM = 148, AT_TYPE = 156, AT_MAGIC = 257, AT_PREFIX = 345, SIZE_DIGITS = 12, SUM_DIGITS = 8 };

/* What the headers before a member said of it. */
typedef struct {
  char name[TAR_NAME];
  bool has_name, has_size;
  uint64_t size;
} notes;

/* A number in octal digits with spaces or zero bytes around, or in base 256 after a byte 0x80. */
static bool number(const uint8_t *field, size_t n, uint64_t *out) {
  uint64_t value = 0;
  size_t i = 0;
  if (field[0] & 0x80) {
    if (field[0] != 0x80) return false; /* below 0, or beyond 88 bits */
    for (i = 1; i < n; i++) {
      if (value >> 56) return false;
      value = value << 8 | field[i];
    }
    *out = value;
    return true;
  }
  while (i < n && field[i] == ' ') i++;
  for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) value = value << 3 | (uint64_t)(field[i] - '0');
  *out = value; /* at most 12 digits: 36 bits */
  return i == n || field[i] == ' ' || !field[i];
}

/* The sum of a header's bytes, its own field taken for spaces. */
static bool sum_is_right(const uint8_t *h) {
  uint64_t said, sum = 0;
  for (size_t i = 0; i < BLOCK; i++) sum += i >= AT_SUM && i < AT_SUM + SUM_DIGITS ? ' ' : h[i];
  return number(h + AT_SUM, SUM_DIGITS, &said) && said == sum;
}

bool tar_is(const void *bytes, size_t n) { return n >= BLOCK && sum_is_right(bytes); }

static bool is_empty(const uint8_t *block) {
  for (size_t i = 0; i < BLOCK; i++)
    if (block[i]) return false;
  return true;
}

static size_t length_within(const uint8_t *text, size_t most) {
  const uint8_t *end = memchr(text, 0, most);
  return end ? (size_t)(end - text) : most;
}

/* The name in the header itself: POSIX's has a folder apart. */
static void name_of(const uint8_t *h, char name[TAR_NAME]) {
  const bool posix = !memcmp(h + AT_MAGIC, "ustar", 6);
  const int before = posix ? (int)length_within(h + AT_PREFIX, PREFIX) : 0, n = (int)length_within(h, NAME);
  snprintf(name, TAR_NAME, "%.*s%s%.*s", before, (const char *)h + AT_PREFIX, before ? "/" : "", n, (const char *)h);
}

static status note_name(notes *said, const uint8_t *text, size_t n) {
  n = length_within(text, n);
  if (!n || n >= TAR_NAME) return fail(STATUS_FORMAT, "a name of %zu bytes", n);
  memcpy(said->name, text, n);
  said->name[n] = 0;
  said->has_name = true;
  return STATUS_OK;
}

/* Decimal digits up to `end`. */
static bool decimal(const uint8_t **at, const uint8_t *end, uint64_t *out) {
  const uint8_t *p = *at;
  uint64_t value = 0;
  for (; p < end && *p >= '0' && *p <= '9'; p++) {
    if (value > UINT64_MAX / 10 - 1) return false;
    value = value * 10 + (uint64_t)(*p - '0');
  }
  const bool some = p > *at;
  *at = p;
  *out = value;
  return some;
}

/* Records "LENGTH KEY=VALUE\n", whose length counts all of them. */
static status read_pax(notes *said, const uint8_t *text, size_t n) {
  static const char path[] = "path=", size[] = "size=";
  for (const uint8_t *at = text, *end = text + n; at < end && *at;) {
    const uint8_t *p = at;
    uint64_t length;
    if (!decimal(&p, end, &length) || p >= end || *p != ' ' || length > (uint64_t)(end - at) ||
        length < (uint64_t)(p - at) + 2 || at[length - 1] != '\n')
      return fail(STATUS_FORMAT, "a damaged extended header");
    const uint8_t *next = at + length, *value = ++p;
    const size_t left = (size_t)(next - 1 - p);
    if (left > sizeof path - 1 && !memcmp(p, path, sizeof path - 1)) {
      const status s = note_name(said, p + (sizeof path - 1), left - (sizeof path - 1));
      if (s) return s;
    } else if (left > sizeof size - 1 && !memcmp(p, size, sizeof size - 1)) {
      value += sizeof size - 1;
      if (!decimal(&value, next - 1, &said->size) || value != next - 1)
        return fail(STATUS_FORMAT, "a damaged size in an extended header");
      said->has_size = true;
    }
    at = next;
  }
  return STATUS_OK;
}

/* What a header of type `type` with its data is for; notes are of the next file, and used up by it. */
static status take(notes *said, const uint8_t *h, size_t offset, const uint8_t *data, size_t size, tar_member_fn each,
                   void *user) {
  const char type = (char)h[AT_TYPE];
  if (type == 'L') return note_name(said, data, size);
  if (type == 'x') return read_pax(said, data, size);
  if (type == 'g' || type == 'K') return STATUS_OK;
  if (type == 'S') return fail(STATUS_UNSUPPORTED, "a file with holes (GNU sparse)");
  if (!said->has_name) name_of(h, said->name);
  const size_t n = strlen(said->name);
  const bool is_file = (!type || type == '0' || type == '7') && n && said->name[n - 1] != '/';
  const status s = is_file ? each(user, said->name, offset, size) : STATUS_OK;
  said->has_name = said->has_size = false;
  return s;
}

/* The member whose header is at `at`; *next is where the next one begins. */
static status member(notes *said, const uint8_t *bytes, size_t n, size_t at, size_t *next, tar_member_fn each,
                     void *user) {
  const uint8_t *h = bytes + at;
  uint64_t size;
  if (n - at < BLOCK) return fail(STATUS_FORMAT, "cut off within a header");
  if (!sum_is_right(h)) return fail(STATUS_FORMAT, "a header whose checksum is wrong");
  if (!number(h + AT_SIZE, SIZE_DIGITS, &size)) return fail(STATUS_FORMAT, "a header whose size is no number");
  const char type = (char)h[AT_TYPE];
  const bool about_next = type == 'L' || type == 'K' || type == 'x' || type == 'g';
  if (type >= '1' && type <= '6') size = 0; /* links, devices, folders have no data, whatever they say */
  if (said->has_size && !about_next) size = said->size;
  const size_t offset = at + BLOCK;
  if (size > n - offset) return fail(STATUS_FORMAT, "cut off within a member of %llu bytes", (unsigned long long)size);
  const size_t filled = n - offset - (size_t)size, rest = (BLOCK - (size_t)size % BLOCK) % BLOCK;
  *next = offset + (size_t)size + (rest < filled ? rest : filled);
  return take(said, h, offset, bytes + offset, (size_t)size, each, user);
}

status tar_members(const char *path, const void *bytes, size_t n, tar_member_fn each, void *user) {
  const uint8_t *b = bytes;
  notes said = {.has_name = false};
  for (size_t at = 0, next = n; at < n; at = next) {
    if (n - at >= BLOCK && is_empty(b + at)) break;
    if (member(&said, b, n, at, &next, each, user)) return fail_within("%s, at byte %zu", path, at);
  }
  return STATUS_OK;
}
