/* Vision-RWKV-6: the recurrence from both ends. Groups of tensors "GROUP.r" and so on. Spec vision-rwkv. */
#include <stdio.h>
#include <string.h>

#include "tests/golden/runner.h"
#include "tests/support/gradcheck.h"

static const golden_rule rules[] = {
    {"io/*.[rkvwu]", GIVEN, 0, 0, NULL}, {"io/*.gy", GIVEN, 0, 0, NULL},
    {"io/*.y", CLOSE, 1e-3, 0, NULL},    {"io/*.g[rkvwu]", L2, 1e-4, 1e-7, NULL}, /* the decay's is zero at both ends */
    {NULL, GIVEN, 0, 0, NULL},
};

static void run_group(golden_case *k, const char *group) {
  static const char *const names[] = {"r", "k", "v", "w", "u", "gy"};
  ctx *c = golden_ctx(k);
  tensor *in[6];
  bool ok = true;
  for (int i = 0; i < 6; i++) {
    char key[256];
    snprintf(key, sizeof key, "%s%s", group, names[i]);
    in[i] = golden_tensor(k, key);
    if (in[i]) in[i]->needs_grad = i < 5;
    ok = ok && in[i] && in[i]->n_dims == (i == 4 ? 2 : 3);
    ok = ok && (i == 4 ? tensor_count(in[4]) == in[0]->dim[2] : tensor_count(in[i]) == tensor_count(in[0]));
  }
  if (!ok) {
    golden_check(k, false, "%s: the inputs of the recurrence do not fit together", group);
    return;
  }
  c->recording = true;
  tensor *y = wkv6(c, in[0], in[1], in[2], in[3], in[4], NULL,
                   &(wkv6_opt){.heads = (int)in[4]->dim[0], .direction = WKV_BOTH}, NULL);
  golden_offer_tensor(k, y, "%sy", group);
  if (backward(c, weighted_sum(c, y, f32(in[5])))) golden_error(k);
  c->recording = false;
  for (int i = 0; i < 5; i++) golden_offer_tensor(k, in[i]->grad, "%sg%s", group, names[i]);
  ctx_reset(c);
}

static void run(golden_case *k) {
  if (golden_has_file(k, "model.pth")) {
    golden_refuse(k, "the models of Vision-RWKV-6 are not built yet");
    return;
  }
  golden_rules(k, rules);
  for (size_t i = 0; golden_key(k, i); i++) {
    const char *key = golden_key(k, i);
    char group[200];
    size_t n = strlen(key);
    if (n < 4 || n >= sizeof group || strcmp(key + n - 3, ".gy")) continue;
    snprintf(group, sizeof group, "%.*s", (int)(n - 2), key);
    run_group(k, group);
  }
}

const golden_system golden_vrwkv6 = {"vrwkv6", run};
