/*
 * Object map kernels as C would have them, with AVX2 by hand: what bitmap.bench.ts measures ours against. The same packing,
 * algorithms and output as assembly/bitmap.ts and bitmap-runs.ts.
 *
 *   bitmap KERNEL OBJECTS MILLISECONDS FROM [TO]
 *
 * FROM and TO are files with packed states. Prints the best time of one call in nanoseconds, and the call's result.
 */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOW 0x5555555555555555ull
#define BLOCK 64
#define BLOCK_OBJECTS 256
#define SLACK 264

static __m256i load(const uint8_t *p) { return _mm256_load_si256((const __m256i *)p); }
static __m256i splat(uint8_t byte) { return _mm256_set1_epi8((char)byte); }
static uint64_t word_at(const uint8_t *p) {
  uint64_t word;
  memcpy(&word, p, 8);
  return word;
}

/* ---- count: lanes of 2 bits added three by three, then 4, then 8 ---- */

static uint64_t sum(__m256i bytes) {
  __m256i words = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
  return (uint64_t)_mm256_extract_epi64(words, 0) + (uint64_t)_mm256_extract_epi64(words, 1) +
         (uint64_t)_mm256_extract_epi64(words, 2) + (uint64_t)_mm256_extract_epi64(words, 3);
}

static inline __m256i widen(__m256i lanes, int bits, __m256i mask) {
  return _mm256_add_epi8(_mm256_and_si256(lanes, mask),
                         _mm256_and_si256(_mm256_srli_epi64(lanes, bits), mask));
}

static inline void three(const uint8_t *p, __m256i *low, __m256i *high, __m256i *both) {
  const __m256i m1 = splat(0x55);
  __m256i a = load(p), b = load(p + 32), c = load(p + 64);
  __m256i a1 = _mm256_srli_epi64(a, 1), b1 = _mm256_srli_epi64(b, 1), c1 = _mm256_srli_epi64(c, 1);
  a = _mm256_and_si256(a, m1), b = _mm256_and_si256(b, m1), c = _mm256_and_si256(c, m1);
  *low = _mm256_add_epi8(_mm256_add_epi8(a, b), c);
  *both = _mm256_add_epi8(_mm256_add_epi8(_mm256_and_si256(a, a1), _mm256_and_si256(b, b1)),
                          _mm256_and_si256(c, c1));
  *high = _mm256_add_epi8(_mm256_add_epi8(_mm256_and_si256(a1, m1), _mm256_and_si256(b1, m1)),
                          _mm256_and_si256(c1, m1));
}

static uint64_t count(const uint8_t *map, uint32_t objects, uint64_t counts[4]) {
  const __m256i m2 = splat(0x33), m4 = splat(0x0f), zero = _mm256_setzero_si256();
  const uint8_t *p = map, *end = map + objects / 4;
  uint64_t low = 0, high = 0, both = 0;
  while (p + 192 <= end) {
    __m256i low8 = zero, high8 = zero, both8 = zero;
    for (int i = 0; i < 10 && p + 192 <= end; i++, p += 192) {
      __m256i l, h, z, l2, h2, z2;
      three(p, &l, &h, &z);
      three(p + 96, &l2, &h2, &z2);
      low8 = _mm256_add_epi8(low8, widen(_mm256_add_epi8(widen(l, 2, m2), widen(l2, 2, m2)), 4, m4));
      high8 = _mm256_add_epi8(high8, widen(_mm256_add_epi8(widen(h, 2, m2), widen(h2, 2, m2)), 4, m4));
      both8 = _mm256_add_epi8(both8, widen(_mm256_add_epi8(widen(z, 2, m2), widen(z2, 2, m2)), 4, m4));
    }
    low += sum(low8), high += sum(high8), both += sum(both8);
  }
  for (; p < end; p += 8) {
    uint64_t word = word_at(p);
    low += __builtin_popcountll(word & LOW);
    high += __builtin_popcountll(word & ~LOW);
    both += __builtin_popcountll(word & (word >> 1) & LOW);
  }
  counts[0] = objects - (low + high - both);
  counts[1] = low - both, counts[2] = high - both, counts[3] = both;
  return counts[0] + 3 * counts[1] + 5 * counts[2] + 7 * counts[3];
}

/* ---- next: the first that is not NONEXISTENT ---- */

