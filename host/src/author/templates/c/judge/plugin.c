/* Between Creamery and the rule. The types are those of wit/deps/creamery-plugin/plugin.wit. */
#include "rule.h"
#include "support.h"
#include <stdlib.h>

static double length_penalty;

bool exports_judge_configure(creamery_string_t *params, creamery_string_t *err) {
  bool ok = creamery_number(params, "length-penalty", &length_penalty);
  creamery_string_free(params);
  if (!ok) creamery_string_dup(err, "parameter 'length-penalty': it is not there, or no number of at most 15 digits");
  return ok;
}

/* Asks the model that judges for the log-probabilities of all responses. */
static void ask(size_t count, exports_judge_next_step_t *ret) {
  exports_judge_query_t *query = creamery_new(exports_judge_query_t, 1);
  query->tag = EXPORTS_JUDGE_QUERY_RESPONSE_LOGPS;
  creamery_string_dup(&query->val.response_logps.slot, "judge");
  uint32_t *responses = creamery_new(uint32_t, count);
  for (uint32_t i = 0; i < count; i++) responses[i] = i;
  query->val.response_logps.responses.ptr = responses;
  query->val.response_logps.responses.len = count;
  ret->tag = EXPORTS_JUDGE_NEXT_STEP_ASK;
  ret->val.ask.ptr = query;
  ret->val.ask.len = 1;
}

static creamery_score_t abstain(const char *reason, size_t length) {
  creamery_score_t score = {.tag = CREAMERY_SCORE_ABSTAIN};
  creamery_string_dup_n(&score.val.abstain, reason, length);
  return score;
}

bool exports_judge_step(exports_judge_judge_context_t *context, exports_judge_groups_t *groups,
                        exports_judge_list_list_answer_t *answers, exports_judge_next_step_t *ret,
                        creamery_string_t *err) {
  size_t count = groups->responses.len;
  bool ok = true;
  if (answers->len == 0) {
    ask(count, ret);
  } else {
    exports_judge_answer_t *answer = &answers->ptr[0].ptr[0];
    creamery_score_t *scores = creamery_new(creamery_score_t, count);
    ok = answer->tag == EXPORTS_JUDGE_ANSWER_FAILED ||
         (answer->tag == EXPORTS_JUDGE_ANSWER_LOGPS && answer->val.logps.len == count);
    for (size_t i = 0; ok && i < count; i++) {
      if (answer->tag == EXPORTS_JUDGE_ANSWER_FAILED) {
        scores[i] = abstain((const char *)answer->val.failed.ptr, answer->val.failed.len);
        continue;
      }
      exports_judge_logp_t *logp = &answer->val.logps.ptr[i];
      scores[i].tag = CREAMERY_SCORE_VALUE;
      const char *reason = score(logp->sum, logp->tokens, length_penalty, &scores[i].val.value);
      if (reason) scores[i] = abstain(reason, __builtin_strlen(reason));
    }
    ret->tag = EXPORTS_JUDGE_NEXT_STEP_SCORES;
    ret->val.scores.ptr = scores;
    ret->val.scores.len = count;
    if (!ok || count == 0) free(scores);
    if (!ok) creamery_string_dup(err, "expected a log-probability of each response");
  }
  exports_judge_judge_context_free(context); /* Arguments belong to the callee. */
  exports_judge_groups_free(groups);
  exports_judge_list_list_answer_free(answers);
  return ok;
}
