#include "rule.h"

uint32_t rank_of(const score *scores, size_t n, size_t i) {
  if (!scores[i].known) return 0;
  uint32_t rank = 1;
  for (size_t j = 0; j < n; j++) rank += scores[j].known && scores[j].value > scores[i].value;
  return rank;
}

const char *pick(const score *scores, size_t n, double min_margin, size_t *best, size_t *worst) {
  size_t known = 0;
  for (size_t i = 0; i < n; i++) {
    if (!scores[i].known) continue;
    if (known == 0 || scores[i].value > scores[*best].value) *best = i;
    if (known == 0 || scores[i].value < scores[*worst].value) *worst = i;
    known++;
  }
  if (known < 2) return "fewer than two scored responses";
  double margin = scores[*best].value - scores[*worst].value;
  if (scores[*best].value == scores[*worst].value) return "all scores tie";
  if (margin < min_margin) return "the margin is below min-margin";
  return NULL;
}