static int64_t next(const uint8_t *map, uint32_t objects) {
  const uint8_t *p = map, *end = map + objects / 4;
  for (; p + 128 <= end; p += 128) {
    __m256i any = _mm256_or_si256(_mm256_or_si256(load(p), load(p + 32)),
                                  _mm256_or_si256(load(p + 64), load(p + 96)));
    if (!_mm256_testz_si256(any, any)) break;
  }
  for (; p < end; p += 8) {
    uint64_t word = __builtin_bswap64(word_at(p));
    if (word) return (p - map) * 4 + (__builtin_clzll((word | word >> 1) & LOW) >> 1);
  }
  return -1;
}

/* ---- diff: objects << 2 | class, where the class changes ---- */

static uint8_t compress[86][16];

static void fill_compress(void) {
  for (int flags = 0; flags < 86; flags++) {
    int to = 0;
    for (int object = 0; object < 4; object++) {
      if (!(flags >> (6 - 2 * object) & 1)) continue;
      for (int byte = 0; byte < 4; byte++) compress[flags][to++] = (uint8_t)(4 * object + byte);
    }
  }
}

static uint32_t *emit(const uint8_t classes_of_block[BLOCK], uint32_t position, uint32_t before,
                      uint32_t *out) {
  for (int at = 0; at < BLOCK; at += 8) {
    uint64_t classes = __builtin_bswap64(word_at(classes_of_block + at));
    uint64_t differs = classes ^ (classes >> 2 | (uint64_t)before << 62);
    uint64_t flags = (differs | differs >> 1) & LOW;
    if (flags && __builtin_popcountll(flags) < 7) {
      do {
        int bit = __builtin_clzll(flags) - 1;
        *out++ = (position + (bit >> 1)) << 2 | (classes >> (62 - bit) & 3);
        flags ^= 1ull << (62 - bit);
      } while (flags);
    } else if (flags) {
      __m128i entries = _mm_add_epi32(_mm_set1_epi32((int)(position << 2)), _mm_setr_epi32(0, 4, 8, 12));
      for (int shift = 56; shift >= 0; shift -= 8) {
        uint32_t group = flags >> shift & 0x55, lanes = classes >> shift & 0xff;
        __m128i spread = _mm_srlv_epi32(_mm_set1_epi32((int)lanes), _mm_setr_epi32(6, 4, 2, 0));
        __m128i both = _mm_or_si128(entries, _mm_and_si128(spread, _mm_set1_epi32(3)));
        __m128i front = _mm_loadu_si128((const __m128i *)compress[group]);
        _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(both, front));
        out += __builtin_popcount(group);
        entries = _mm_add_epi32(entries, _mm_set1_epi32(16));
      }
    }
    before = classes & 3;
    position += 32;
  }
  return out;
}

static inline __m256i changes(__m256i from, __m256i to) {
  __m256i dirty = _mm256_xor_si256(to, _mm256_srli_epi64(to, 1));
  __m256i appeared = _mm256_or_si256(_mm256_xor_si256(to, from),
                                     _mm256_andnot_si256(to, _mm256_srli_epi64(from, 1)));
  return _mm256_or_si256(dirty, appeared);
}

static inline __m256i classes_of(__m256i changed, __m256i to) {
  __m256i exists = _mm256_or_si256(to, _mm256_srli_epi64(to, 1));
  return _mm256_or_si256(_mm256_slli_epi64(changed, 1), _mm256_and_si256(changed, exists));
}

/* How many objects are surely not in the diff, from a position on. */
static uint32_t same(const uint8_t *f, const uint8_t *t, uint32_t objects) {
  const __m256i lanes = splat(0x55);
  const uint8_t *first = t, *last = t + objects / 4;
  for (; t + 128 <= last; t += 128, f += 128) {
    __m256i low = _mm256_setzero_si256(), both = low;
    for (int i = 0; i < 128; i += 32) {
      __m256i to = load(t + i), from = load(f + i);
      low = _mm256_or_si256(low, _mm256_or_si256(_mm256_xor_si256(to, _mm256_srli_epi64(to, 1)),
                                                 _mm256_xor_si256(to, from)));
      both = _mm256_or_si256(both, _mm256_andnot_si256(to, from));
    }
    __m256i any = _mm256_or_si256(_mm256_and_si256(low, lanes), both);
    if (!_mm256_testz_si256(any, any)) break;
  }
  return (uint32_t)(t - first) * 4;
}

