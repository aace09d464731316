// ReLU, response norm (paper 3.3), max pool (3.4) and ReLU of channels-last batches in one pass, and their gradient in one more;
// the norm within a map; the update rule of 2012. native.py compiles this once and calls it; ops/reference.py is the definition.
//
// A row of the map is normalised into a buffer that stays in the cache, and pooled from there. What the gradient needs again
// (squares, sums, powers) is worked out again: reading memory costs more. An output depends on no other, so neither the number
// of threads nor who does which rows changes a bit. Sums are in float32 whatever the batch is stored in.

#include "cpu_vectors.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

constexpr uint8_t NOWHERE = 255;  // the place of a maximum that the ReLU behind the pool holds back

struct Layer {  // as native.Layer
    int64_t pictures, height, width, channels, out_height, out_width;
    int64_t columns, size, kernel, stride, relu_before, relu_after, threads;  // size 0: no norm; kernel 1: no pool
    float alpha, beta, k;
};

constexpr int FEW = 8;  // pixels at a time: what is kept of them between steps stays in the first cache

static inline V rsqrt_guess(V d) {
#if defined(__AVX512F__)
    return (V)_mm512_rsqrt14_ps((__m512)d);
#elif defined(__AVX__)
    return (V)_mm256_rsqrt_ps((__m256)d);
#else
    V y = (V)(0x5F3759DF - ((I)d >> 1));
    y *= 1.5f - 0.5f * d * y * y;
    return y * (1.5f - 0.5f * d * y * y);
#endif
}

template <bool PAPER> static inline V power(V d, float beta) {  // d^-beta
    if (PAPER) {
        V root = rsqrt_guess(d), y = root * rsqrt_guess(d * root);  // to 11 bits
        V dy = d * y, off = 1.0f - (dy * dy) * (dy * y);             // 1 - d^3 y^4, and (1 - off)^(-1/4) in three terms
        return y + (y * off) * (0.25f + 0.15625f * off);
    }
    V y;
    for (int i = 0; i < N; i++) y[i] = std::pow(d[i], -beta);
    return y;
}

// ---- one row of pixels under the response norm ---------------------------------------------------------------------------

// PAPER: five neighbours and beta 0.75, known when this is compiled.
template <bool PAPER> struct Norm {
    const int columns, width, reach, span, pixel;  // a pixel in a buffer: its columns, each with zeros on both sides
    const float alpha, beta, k;
    const V low;
    Norm(const Layer &l)
        : columns(l.columns), width(l.channels / l.columns), reach(PAPER ? 2 : l.size / 2),
          span((width + N - 1) / N * N + 2 * reach), pixel(columns * span), alpha(l.alpha), beta(l.beta), k(l.k),
          low(ground(l.relu_before)) {}

    std::vector<float> buffer() const { return std::vector<float>(FEW * pixel + N); }

    template <class F> void each(int pixels, F f) const {  // f(channel of the row, place in a buffer, how many)
        for (int p = 0; p < pixels; p++)
            for (int g = 0; g < columns; g++) {
                int at = (p * columns + g) * width, place = p * pixel + g * span, c = 0;
                for (; c + N <= width; c += N) f(at + c, place + c, N);
                if (c < width) f(at + c, place + c, width - c);
            }
    }
    V sum(const float *buffer) const {
        if (PAPER) return (load(buffer) + load(buffer + 1)) + (load(buffer + 3) + load(buffer + 4)) + load(buffer + 2);
        V total = load(buffer);
        for (int i = 1; i <= 2 * reach; i++) total += load(buffer + i);
        return total;
    }

    template <class T> void row(const T *x, int count, float *squares, float *out) const {
        for (int first = 0; first < count; first += FEW) {
            int pixels = std::min(FEW, count - first);
            const T *from = x + first * columns * width;
            float *to = out + first * columns * width;
            each(pixels, [=](int at, int place, int n) {
                V v = at_least(load(from + at, n), low);
                store(squares + place + reach, v * v);
            });
            each(pixels, [=](int at, int place, int n) {
                V d = k + alpha * sum(squares + place);
                store(to + at, at_least(load(from + at, n), low) * power<PAPER>(d, beta), n);
            });
        }
    }

    // db_i/da_j = d_i^-beta [i = j] - 2 alpha beta a_i a_j d_i^(-beta - 1) [j near i]
    template <class T>
    void gradient(const T *x, const float *grad, int count, float *squares, float *through, float *direct, T *out) const {
        const float twice = 2 * alpha * beta;
        for (int first = 0; first < count; first += FEW) {
            int pixels = std::min(FEW, count - first), begin = first * columns * width;
            const T *from = x + begin;
            const float *sent = grad + begin;
            T *to = out + begin;
            each(pixels, [=](int at, int place, int n) {
                V v = at_least(load(from + at, n), low);
                store(squares + place + reach, v * v);
            });
            each(pixels, [=](int at, int place, int n) {
                V v = at_least(load(from + at, n), low), d = k + alpha * sum(squares + place);
                V scaled = power<PAPER>(d, beta) * load(sent + at, n);
                store(direct + place, scaled);
                store(through + place + reach, scaled * v / d);
            });
            each(pixels, [=](int at, int place, int n) {
                V v = load(from + at, n);
                V found = load(direct + place) - twice * at_least(v, low) * sum(through + place);
                store(to + at, v <= low ? V{} : found, n);
            });
        }
    }
};

