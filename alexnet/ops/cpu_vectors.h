// Vectors of as many floats as this processor takes at a time, and reading and writing them: n values, fewer than N at the end of
// the channels. In memory they are float32 or bfloat16, in use always float32.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512F__)
constexpr int N = 16;  // floats in a vector
#elif defined(__AVX__)
constexpr int N = 8;
#else
constexpr int N = 4;
#endif
typedef float V __attribute__((vector_size(4 * N)));
typedef int32_t I __attribute__((vector_size(4 * N)));
typedef uint32_t U __attribute__((vector_size(4 * N)));
typedef uint16_t Half __attribute__((vector_size(2 * N)));
typedef uint8_t Byte __attribute__((vector_size(N)));
struct bfloat16 { uint16_t bits; };

static inline V same(float value) { return V{} + value; }
static inline V at_least(V v, V low) { return v < low ? low : v; }  // a NaN stays one
static inline V ground(int64_t relu) { return same(relu ? 0.0f : -INFINITY); }

template <class T> static inline T take(const void *from, int n, int bytes) {
    if (n >= N) {
        T v;
        std::memcpy(&v, from, sizeof v);
        return v;
    }
    T part{};
    std::memcpy(&part, from, n * bytes);
    return part;
}
template <class T> static inline void put(void *to, T v, int n, int bytes) {
    if (n >= N) std::memcpy(to, &v, sizeof v);
    else std::memcpy(to, &v, n * bytes);
}
static inline V load(const float *from, int n = N) { return take<V>(from, n, 4); }
static inline V load(const bfloat16 *from, int n = N) { return (V)(__builtin_convertvector(take<Half>(from, n, 2), U) << 16); }
static inline void store(float *to, V v, int n = N) { put(to, v, n, 4); }
static inline void store(bfloat16 *to, V v, int n = N) {  // to the nearest, halves to even
    U bits = (U)v;
    put(to, __builtin_convertvector((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16, Half), n, 2);
}
