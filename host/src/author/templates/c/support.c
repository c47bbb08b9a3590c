/* Memory, a few functions of the C library, and parameters, so that no C library is needed. */
#include "support.h"
#include <stdlib.h>
#include <string.h>

/* Memory comes in sizes of powers of two, each with a list of free blocks. A header keeps the size. */
typedef struct block { uint32_t bits, unused; struct block *next; } block;
enum { HEADER = offsetof(block, next), SMALLEST = 5, PAGE = 65536 };
extern uint8_t __heap_base;
static uintptr_t fresh, end;
static block *unused[32];

void *malloc(size_t size) {
  if (size > (1u << 30)) return NULL;
  uint32_t bits = SMALLEST;
  while (((size_t)1 << bits) < size + HEADER) bits++;
  block *b = unused[bits];
  if (b) {
    unused[bits] = b->next;
  } else {
    if (!fresh) {
      fresh = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
      end = __builtin_wasm_memory_size(0) * PAGE;
    }
    size_t need = (size_t)1 << bits;
    if (end - fresh < need) {
      size_t pages = (need - (end - fresh) + PAGE - 1) / PAGE;
      if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return NULL;
      end += pages * PAGE;
    }
    b = (block *)fresh;
    fresh += need;
    b->bits = bits;
  }
  return (uint8_t *)b + HEADER;
}

void free(void *memory) {
  if (!memory) return;
  block *b = (block *)((uint8_t *)memory - HEADER);
  b->next = unused[b->bits];
  unused[b->bits] = b;
}

void *realloc(void *old, size_t size) {
  size_t room = old ? ((size_t)1 << ((block *)((uint8_t *)old - HEADER))->bits) - HEADER : 0;
  if (old && size <= room) return old;
  void *moved = malloc(size);
  if (moved && old) {
    memcpy(moved, old, room);
    free(old);
  }
  return moved;
}

void *creamery_room(size_t count, size_t size) {
  if (count > (1u << 30) / size) abort();
  void *memory = malloc(count * size);
  if (!memory) abort();
  return memory;
}

_Noreturn void abort(void) { __builtin_trap(); }

void *memcpy(void *to, const void *from, size_t size) { return __builtin_memcpy(to, from, size); }
void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }

int memcmp(const void *a, const void *b, size_t size) {
  const uint8_t *x = a, *y = b;
  for (size_t i = 0; i < size; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

size_t strlen(const char *text) {
  size_t n = 0;
  while (((const volatile char *)text)[n]) n++; /* volatile: the loop is not made into a call of strlen */
  return n;
}

/* The bindings ask for an object with the component's type, which the linker takes from wit/ instead. */
void __component_type_object_force_link_creamery(void) {}

/* The host writes the parameters without spaces, so the name with its quotes and colon is found as it stands. */
bool creamery_number(const creamery_string_t *params, const char *name, double *value) {
  size_t n = strlen(name);
  const uint8_t *p = params->ptr, *stop = params->ptr + params->len;
  for (; p + n + 3 < stop; p++) {
    if ((p[0] != '{' && p[0] != ',') || p[1] != '"' || memcmp(p + 2, name, n) || p[n + 2] != '"' || p[n + 3] != ':') continue;
    p += n + 4;
    bool negative = p < stop && *p == '-';
    p += negative;
    uint64_t digits = 0;
    int exponent = 0, seen = 0;
    for (bool point = false; p < stop && ((*p >= '0' && *p <= '9') || (*p == '.' && !point)); p++) {
      if (*p == '.') {
        point = true;
        continue;
      }
      digits = digits * 10 + (*p - '0');
      exponent -= point;
      if (++seen > 19) return false;
    }
    if (!seen) return false;
    if (p < stop && (*p == 'e' || *p == 'E')) {
      int given = 0;
      bool below = ++p < stop && *p == '-';
      if (p < stop && (*p == '-' || *p == '+')) p++;
      for (; p < stop && *p >= '0' && *p <= '9' && given < 1000; p++) given = given * 10 + (*p - '0');
      exponent += below ? -given : given;
    }
    /* Exact: one rounding of two numbers that a double holds. */
    if (digits >> 53 || exponent < -22 || exponent > 22) return false;
    double ten = 1;
    for (int i = 0; i < (exponent < 0 ? -exponent : exponent); i++) ten *= 10;
    *value = exponent < 0 ? (double)digits / ten : (double)digits * ten;
    if (negative) *value = -*value;
    return true;
  }
  return false;
}
