// Convolutions of stride 1 with kernels of 3 x 3 or 5 x 5, and their gradients, in Winograd's way (Lavin and Gray, 2015), for
// channels-last batches in float32. winograd.py calls this.
//
// Every window of 6 x 6 pixels becomes a pixel of 36 planes, and so does every kernel; in each plane the convolution is a product
// of matrices. That is 36 multiplications for 4 x 4 outputs (2 x 2 with 5 x 5 kernels) instead of 144 (100). In one dimension, and
// then in the other: outputs = EVEN' ((KERNEL w) * (WINDOW x)), with the points 0, 1, -1, 2, -2 and infinity; gradients are the
// same matrices the other way round. A thread takes a few pictures at a time, so that their planes stay in the cache; the products
// are those of the BLAS that PyTorch brings.

#include "cpu_vectors.h"

#include <omp.h>

// sgemm of Fortran: what is row after row here is column after column there, so c' = b' a' is asked for.
typedef void (*Product)(const char *, const char *, const int *, const int *, const int *, const float *, const float *,
                        const int *, const float *, const int *, const float *, float *, const int *);

struct Conv {  // as winograd.Conv
    int64_t pictures, height, width, channels, maps, groups, out_height, out_width, kernel, pad, threads;
    Product sgemm;
};

constexpr int SIDE = 6, PLANES = SIDE * SIDE;
constexpr int64_t ODD = 80;     // floats between planes: at a power of two they would push each other out of the cache

// ---- the matrices --------------------------------------------------------------------------------------------------------

template <int R, int C> struct Matrix {
    float at[R][C];
    static constexpr int rows = R, columns = C;
};
template <int R, int C> constexpr Matrix<C, R> turned(const Matrix<R, C> &m) {
    Matrix<C, R> found{};
    for (int i = 0; i < R; i++)
        for (int j = 0; j < C; j++) found.at[j][i] = m.at[i][j];
    return found;
}
template <int n> constexpr Matrix<SIDE, n> powers(bool shared) {  // of the points; shared: by each point's product of distances
    constexpr float points[] = {0, 1, -1, 2, -2}, distances[] = {4, -6, -6, 24, 24};
    Matrix<SIDE, n> found{};
    for (int i = 0; i < SIDE - 1; i++) {
        float value = 1;
        for (int j = 0; j < n; j++, value *= points[i]) found.at[i][j] = shared ? value / distances[i] : value;
    }
    found.at[SIDE - 1][n - 1] = 1;  // infinity
    return found;
}
constexpr Matrix<SIDE, SIDE> WINDOW{{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                     {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}}};
template <int n> constexpr Matrix<SIDE, n> EVEN = powers<n>(false);
template <int n> constexpr Matrix<SIDE, n> KERNEL = powers<n>(true);
template <const auto &M> constexpr auto TURNED = turned(M);

template <const auto &M, int R, int C, int J> static inline void one_way(const V (&in)[C][J], V (&out)[J][R]) {  // out = (M in)'
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
#pragma GCC unroll 6
        for (int j = 0; j < J; j++) {
            V sum{};
#pragma GCC unroll 6
            for (int k = 0; k < C; k++)
                if (M.at[i][k] != 0) sum += M.at[i][k] * in[k][j];
            out[j][i] = sum;
        }
}
template <const auto &M, int R, int C> static inline void both_ways(const V (&in)[C][C], V (&out)[R][R]) {  // out = M in M'
    V half[C][R];
    one_way<M>(in, half);
    one_way<M>(half, out);
}

// ---- from pixels to planes, and back -------------------------------------------------------------------------------------

struct Map {
    int64_t height, width, channels;
    template <int n> void find(int64_t top, int64_t left, const float *pixels, const float *outside,
                               const float *(&at)[n][n]) const {
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                int64_t h = top + i, w = left + j;
                at[i][j] = h >= 0 && h < height && w >= 0 && w < width ? pixels + (h * width + w) * channels : outside;
            }
    }
};
template <class F> static void by_vector(int64_t count, F f) {
    int64_t c = 0;
    for (; c + N <= count; c += N) f(c, N);
    if (c < count) f(c, int(count - c));
}

