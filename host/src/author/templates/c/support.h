/* What every plugin in C needs beside the bindings. You need not change this file. */
#pragma once
#include "creamery.h"

/* Room for n elements of a type, never NULL: where there is none, the call ends with the host's error. */
#define creamery_new(type, n) ((type *)creamery_room((n), sizeof(type)))
void *creamery_room(size_t count, size_t size);

/* A parameter that is a number, from the JSON object that `configure` gets. False where it is not there as such a number,
   or is one that this short function cannot read exactly. */
bool creamery_number(const creamery_string_t *params, const char *name, double *value);
