/* Zip archives through libzip. See pth_archive.h. */
#include "weights/pth_archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

struct archive {
  zip_t *zip;
  size_t bytes, entries;
  zip_file_t *file; /* the open entry, if any: number `entry`, read as far as `at` */
  size_t entry, at;
  uint8_t *piece; /* in memory: bytes `from` to `to` of entry `piece_entry`; NULL if none */
  size_t piece_entry, from, to;
};

/* For a call of libzip that failed. Not every one of its errors says that memory was short; malloc() does, in errno,
 * which describe() has cleared. */
static status damaged(const archive *a, size_t index, const char *why) {
  if (errno == ENOMEM) return fail(STATUS_MEMORY, "out of memory for entry %s of the archive", archive_name(a, index));
  return fail(STATUS_FORMAT, "entry %s of the archive is damaged: %s", archive_name(a, index), why);
}

static status open_zip(archive *a, const void *data) {
  zip_error_t error;
  errno = 0;
  zip_error_init(&error);
  zip_source_t *source = zip_source_buffer_create(data, a->bytes, 0, &error);
  if (source && !(a->zip = zip_open_from_source(source, ZIP_RDONLY, &error))) zip_source_free(source);
  status s = STATUS_OK;
  if (!a->zip)
    s = errno == ENOMEM ? fail(STATUS_MEMORY, "out of memory for the zip archive")
                        : fail(STATUS_FORMAT, "the zip archive cannot be read (%s): is the file cut short?",
                               zip_error_strerror(&error));
  zip_error_fini(&error);
  return s;
}

/* Readers of zip files disagree on which of two entries of one name is meant: what was checked by one would not be what
 * another one loads. */
static status check_names(const archive *a) {
  for (size_t i = 0; i < a->entries; i++) {
    const char *name = zip_get_name(a->zip, i, ZIP_FL_ENC_RAW);
    size_t found = 0;
    if (!name || strlen(name) > ARCHIVE_NAME_MAX)
      return fail(STATUS_FORMAT, "entry %zu of the archive has no name, or one of more than %d bytes", i,
                  ARCHIVE_NAME_MAX);
    if (!archive_find(a, name, &found) || found != i)
      return fail(STATUS_FORMAT, "the archive holds %s more than once", name);
  }
  return STATUS_OK;
}

archive *archive_open(const void *data, size_t bytes) {
  archive *a = mem_zero(1, sizeof *a);
  if (!a) return NULL;
  a->bytes = bytes;
  if (!open_zip(a, data)) {
    a->entries = (size_t)zip_get_num_entries(a->zip, 0);
    if (!check_names(a)) return a;
  }
  archive_close(a);
  return NULL;
}

static void close_entry(archive *a) {
  if (a->file) zip_fclose(a->file);
  a->file = NULL;
}

static void drop_piece(archive *a) {
  free(a->piece);
  a->piece = NULL;
}

void archive_close(archive *a) {
  if (!a) return;
  close_entry(a);
  drop_piece(a);
  if (a->zip) zip_discard(a->zip);
  free(a);
}

size_t archive_count(const archive *a) { return a->entries; }

const char *archive_name(const archive *a, size_t index) { return zip_get_name(a->zip, index, ZIP_FL_ENC_RAW); }

bool archive_find(const archive *a, const char *name, size_t *index) {
  const zip_int64_t found = zip_name_locate(a->zip, name, ZIP_FL_ENC_RAW);
  if (found >= 0) *index = (size_t)found;
  return found >= 0;
}

/* --- sizes -------------------------------------------------------------------------------------------------------- */

static size_t unpacked_max(const archive *a) {
  size_t most;
  return size_mul(a->bytes, ARCHIVE_TIMES, &most) && size_add(most, ARCHIVE_LEAST, &most) ? most : SIZE_MAX;
}

/* The entry's description once its way of packing is known to be one that is read. */
static status describe(const archive *a, size_t index, zip_stat_t *info) {
  const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  errno = 0;
  if (zip_stat_index(a->zip, index, 0, info) || (info->valid & needed) != needed)
    return damaged(a, index, zip_strerror(a->zip));
  const char *name = archive_name(a, index);
  if (info->encryption_method != ZIP_EM_NONE)
    return fail(STATUS_UNSUPPORTED, "entry %s of the archive is encrypted", name);
  if (info->comp_method != ZIP_CM_STORE && info->comp_method != ZIP_CM_DEFLATE)
    return fail(STATUS_UNSUPPORTED, "entry %s of the archive is packed by method %d; stored and deflated ones are read",
                name, info->comp_method);
  if (info->comp_method == ZIP_CM_STORE && info->size > a->bytes)
    return fail(STATUS_FORMAT, "entry %s claims %llu bytes, the file has only %zu", name,
                (unsigned long long)info->size, a->bytes);
  if (info->size > unpacked_max(a))
    return fail(STATUS_UNSUPPORTED, "entry %s would unpack to %llu bytes, more than %d times the size of the file",
                name, (unsigned long long)info->size, ARCHIVE_TIMES);
  return STATUS_OK;
}

