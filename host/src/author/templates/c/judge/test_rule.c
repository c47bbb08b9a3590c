/* cc test_rule.c rule.c -o test_rule && ./test_rule */
#undef NDEBUG
#include "rule.h"
#include <assert.h>
#include <math.h>
#include <string.h>

int main(void) {
  double result;
  assert(!score(-6, 4, 0, &result) && result == -1.5);
  assert(!score(-6, 4, 0.25, &result) && result == -2.5);
  assert(!strcmp(score(0, 0, 0, &result), "the response has no tokens"));
  assert(!strcmp(score(-INFINITY, 4, 0, &result), "the log-probability is not finite"));
  return 0;
}
