/* cc test_rule.c rule.c -lm -o test_rule && ./test_rule */
#undef NDEBUG
#include "rule.h"
#include <assert.h>

int main(void) {
  /* One of ten pairs is discordant. */
  score a[] = {{true, 5}, {true, 4}, {true, 3}, {true, 2}, {true, 1}};
  score b[] = {{true, 4}, {true, 5}, {true, 3}, {true, 2}, {true, 1}};
  double t;
  assert(tau(a, b, 5, &t) && t == 0.8);
  assert(consistency(a, b, 5, 0) == 0.9);
  assert(consistency(a, b, 2, 0.25) == 0.25);
  score same[] = {{true, 5}, {true, 5}};
  assert(!tau(a, same, 2, &t) && !tau(a, b, 0, &t));
  b[0].known = false;
  assert(consistency(a, b, 2, 0) == 0.5);
  return 0;
}