static uint32_t *diff(const uint8_t *from, const uint8_t *to, uint32_t *position, uint32_t objects,
                      uint32_t *before, uint32_t *out, uint32_t *full) {
  const __m256i lanes = splat(0x55);
  __m256i carry = splat((uint8_t)(*before * 0x55));
  uint8_t block[BLOCK] __attribute__((aligned(64)));
  for (; *position < objects; *position += BLOCK_OBJECTS) {
    if (!*before) {
      *position += same(from + *position / 4, to + *position / 4, objects - *position);
      if (*position >= objects) break;
    }
    const uint8_t *f = from + *position / 4, *t = to + *position / 4;
    __m256i ta = load(t), tb = load(t + 32);
    __m256i ca = changes(load(f), ta), cb = changes(load(f + 32), tb);
    if (!*before && _mm256_testz_si256(_mm256_or_si256(ca, cb), lanes)) continue;
    if (out > full) break;
    __m256i a = classes_of(_mm256_and_si256(ca, lanes), ta);
    __m256i b = classes_of(_mm256_and_si256(cb, lanes), tb);
    __m256i differs = _mm256_or_si256(_mm256_xor_si256(a, carry), _mm256_xor_si256(b, carry));
    if (_mm256_testz_si256(differs, differs)) continue;
    _mm256_store_si256((__m256i *)block, a);
    _mm256_store_si256((__m256i *)(block + 32), b);
    out = emit(block, *position, *before, out);
    *before = block[BLOCK - 1] & 3;
    carry = splat((uint8_t)(*before * 0x55));
  }
  return out;
}

static uint64_t whole_diff(const uint8_t *from, const uint8_t *to, uint32_t objects, uint32_t *out,
                           uint32_t capacity) {
  uint32_t position = 0, before = 0;
  uint64_t entries = 0;
  while (position < objects) {
    entries += (uint64_t)(diff(from, to, &position, objects, &before, out, out + capacity - SLACK) - out);
  }
  return entries + (before != 0);
}

/* ---- zeros ---- */

static int is_zero(const uint8_t *p, size_t length) {
  const uint8_t *end = p + length;
  for (; p + 128 <= end; p += 128) {
    __m256i any = _mm256_or_si256(_mm256_or_si256(load(p), load(p + 32)),
                                  _mm256_or_si256(load(p + 64), load(p + 96)));
    if (!_mm256_testz_si256(any, any)) return 0;
  }
  for (; p < end; p++) if (*p) return 0;
  return 1;
}

static uint64_t data_blocks(const uint8_t *bytes, size_t length) {
  uint64_t boundaries = 0;
  int was_data = 0;
  for (size_t at = 0; at < length; at += 4096) {
    int is_data = !is_zero(bytes + at, length - at < 4096 ? length - at : 4096);
    boundaries += is_data != was_data;
    was_data = is_data;
  }
  return boundaries + was_data;
}

/* ---- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint8_t *read_map(const char *path, size_t bytes) {
  size_t room = (bytes + 4095) / 4096 * 4096 + 4096;
  uint8_t *map = aligned_alloc(4096, room);
  FILE *file = fopen(path, "rb");
  if (!map || !file) exit(1);
  memset(map, 0, room);
  if (fread(map, 1, bytes, file) != bytes) exit(1);
  fclose(file);
  return map;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  const char *kernel = argv[1];
  uint32_t objects = (uint32_t)strtoul(argv[2], NULL, 10);
  uint64_t budget = strtoull(argv[3], NULL, 10) * 1000000ull;
  size_t bytes = ((size_t)objects + 3) / 4;
  uint8_t *from = read_map(argv[4], bytes);
  uint8_t *to = argc > 5 ? read_map(argv[5], bytes) : NULL;
  uint8_t *copy = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  static uint32_t out[16384];
  uint64_t counts[4];
  fill_compress();
  memset(copy, 1, bytes);

  uint64_t best = UINT64_MAX, result = 0, begin = now_ns();
  do {
    uint64_t start = now_ns();
    if (!strcmp(kernel, "count")) result = count(from, objects, counts);
    else if (!strcmp(kernel, "next")) result = (uint64_t)next(from, objects);
    else if (!strcmp(kernel, "diff") && to) result = whole_diff(from, to, objects, out, 16384);
    else if (!strcmp(kernel, "zero")) result = data_blocks(from, bytes);
    else if (!strcmp(kernel, "copy")) memcpy(copy, from, bytes), result = copy[bytes / 2];
    else return 2;
    uint64_t took = now_ns() - start;
    if (took < best) best = took;
  } while (now_ns() - begin < budget);
  printf("%llu %llu\n", (unsigned long long)best, (unsigned long long)result);
  return 0;
}