// planes: where the pixel begins in the first; `apart` floats from one plane to the next.
template <const auto &M> static void to_planes(const Map &m, int64_t top, int64_t left, const float *pixels, const float *zeros,
                                               float *planes, int64_t apart) {
    constexpr int n = M.columns;
    const float *at[n][n];
    m.find<n>(top, left, pixels, zeros, at);
    by_vector(m.channels, [&](int64_t c, int count) {
        V in[n][n], out[SIDE][SIDE];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) in[i][j] = load(at[i][j] + c, count);
        both_ways<M>(in, out);
        for (int i = 0; i < PLANES; i++) store(planes + i * apart + c, out[i / SIDE][i % SIDE], count);
    });
}

// ADD: to what is there; else the sum begins with `begin`. What falls outside goes to `nowhere`.
template <const auto &M, bool ADD> static void to_pixels(const Map &m, int64_t top, int64_t left, const float *planes,
                                                         int64_t apart, const float *begin, float *pixels, float *nowhere) {
    constexpr int n = M.columns;
    const float *at[n][n];
    m.find<n>(top, left, pixels, nowhere, at);
    by_vector(m.channels, [&](int64_t c, int count) {
        V in[SIDE][SIDE], out[n][n];
        for (int i = 0; i < PLANES; i++) in[i / SIDE][i % SIDE] = load(planes + i * apart + c, count);
        both_ways<TURNED<M>>(in, out);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                float *to = const_cast<float *>(at[i][j]) + c;
                store(to, out[i][j] + load(ADD ? to : begin + c, count), count);
            }
    });
}

// ---- the convolution -----------------------------------------------------------------------------------------------------

static float *kept(int64_t size) {  // this thread's room, from call to call
    static thread_local std::vector<float> room;
    if (int64_t(room.size()) < size) room = std::vector<float>(size);
    return room.data();
}

