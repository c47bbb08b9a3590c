/* The rule, in plain C: nothing here knows of Creamery, so it is tested with any compiler. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A score; `known` is false where the judge abstained. */
typedef struct { bool known; double value; } score;

/* The rank of score i of n, from 1, the best; equal scores share the smaller rank; 0 where there is no score. */
uint32_t rank_of(const score *scores, size_t n, size_t i);

/* Finds the best and the worst of n scores, the first ones among equals. NULL, or the reason why there is no pair. */
const char *pick(const score *scores, size_t n, double min_margin, size_t *best, size_t *worst);
