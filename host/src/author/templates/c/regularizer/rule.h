/* The rule, in plain C: nothing here knows of Creamery, so it is tested with any compiler. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* A score; `known` is false where the judge abstained. */
typedef struct { bool known; double value; } score;

/* Kendall's tau-b over the responses that both lists score. False where it is undefined: all of them tie in a list. */
bool tau(const score *a, const score *b, size_t n, double *result);

/* C of a group of n responses, from the scores of two viewpoints. 0.5 where their agreement is undefined. */
double consistency(const score *current, const score *previous, size_t n, double lowest);
