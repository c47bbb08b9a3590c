/* Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit. */
#include "rule.h"
#include "support.h"
#include <stdlib.h>

static double min_margin;

bool exports_ranker_configure(creamery_string_t *params, creamery_string_t *err) {
  bool ok = creamery_number(params, "min-margin", &min_margin);
  creamery_string_free(params);
  if (!ok) creamery_string_dup(err, "parameter 'min-margin': it is not there, or no number of at most 15 digits");
  return ok;
}

bool exports_ranker_rank(exports_ranker_rank_context_t *context, exports_ranker_groups_t *groups,
                         exports_ranker_scores_t *scores, exports_ranker_ranking_t *ret, creamery_string_t *err) {
  size_t total = groups->responses.len, count = groups->ids.len, n = scores->scores.len;
  const uint32_t *offsets = groups->response_offsets.ptr;
  score *known = creamery_new(score, n);
  for (size_t i = 0; i < n; i++) {
    bool value = scores->scores.ptr[i].tag == CREAMERY_SCORE_VALUE;
    known[i] = (score){value, value ? scores->scores.ptr[i].val.value : 0};
  }
  ret->ranks.len = n;
  ret->ranks.ptr = creamery_new(uint32_t, n);
  for (size_t v = 0; v < scores->viewpoints.len; v++)
    for (size_t g = 0; g < count; g++)
      for (size_t first = v * total + offsets[g], size = offsets[g + 1] - offsets[g], i = 0; i < size; i++)
        ret->ranks.ptr[first + i] = rank_of(known + first, size, i);
  ret->pairs.len = ret->dropped.len = 0;
  ret->pairs.ptr = creamery_new(creamery_pair_t, count);
  ret->dropped.ptr = creamery_new(creamery_dropped_t, count);
  for (uint32_t g = 0; g < count; g++) {
    size_t best = 0, worst = 0;
    /* Viewpoint 0 is the current model. */
    const char *reason = pick(known + offsets[g], offsets[g + 1] - offsets[g], min_margin, &best, &worst);
    if (reason) {
      creamery_dropped_t *dropped = &ret->dropped.ptr[ret->dropped.len++];
      dropped->index = g;
      creamery_string_dup(&dropped->reason, reason);
    } else {
      ret->pairs.ptr[ret->pairs.len++] =
          (creamery_pair_t){.group = g, .chosen = offsets[g] + best, .rejected = offsets[g] + worst, .weight = 1};
    }
  }
  /* An empty list has no memory. */
  if (ret->pairs.len == 0) free(ret->pairs.ptr);
  if (ret->dropped.len == 0) free(ret->dropped.ptr);
  if (ret->ranks.len == 0) free(ret->ranks.ptr);
  free(known);
  exports_ranker_groups_free(groups); /* Arguments belong to the callee. */
  exports_ranker_scores_free(scores);
  return true;
}