// Without a norm: the ReLU alone, or nothing.
struct Plain {
    const int channels;
    const V low;
    Plain(const Layer &l) : Plain(l, l.relu_before) {}
    Plain(const Layer &l, int64_t relu) : channels(l.channels), low(ground(relu)) {}

    std::vector<float> buffer() const { return {}; }

    template <class T> void row(const T *x, int count, float *, float *out) const {
        for (int i = 0, n; i < count * channels; i += N) {
            n = std::min(N, count * channels - i);
            store(out + i, at_least(load(x + i, n), low), n);
        }
    }
    template <class T> void gradient(const T *x, const float *grad, int count, float *, float *, float *, T *out) const {
        for (int i = 0, n; i < count * channels; i += N) {
            n = std::min(N, count * channels - i);
            store(out + i, load(x + i, n) <= low ? V{} : load(grad + i, n), n);
        }
    }
};

// ---- the pool over normalised rows ---------------------------------------------------------------------------------------

// rows: the window's rows in use. places: which of the K x K was largest, for the gradient; may be null.
template <int K, class T> static void pool_row(const Layer &l, const float *const *rows, int down, T *out, uint8_t *places) {
    const int C = l.channels, kernel = K ? K : l.kernel;
    const bool relu = l.relu_after;
    for (int w = 0; w < l.out_width; w++) {
        int left = w * l.stride, across = std::min<int>(kernel, l.width - left);
        auto block = [=](int c, int n, int down, int across) {
            V best = load(rows[0] + left * C + c, n);
            I place{};
            for (int i = 0; i < down; i++)
                for (int j = i == 0; j < across; j++) {
                    V v = load(rows[i] + (left + j) * C + c, n);
                    I better = (v > best) | (v != v);
                    best = better ? v : best;
                    place = better ? I{} + (i * kernel + j) : place;
                }
            if (relu) {
                place |= (best <= V{}) & (int)NOWHERE;
                best = at_least(best, V{});
            }
            store(out + w * C + c, best, n);
            if (places) put(places + w * C + c, __builtin_convertvector(place, Byte), n, 1);
        };
        int c = 0;
        if (K && down == K && across == K)
            for (; c + N <= C; c += N) block(c, N, K, K);
        for (; c < C; c += N) block(c, std::min(N, C - c), down, across);
    }
}

// Adds to a row of the gradient what one row of windows sends back to it; down: which of the windows' rows it is.
template <int K, class T> static void unpool_row(const Layer &l, const T *grad, const uint8_t *places, int down, float *out) {
    const int C = l.channels, kernel = K ? K : l.kernel;
    for (int w = 0; w < l.out_width; w++) {
        int left = w * l.stride, across = std::min<int>(kernel, l.width - left);
        auto block = [=](int c, int n, int across) {
            V sent = load(grad + w * C + c, n);
            I place = __builtin_convertvector(take<Byte>(places + w * C + c, n, 1), I);
            for (int j = 0; j < across; j++) {
                float *to = out + (left + j) * C + c;
                store(to, load(to, n) + (place == down * kernel + j ? sent : V{}), n);
            }
        };
        int c = 0;
        if (K && across == K)
            for (; c + N <= C; c += N) block(c, N, K);
        for (; c < C; c += N) block(c, std::min(N, C - c), across);
    }
}

