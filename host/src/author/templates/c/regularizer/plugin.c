/* Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit. */
#include "rule.h"
#include "support.h"
#include <stdlib.h>

static double lowest;

bool exports_regularizer_configure(creamery_string_t *params, creamery_string_t *err) {
  bool ok = creamery_number(params, "lowest", &lowest);
  creamery_string_free(params);
  if (!ok) creamery_string_dup(err, "parameter 'lowest': it is not there, or no number of at most 15 digits");
  return ok;
}

bool exports_regularizer_label(exports_regularizer_records_t *records, exports_regularizer_labels_t *ret,
                               creamery_string_t *err) {
  size_t n = records->pairs.len, total = records->groups.responses.len;
  bool ok = records->scores.viewpoints.len >= 2;
  if (!ok) {
    creamery_string_dup(err, "expected scores of two viewpoints, the current and the previous model");
  } else {
    score *known = creamery_new(score, 2 * total);
    for (size_t i = 0; i < 2 * total; i++) {
      creamery_score_t *given = &records->scores.scores.ptr[i];
      bool value = given->tag == CREAMERY_SCORE_VALUE;
      known[i] = (score){value, value ? given->val.value : 0};
    }
    double *c = creamery_new(double, n), *weights = creamery_new(double, n), sum = 0;
    for (size_t p = 0; p < n; p++) {
      uint32_t *offsets = records->groups.response_offsets.ptr + records->pairs.ptr[p].group;
      c[p] = consistency(known + offsets[0], known + total + offsets[0], offsets[1] - offsets[0], lowest);
      weights[p] = 1;
      sum += c[p];
    }
    ret->consistency.ptr = c, ret->consistency.len = n;
    ret->weights.ptr = weights, ret->weights.len = n;
    ret->dropped.ptr = NULL, ret->dropped.len = 0;
    ret->metrics.ptr = NULL, ret->metrics.len = 0;
    if (n > 0) {
      ret->metrics.ptr = creamery_new(creamery_metric_t, 1), ret->metrics.len = 1;
      creamery_string_dup(&ret->metrics.ptr[0].name, "consistency");
      ret->metrics.ptr[0].value = sum / n;
    } else { /* An empty list has no memory. */
      free(c);
      free(weights);
    }
    free(known);
  }
  exports_regularizer_records_free(records); /* Arguments belong to the callee. */
  return ok;
}

bool exports_regularizer_objective(exports_regularizer_objective_batch_t *batch,
                                   exports_regularizer_objective_value_t *ret, creamery_string_t *err) {
  /* "c-mix" among the features of plugin.toml: the host has this loss itself. For a loss of your own remove it there,
     and give back the loss of each pair and its derivatives by the two policy log-probabilities. */
  exports_regularizer_objective_batch_free(batch);
  creamery_string_dup(err, "the C-mix is computed by the host");
  return false;
}
