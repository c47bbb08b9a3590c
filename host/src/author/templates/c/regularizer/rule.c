#include "rule.h"

static int sign(double x) { return (x > 0) - (x < 0); }

bool tau(const score *a, const score *b, size_t n, double *result) {
  double difference = 0, untied_a = 0, untied_b = 0;
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j < i; j++) {
      if (!a[i].known || !b[i].known || !a[j].known || !b[j].known) continue;
      int x = sign(a[i].value - a[j].value), y = sign(b[i].value - b[j].value);
      difference += x * y;
      untied_a += x != 0;
      untied_b += y != 0;
    }
  }
  double scale = __builtin_sqrt(untied_a * untied_b);
  if (!(scale > 0)) return false;
  double t = difference / scale;
  *result = t < -1 ? -1 : t > 1 ? 1 : t;
  return true;
}

double consistency(const score *current, const score *previous, size_t n, double lowest) {
  double t, c = tau(current, previous, n, &t) ? (t + 1) / 2 : 0.5;
  return c < lowest ? lowest : c;
}
