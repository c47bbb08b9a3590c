/* cc test_rule.c rule.c -o test_rule && ./test_rule */
#undef NDEBUG
#include "rule.h"
#include <assert.h>
#include <string.h>

int main(void) {
  score five[] = {{true, 0.3}, {true, 1.2}, {false, 0}, {true, 1.2}, {true, -0.5}};
  uint32_t expected[] = {3, 1, 0, 1, 4};
  for (size_t i = 0; i < 5; i++) assert(rank_of(five, 5, i) == expected[i]);
  size_t best, worst;
  assert(!pick(five, 5, 0, &best, &worst) && best == 1 && worst == 4);
  assert(!strcmp(pick(five + 1, 2, 0, &best, &worst), "fewer than two scored responses"));
  score two[] = {{true, 1}, {true, 1}};
  assert(!strcmp(pick(two, 2, 0, &best, &worst), "all scores tie"));
  two[1].value = 1.5;
  assert(!strcmp(pick(two, 2, 1, &best, &worst), "the margin is below min-margin"));
  return 0;
}