// Runs work(picture, first row, last row) over all pictures, in strips of rows where there are few.
template <class F> static void share_out(const Layer &l, int64_t rows, F work) {
    int64_t strips = l.pictures >= 4 * l.threads ? 1 : std::min<int64_t>(2 * l.threads, std::max<int64_t>(rows / 4, 1));
#pragma omp parallel for num_threads(l.threads) schedule(static)
    for (int64_t unit = 0; unit < l.pictures * strips; unit++) {
        int64_t picture = unit / strips, strip = unit % strips;
        work(picture, rows * strip / strips, rows * (strip + 1) / strips);
    }
}

template <int K, class Kind, class T> static void forward(const Layer &l, const T *x, T *out, uint8_t *places) {
    const int64_t row = l.width * l.channels, out_row = l.out_width * l.channels;
    const Kind kind(l);
    share_out(l, l.out_height, [&](int64_t picture, int64_t first, int64_t last) {
        std::vector<float> squares = kind.buffer(), kept(l.kernel * row);  // the last rows, in turn
        std::vector<const float *> rows(l.kernel);
        int64_t ready = 0;
        for (int64_t y = first; y < last; y++) {
            int64_t top = y * l.stride, bottom = std::min(top + l.kernel, l.height);
            for (ready = std::max(ready, top); ready < bottom; ready++)
                kind.row(x + (picture * l.height + ready) * row, l.width, squares.data(), kept.data() + ready % l.kernel * row);
            for (int64_t h = top; h < bottom; h++) rows[h - top] = kept.data() + h % l.kernel * row;
            int64_t at = (picture * l.out_height + y) * out_row;
            pool_row<K>(l, rows.data(), bottom - top, out + at, places ? places + at : nullptr);
        }
    });
}

template <int K, class Kind, class T>
static void backward(const Layer &l, const T *x, const T *grad, const uint8_t *places, T *out) {
    const int64_t row = l.width * l.channels, out_row = l.out_width * l.channels;
    const Kind kind(l);
    share_out(l, l.height, [&](int64_t picture, int64_t first, int64_t last) {
        std::vector<float> squares = kind.buffer(), through = kind.buffer(), direct = kind.buffer(), sent(row);
        for (int64_t h = first; h < last; h++) {
            std::fill(sent.begin(), sent.end(), 0.0f);
            int64_t y = std::max<int64_t>(0, h - l.kernel + l.stride) / l.stride;  // the first window that holds this row
            for (; y <= h / l.stride && y < l.out_height; y++) {
                int64_t at = (picture * l.out_height + y) * out_row;
                if (places) unpool_row<K>(l, grad + at, places + at, h - y * l.stride, sent.data());
                else Plain(l, 0).row(grad + at, l.width, nullptr, sent.data());  // no pool
            }
            int64_t at = (picture * l.height + h) * row;
            kind.gradient(x + at, sent.data(), l.width, squares.data(), through.data(), direct.data(), out + at);
        }
    });
}

template <class F> static void chosen(const Layer &l, F f) {  // f(kernel, kind) as types, for what is most common
    std::integral_constant<int, 3> three;
    std::integral_constant<int, 0> any;
    bool paper = l.size == 5 && l.beta == 0.75f;
    if (!l.size) l.kernel == 3 ? f(three, Plain(l)) : f(any, Plain(l));
    else if (paper) l.kernel == 3 ? f(three, Norm<true>(l)) : f(any, Norm<true>(l));
    else f(any, Norm<false>(l));
}

template <class T> static void forward(const Layer &l, const T *x, T *out, uint8_t *places) {
    chosen(l, [&](auto kernel, auto kind) { forward<kernel.value, decltype(kind)>(l, x, out, places); });
}
template <class T> static void backward(const Layer &l, const T *x, const T *grad, const uint8_t *places, T *out) {
    chosen(l, [&](auto kernel, auto kind) { backward<kernel.value, decltype(kind)>(l, x, grad, places, out); });
}

// ---- the norm within a map -----------------------------------------------------------------------------------------------

