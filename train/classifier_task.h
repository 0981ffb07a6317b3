/* How a classifier of pictures does on labelled ones. */
#ifndef LINNET_TRAIN_CLASSIFIER_TASK_H
#define LINNET_TRAIN_CLASSIFIER_TASK_H

#include "train/clip_tasks.h"
#include "vision/image_classifier.h"

typedef struct {
  size_t pictures, skipped, classes;
  double loss; /* mean cross entropy, nats */
  class_scores scores;
} classifier_report;

/* Pictures first .. first+n-1 of a set that has the model's names. Those that cannot be read are left out. */
status classifier_task(const image_classifier *m, const labelled *set, size_t first, size_t n,
                       const task_options *options, classifier_report *report);

#endif
