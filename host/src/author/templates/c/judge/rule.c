#include "rule.h"

const char *score(double total, uint32_t tokens, double length_penalty, double *result) {
  if (tokens == 0) return "the response has no tokens";
  if (total - total != 0) return "the log-probability is not finite";
  *result = total / tokens - length_penalty * tokens;
  return 0;
}