// x / (1 + alpha * sum of x^2 over size x size of the same map)^beta: sums down the rows, then along each row.
template <bool PAPER, class T> struct Square {
    const Layer l;
    const int64_t row = l.width * l.channels, reach = l.size / 2, edge = reach * l.channels;

    std::vector<float> buffer() const { return std::vector<float>(row + 2 * edge + N); }  // a row with zeros on both sides

    template <class F> void down(int64_t h, float *sums, F squares) const {  // squares(row of the map, place, how many)
        int64_t top = std::max<int64_t>(h - reach, 0), bottom = std::min(h + reach + 1, l.height);
        for (int64_t i = 0; i < row; i += N) {
            int n = std::min<int64_t>(N, row - i);
            V total{};
            for (int64_t y = top; y < bottom; y++) total += squares(y, i, n);
            store(sums + edge + i, total, n);
        }
    }
    V across(const float *sums) const {
        V total = load(sums);
        for (int64_t j = 1; j < l.size; j++) total += load(sums + j * l.channels);
        return total;
    }
    void down_squares(const T *x, int64_t h, float *sums) const {
        down(h, sums, [&](int64_t y, int64_t i, int n) {
            V v = load(x + y * row + i, n);
            return v * v;
        });
    }

    void forward(const T *x, T *out, int64_t first, int64_t last) const {
        std::vector<float> sums = buffer();
        for (int64_t h = first; h < last; h++) {
            down_squares(x, h, sums.data());
            for (int64_t i = 0; i < row; i += N) {
                int n = std::min<int64_t>(N, row - i);
                V d = 1 + l.alpha * across(sums.data() + i);
                store(out + h * row + i, load(x + h * row + i, n) * power<PAPER>(d, l.beta), n);
            }
        }
    }
    void backward(const T *x, const T *grad, T *out, int64_t first, int64_t last) const {
        std::vector<float> sums = buffer(), through(l.size * row), direct(l.size * row);  // of the last rows, in turn
        int64_t ready = std::max<int64_t>(first - reach, 0);
        for (int64_t h = first; h < last; h++) {
            for (; ready < std::min(h + reach + 1, l.height); ready++) {
                down_squares(x, ready, sums.data());
                for (int64_t i = 0; i < row; i += N) {
                    int n = std::min<int64_t>(N, row - i), at = ready % l.size * row + i;
                    V d = 1 + l.alpha * across(sums.data() + i);
                    V scaled = power<PAPER>(d, l.beta) * load(grad + ready * row + i, n);
                    store(direct.data() + at, scaled, n);
                    store(through.data() + at, scaled * load(x + ready * row + i, n) / d, n);
                }
            }
            down(h, sums.data(), [&](int64_t y, int64_t i, int n) { return load(through.data() + y % l.size * row + i, n); });
            for (int64_t i = 0; i < row; i += N) {
                int n = std::min<int64_t>(N, row - i);
                V spread = across(sums.data() + i) * load(x + h * row + i, n);
                store(out + h * row + i, load(direct.data() + h % l.size * row + i, n) - 2 * l.alpha * l.beta * spread, n);
            }
        }
    }
};

template <bool PAPER, class T> static void square(const Layer &l, const T *x, const T *grad, T *out) {
    const Square<PAPER, T> kind{l};
    share_out(l, l.height, [&](int64_t picture, int64_t first, int64_t last) {
        int64_t at = picture * l.height * kind.row;
        if (grad) kind.backward(x + at, grad + at, out + at, first, last);
        else kind.forward(x + at, out + at, first, last);
    });
}
template <class T> static void square(const Layer &l, const T *x, const T *grad, T *out) {  // no grad: forward
    l.beta == 0.75f ? square<true>(l, x, grad, out) : square<false>(l, x, grad, out);
}

// v <- momentum v - decay w - rate g;  w <- w + v
static void step(int64_t count, float momentum, float decay, float rate, int threads, float *w, const float *g, float *v) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i += N) {
        int n = std::min<int64_t>(N, count - i);
        V weight = load(w + i, n), velocity = momentum * load(v + i, n) - decay * weight - rate * load(g + i, n);
        store(v + i, velocity, n);
        store(w + i, weight + velocity, n);
    }
}

extern "C" {
void pool_float32(const Layer *l, const float *x, float *out, uint8_t *places) { forward(*l, x, out, places); }
void pool_bfloat16(const Layer *l, const bfloat16 *x, bfloat16 *out, uint8_t *places) { forward(*l, x, out, places); }
void unpool_float32(const Layer *l, const float *x, const float *grad, const uint8_t *places, float *out) {
    backward(*l, x, grad, places, out);
}
void unpool_bfloat16(const Layer *l, const bfloat16 *x, const bfloat16 *grad, const uint8_t *places, bfloat16 *out) {
    backward(*l, x, grad, places, out);
}
void square_float32(const Layer *l, const float *x, const float *grad, float *out) { square(*l, x, grad, out); }
void square_bfloat16(const Layer *l, const bfloat16 *x, const bfloat16 *grad, bfloat16 *out) { square(*l, x, grad, out); }
void momentum(int64_t count, float momentum, float decay, float rate, int threads, float *w, const float *g, float *v) {
    step(count, momentum, decay, rate, threads, w, g, v);
}
}
