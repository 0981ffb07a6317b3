/* JPEG by libjpeg-turbo with Pillow's settings (islow DCT, fancy upsampling: the library's defaults; spec rwkv-clip
 * section 8, JPEG parity). CMYK becomes RGB as Pillow converts it, taking the samples as inverted, as every known
 * writer stores them.
 *
 * libjpeg leaves by longjmp; what must outlive the jump is in the reader, which belongs to the function without setjmp.
 * Damage that libjpeg would paint over in grey is an error here: half a picture is not a picture. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h> /* needs stdio.h before it */

#include "data/image_internal.h"

typedef struct {
  struct jpeg_decompress_struct decoder;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
  const image_source *source;
  image *im;
  int orientation;
} jpeg_reader;

/* More scans than any encoder writes are a way to make a small file cost hours. */
#define MAX_SCANS 500

static _Noreturn void leave(jpeg_reader *r, const char *message) {
  if (message)
    snprintf(r->message, sizeof r->message, "%s", message);
  else
    r->errors.format_message((j_common_ptr)&r->decoder, r->message);
  longjmp(r->escape, 1);
}

static _Noreturn void on_error(j_common_ptr c) { leave(c->client_data, NULL); }

static void on_message(j_common_ptr c, int level) {
  if (level >= 0) return; /* traces */
  switch (c->err->msg_code) {
  case JWRN_JPEG_EOF:
    leave(c->client_data, "the file ends early");
  case JWRN_HIT_MARKER:
  case JWRN_HUFF_BAD_CODE:
  case JWRN_MUST_RESYNC:
    leave(c->client_data, NULL);
  default:
    c->err->num_warnings++; /* harmless oddities */
  }
}

static void on_output(j_common_ptr c) { (void)c; /* a library does not print */ }

static void on_progress(j_common_ptr c) {
  jpeg_reader *r = c->client_data;
  if (r->decoder.input_scan_number > MAX_SCANS) leave(r, "it has too many scans");
}

static void find_orientation(jpeg_reader *r) {
  for (jpeg_saved_marker_ptr m = r->decoder.marker_list; m; m = m->next) {
    if (m->marker != JPEG_APP0 + 1 || m->data_length < 6 || memcmp(m->data, "Exif\0", 6)) continue;
    r->orientation = exif_orientation(m->data + 6, m->data_length - 6);
    return;
  }
}

/* samples: inverted CMYK, as stored. Pillow: ink = 255 - stored; c = white - ink * white / 255 with white = stored K.
 */
static void cmyk_to_rgb(const uint8_t *samples, uint8_t *rgb, int width) {
  for (int x = 0; x < width; x++, samples += 4, rgb += 3)
    for (int c = 0; c < 3; c++) {
      const int white = samples[3], t = (255 - samples[c]) * white + 128, v = white - (((t >> 8) + t) >> 8);
      rgb[c] = (uint8_t)(v < 0 ? 0 : v);
    }
}

static status read_picture(jpeg_reader *r) {
  struct jpeg_decompress_struct *d = &r->decoder;
  if (setjmp(r->escape)) return fail(STATUS_FORMAT, "%s: cannot read this JPEG: %s", r->source->name, r->message);
  jpeg_create_decompress(d); /* clears all but err and client_data */
  d->progress = &r->progress;
  jpeg_mem_src(d, r->source->bytes, r->source->n);
  jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(d, TRUE);
  if (image_check_size(r->source, d->image_width, d->image_height)) return last_status();
  find_orientation(r);
  const int components = d->num_components;
  if (components != 1 && components != 3 && components != 4)
    return fail(STATUS_UNSUPPORTED, "%s: a JPEG with %d components is not supported", r->source->name, components);
  d->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  r->im = image_new(components == 1 ? IMAGE_L : IMAGE_RGB, (int)d->image_width, (int)d->image_height);
  if (!r->im) return last_status();
  jpeg_start_decompress(d);
  JSAMPARRAY inks = NULL; /* libjpeg's memory: it goes with the decoder */
  if (components == 4) inks = d->mem->alloc_sarray((j_common_ptr)d, JPOOL_IMAGE, d->output_width * 4, 1);
  while (d->output_scanline < d->output_height) {
    JSAMPROW row = image_row(r->im, (int)d->output_scanline);
    jpeg_read_scanlines(d, inks ? inks : &row, 1);
    if (inks) cmyk_to_rgb(inks[0], row, r->im->width);
  }
  jpeg_finish_decompress(d);
  return STATUS_OK;
}

image *jpeg_decode(const image_source *source, int *orientation) {
  jpeg_reader r = {.source = source, .orientation = 1};
  r.decoder.err = jpeg_std_error(&r.errors);
  r.decoder.client_data = &r;
  r.errors.error_exit = on_error;
  r.errors.emit_message = on_message;
  r.errors.output_message = on_output;
  r.progress.progress_monitor = on_progress;
  const status code = read_picture(&r);
  jpeg_destroy_decompress(&r.decoder);
  if (code) {
    image_free(r.im);
    return NULL;
  }
  *orientation = r.orientation;
  return r.im;
}