status archive_size(const archive *a, size_t index, size_t *bytes) {
  zip_stat_t info;
  if (describe(a, index, &info)) return last_status();
  *bytes = (size_t)info.size;
  return STATUS_OK;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static status open_entry(archive *a, size_t index) {
  close_entry(a);
  if (!(a->file = zip_fopen_index(a->zip, index, 0))) return damaged(a, index, zip_strerror(a->zip));
  a->entry = index;
  a->at = 0;
  return STATUS_OK;
}

static status read_failed(archive *a, const char *why) {
  const status s = damaged(a, a->entry, why);
  close_entry(a); /* a later call begins anew */
  return s;
}

/* Reads on in the open entry, of `size` bytes. Only who reads up to the end, and one byte on, learns of a wrong
 * checksum. */
static status read_on(archive *a, size_t size, uint8_t *out, size_t bytes) {
  const size_t end = a->at + bytes;
  char more;
  while (a->at < end) {
    const zip_int64_t n = zip_fread(a->file, out, end - a->at);
    if (n <= 0) return read_failed(a, n < 0 ? zip_file_strerror(a->file) : "it is shorter than claimed");
    out += n;
    a->at += (size_t)n;
  }
  if (a->at < size) return STATUS_OK;
  const zip_int64_t n = zip_fread(a->file, &more, 1);
  return n ? read_failed(a, n < 0 ? zip_file_strerror(a->file) : "it is longer than claimed") : STATUS_OK;
}

static status read_stored(archive *a, size_t index, size_t size, size_t offset, size_t bytes, void *out) {
  if ((!a->file || a->entry != index) && open_entry(a, index)) return last_status();
  if (a->at != offset && zip_fseek(a->file, (zip_int64_t)offset, SEEK_SET))
    return read_failed(a, zip_file_strerror(a->file));
  a->at = offset;
  return read_on(a, size, out, bytes);
}

static status read_deflated(archive *a, size_t index, size_t size, uint8_t *out) {
  if (open_entry(a, index)) return last_status();
  const status s = read_on(a, size, out, size);
  close_entry(a);
  return s;
}

const uint8_t *archive_piece(archive *a, size_t index, size_t offset, size_t bytes) {
  zip_stat_t info;
  if (a->piece && a->piece_entry == index && a->from <= offset && bytes <= a->to - a->from &&
      offset - a->from <= a->to - a->from - bytes)
    return a->piece + (offset - a->from);
  drop_piece(a);
  if (describe(a, index, &info)) return NULL;
  const bool whole = info.comp_method != ZIP_CM_STORE;
  a->from = whole ? 0 : offset;
  a->to = whole ? (size_t)info.size : offset + bytes;
  a->piece_entry = index;
  if (!(a->piece = mem_alloc(a->to - a->from, 1))) return NULL;
  const size_t size = (size_t)info.size;
  if (whole ? read_deflated(a, index, size, a->piece) : read_stored(a, index, size, offset, bytes, a->piece)) {
    drop_piece(a);
    return NULL;
  }
  return a->piece + (offset - a->from);
}

status archive_read(archive *a, size_t index, size_t offset, size_t bytes, void *out) {
  zip_stat_t info;
  if (describe(a, index, &info)) return last_status();
  if (info.comp_method == ZIP_CM_STORE) return read_stored(a, index, (size_t)info.size, offset, bytes, out);
  const uint8_t *piece = archive_piece(a, index, offset, bytes);
  if (!piece) return last_status();
  memcpy(out, piece, bytes);
  return STATUS_OK;
}

static status verify_entry(archive *a, size_t index) {
  uint8_t buffer[1 << 14];
  size_t size = 0;
  if (archive_size(a, index, &size) || open_entry(a, index)) return last_status();
  do {
    const size_t left = size - a->at;
    if (read_on(a, size, buffer, left < sizeof buffer ? left : sizeof buffer)) return last_status();
  } while (a->at < size);
  close_entry(a);
  return STATUS_OK;
}

status archive_verify(archive *a) {
  for (size_t i = 0; i < a->entries; i++)
    if (verify_entry(a, i)) return last_status();
  return STATUS_OK;
}
