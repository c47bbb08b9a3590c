/* The rule, in plain C: nothing here knows of Creamery, so it is tested with any compiler. */
#pragma once
#include <stdint.h>

/* The mean log-probability of a token, less the penalty for the length. NULL, or the reason why there is no score. */
const char *score(double total, uint32_t tokens, double length_penalty, double *result);