template <int R> struct Winograd {
    static constexpr int step = SIDE + 1 - R;  // outputs of a tile, along a side
    const Conv &l;
    const Map in{l.height, l.width, l.channels}, out{l.out_height, l.out_width, l.maps}, kernel{R, R, l.channels / l.groups};
    const int64_t down = (l.out_height + step - 1) / step, across = (l.out_width + step - 1) / step;
    const int64_t of_kernels = l.maps * kernel.channels + ODD;  // floats of a plane of kernels

    void product(char a_way, char b_way, int64_t m, int64_t n, int64_t k, const float *a, int64_t a_row, const float *b,
                 int64_t b_row, float keep, float *c, int64_t c_row) const {
        int sizes[] = {int(m), int(n), int(k), int(a_row), int(b_row), int(c_row)};
        const float one = 1;
        l.sgemm(&a_way, &b_way, sizes, sizes + 1, sizes + 2, &one, a, sizes + 3, b, sizes + 4, &keep, c, sizes + 5);
    }

    struct Room {
        int64_t of_in, of_out;  // floats of a plane
        float *in, *out, *zeros, *nowhere;
    };
    // work(thread, room, first picture, last, tiles): a few pictures at a time.
    template <class F> void share_out(F work) const {
        const int64_t tiles = down * across, widest = std::max(l.channels, l.maps);
        // about so many at a time: more of them where the kernels' planes, which each product reads again, are large
        const int64_t most = std::clamp<int64_t>(l.maps / l.groups * kernel.channels / 256, 64, 256);
        const int64_t few = std::max<int64_t>(1, most / tiles);
#pragma omp parallel num_threads(l.threads)
        {
            const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
            const int64_t first = l.pictures * thread / threads, last = l.pictures * (thread + 1) / threads;
            Room room{few * tiles * l.channels + ODD, few * tiles * l.maps + ODD, nullptr, nullptr, nullptr, nullptr};
            room.in = kept(PLANES * (room.of_in + room.of_out) + 2 * widest);
            room.out = room.in + PLANES * room.of_in;
            room.zeros = room.out + PLANES * room.of_out;
            room.nowhere = room.zeros + widest;
            std::fill(room.zeros, room.zeros + widest, 0.0f);
            for (int64_t p = first, next; p < last; p = next) {
                next = std::min(p + few, last);
                work(thread, room, p, next, (next - p) * tiles);
            }
        }
    }
    template <class F> void each_tile(int64_t first, int64_t last, F f) const {  // f(number, picture, row, column of outputs)
        int64_t t = 0;
        for (int64_t p = first; p < last; p++)
            for (int64_t i = 0; i < down; i++)
                for (int64_t j = 0; j < across; j++) f(t++, p, i * step, j * step);
    }
    int64_t picture_in(int64_t p) const { return p * l.height * l.width * l.channels; }
    int64_t picture_out(int64_t p) const { return p * l.out_height * l.out_width * l.maps; }

    template <class F> void each_product(F f) const {  // f(plane, channel, map, place in a plane of kernels)
        for (int64_t q = 0; q < PLANES; q++)
            for (int64_t g = 0; g < l.groups; g++) {
                int64_t map = l.maps / l.groups * g;
                f(q, kernel.channels * g, map, q * of_kernels + map * kernel.channels);
            }
    }

    // kernels (K, R, R, C) to planes of (K, C)
    void prepare(const float *w, float *kernels) const {
#pragma omp parallel for num_threads(l.threads)
        for (int64_t k = 0; k < l.maps; k++)
            to_planes<KERNEL<R>>(kernel, 0, 0, w + k * R * R * kernel.channels, nullptr, kernels + k * kernel.channels, of_kernels);
    }

    void forward(const float *x, const float *kernels, const float *bias, float *y) const {
        const int64_t C = kernel.channels, K = l.maps / l.groups;
        share_out([&](int64_t, const Room &room, int64_t first, int64_t last, int64_t tiles) {
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_planes<WINDOW>(in, h - l.pad, w - l.pad, x + picture_in(p), room.zeros, room.in + t * l.channels,
                                  room.of_in);
            });
            each_product([&](int64_t q, int64_t c, int64_t k, int64_t at) {
                product('T', 'N', K, tiles, C, kernels + at, C, room.in + q * room.of_in + c, l.channels, 0,
                        room.out + q * room.of_out + k, l.maps);
            });
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_pixels<EVEN<step>, false>(out, h, w, room.out + t * l.maps, room.of_out, bias ? bias : room.zeros,
                                             y + picture_out(p), room.nowhere);
            });
        });
    }

    // sums: a set of planes a thread, of the kernels' gradient. dx may be null.
    void backward(const float *x, const float *dy, const float *kernels, float *sums, float *dx, float *dw) const {
        const int64_t C = kernel.channels, K = l.maps / l.groups, whole = PLANES * of_kernels;
        share_out([&](int64_t thread, const Room &room, int64_t first, int64_t last, int64_t tiles) {
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_planes<WINDOW>(in, h - l.pad, w - l.pad, x + picture_in(p), room.zeros, room.in + t * l.channels,
                                  room.of_in);
                to_planes<EVEN<step>>(out, h, w, dy + picture_out(p), room.zeros, room.out + t * l.maps, room.of_out);
            });
            each_product([&](int64_t q, int64_t c, int64_t k, int64_t at) {
                float *seen = room.in + q * room.of_in + c, *sent = room.out + q * room.of_out + k;
                product('N', 'T', C, K, tiles, seen, l.channels, sent, l.maps, 1, sums + thread * whole + at, C);
                if (dx) product('N', 'N', C, tiles, K, kernels + at, C, sent, l.maps, 0, seen, l.channels);
            });
            if (!dx) return;
            std::fill(dx + picture_in(first), dx + picture_in(last), 0.0f);
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_pixels<WINDOW, true>(in, h - l.pad, w - l.pad, room.in + t * l.channels, room.of_in, nullptr,
                                                  dx + picture_in(p), room.nowhere);
            });
        });
#pragma omp parallel for num_threads(l.threads)
        for (int64_t k = 0; k < l.maps; k++) {
            float *own = sums + k * C;
            for (int64_t q = 0; q < PLANES; q++)
                for (int64_t other = 1; other < l.threads; other++)
                    for (int64_t c = 0; c < C; c++) own[q * of_kernels + c] += own[other * whole + q * of_kernels + c];
            std::vector<float> zeros(C);
            to_pixels<KERNEL<R>, false>(kernel, 0, 0, own, of_kernels, zeros.data(), dw + k * R * R * C, nullptr);
        }
    }
};

extern "C" {
int64_t winograd_planes(const Conv *l) { return PLANES * (l->maps * l->channels / l->groups + ODD); }  // of kernels: floats
void winograd_forward(const Conv *l, const float *x, const float *w, const float *bias, float *kernels, float *y) {
    auto run = [&](auto kind) {
        kind.prepare(w, kernels);
        kind.forward(x, kernels, bias, y);
    };
    l->kernel == 3 ? run(Winograd<3>{*l}) : run(Winograd<5>{*l});
}
void winograd_backward(const Conv *l, const float *x, const float *dy, const float *kernels, float *sums, float *dx, float *dw) {
    auto run = [&](auto kind) { kind.backward(x, dy, kernels, sums, dx, dw); };
    l->kernel == 3 ? run(Winograd<3>{*l}) : run(Winograd<5>{*l});
}
}
