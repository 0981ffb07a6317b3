/* The audit of the split (data/split.h): no picture, copy, near copy or sibling on two sides. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/split.h"

/* Counts a violation and keeps the first one's sentence. */
static void __attribute__((format(printf, 3, 4)))
violation(split_audit *out, uint32_t *counter, const char *format, ...) {
  ++*counter;
  if (out->first[0] != 0) return;
  va_list args;
  va_start(args, format);
  vsnprintf(out->first, sizeof out->first, format, args);
  va_end(args);
}

static void audit_pair(const manifest_entry *a, const manifest_entry *b, split_audit *out) {
  const char *in_a = split_name[a->split], *in_b = split_name[b->split];
  if (a->content == b->content) {
    violation(out, &out->copies, "%s (%s) and %s (%s) have the same pixels", a->name, in_a, b->name, in_b);
  }
  if (look_is_near(a, b)) {
    violation(out, &out->near_copies, "%s (%s) and %s (%s) look nearly the same", a->name, in_a, b->name, in_b);
  }
  if (is_sibling(a, b)) {
    violation(out, &out->siblings, "%s (%s) and %s (%s) show the same kind by the same author", a->name, in_a, b->name,
              in_b);
  }
}

static void audit_kinds(const manifest_entry *entry, uint32_t n, const kind_table *kinds, split_audit *out) {
  for (uint32_t k = 0; k < kinds->n; k++) {
    const object_kind *kind = &kinds->kind[k];
    bool trained = false;
    for (uint32_t i = 0; i < n && !trained; i++) trained = entry[i].kind == k && entry[i].split == SPLIT_TRAIN;
    out->kinds_held_out += kind->held_out;
    if (kind->held_out != kind_is_held_out(kind->singular)) {
      violation(out, &out->wrong_flags, "the table of kinds says that '%s' is%s held out, the seed says the opposite",
                kind->singular, kind->held_out ? "" : " not");
    }
    if (!kind->held_out && !trained) {
      violation(out, &out->kinds_untrained, "the kind '%s' has no training picture", kind->singular);
    }
  }
}

static void audit_entries(const manifest_entry *entry, uint32_t n, const kind_table *kinds, split_audit *out) {
  for (uint32_t i = 0; i < n; i++) {
    const manifest_entry *e = &entry[i];
    out->pictures[e->split]++;
    if (kinds->kind[e->kind].held_out && e->split != SPLIT_TEST) {
      violation(out, &out->held_out_seen, "%s shows the held-out kind '%s' and is in %s", e->name,
                kinds->kind[e->kind].singular, split_name[e->split]);
    }
    for (uint32_t j = 0; j < i; j++) {
      if (e->split != entry[j].split) audit_pair(&entry[j], e, out);
    }
  }
  audit_kinds(entry, n, kinds, out);
}

void split_audit_manifest(const manifest *m, const kind_table *kinds, split_audit *out) {
  *out = (split_audit){0};
  audit_entries(m->entry, m->n, kinds, out);
}

static bool same_kind(const object_kind *a, const object_kind *b) {
  return strcmp(a->singular, b->singular) == 0 && strcmp(a->plural, b->plural) == 0 &&
         strcmp(a->article, b->article) == 0 && a->held_out == b->held_out;
}

static bool same_entry(const manifest_entry *a, const manifest_entry *b) {
  return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->split == b->split && a->colour == b->colour &&
         a->width == b->width && a->height == b->height && a->content == b->content && a->look.rows == b->look.rows &&
         a->look.columns == b->look.columns;
}

status split_audit_pack(const object_set *set, const manifest *m, const kind_table *kinds, split_audit *out) {
  *out = (split_audit){0};
  if (object_kinds(set) != kinds->n || object_pictures(set) != m->n) {
    return fail(STATUS_FORMAT,
                "the pack has %u kinds and %u pictures, the tables have %u and %u: they do not belong "
                "together; make the pack again with scripts/data",
                object_kinds(set), object_pictures(set), kinds->n, m->n);
  }
  for (uint32_t k = 0; k < kinds->n; k++) {
    if (!same_kind(object_kind_at(set, k), &kinds->kind[k])) {
      return fail(STATUS_FORMAT,
                  "kind %u is '%s' in the pack and '%s' in the table of kinds; make the pack again with "
                  "scripts/data",
                  k, object_kind_at(set, k)->singular, kinds->kind[k].singular);
    }
  }
  manifest_entry *entry = mem_alloc(m->n, sizeof *entry);
  if (entry == NULL) return last_status();
  for (uint32_t i = 0; i < m->n; i++) {
    const object_picture *p = object_picture_at(set, i);
    entry[i] = (manifest_entry){.name = p->name,
                                .author = m->entry[i].author,
                                .kind = p->kind,
                                .split = p->split,
                                .width = p->width,
                                .height = p->height,
                                .colour = (uint8_t)colour_of_picture(p->rgba, (size_t)p->width * p->height),
                                .content = content_hash(p->rgba, p->width, p->height),
                                .look = look_hash_of(p->rgba, p->width, p->height)};
    if (p->colour != entry[i].colour || !same_entry(&entry[i], &m->entry[i])) {
      violation(out, &out->mismatches, "picture %u (%s) is not as the manifest says", i, p->name);
    }
  }
  audit_entries(entry, m->n, kinds, out);
  free(entry);
  return STATUS_OK;
}

uint32_t split_audit_violations(const split_audit *a) {
  return a->copies + a->near_copies + a->siblings + a->held_out_seen + a->kinds_untrained + a->wrong_flags +
         a->mismatches;
}
