// Convolutions of stride 1 with kernels of 3 x 3 or 5 x 5, and their gradients, in Winograd's way (Lavin and Gray, 2015), for
// channels-last batches in float32. winograd.py calls this.
//
// Every window of 6 x 6 pixels becomes a pixel of 36 planes, and so does every kernel; in each plane the convolution is a product
// of matrices. That is 36 multiplications for 4 x 4 outputs (2 x 2 with 5 x 5 kernels) instead of 144 (100). In one dimension, and
// then in the other: outputs = EVEN' ((KERNEL w) * (WINDOW x)), with the points 0, 1, -1, 2, -2 and infinity; gradients are the
// same matrices the other way round. A thread takes a few pictures at a time, so that their planes stay in the cache. The products
// are our own: planes are laid down as these read them, so that nothing is packed or copied in between.

#include "cpu_vectors.h"

#include <omp.h>
#include <type_traits>

struct Conv {  // as winograd.Conv
    int64_t pictures, height, width, channels, maps, groups, out_height, out_width, kernel, pad, threads;
};

constexpr int SIDE = 6, PLANES = SIDE * SIDE;
constexpr int64_t LINE = 16;           // floats of a line of the cache
constexpr int64_t ODD = 5 * LINE;      // floats between planes: at a power of two they would push each other out of the cache
constexpr int WIDE = 2 * N, ROWS = 6;  // a product keeps ROWS x WIDE sums in registers
constexpr int64_t DEEP = 64;           // pixels that the kernels' gradient adds up at once: they stay in the nearest cache

static int64_t up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }
static int64_t pitch(int64_t count) { return (up(count, LINE) / LINE | 1) * LINE; }  // of a row: an odd number of lines, as above

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

// ---- the products ----------------------------------------------------------------------------------------------------------

template <int R> static inline void add_up(V (&sum)[R][2], const float *a, int64_t apart, const float *b) {
    V left = load(b), right = load(b + N);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        V value = a[r * apart] - V{};  // read as a vector of the same; V{} + would lose the sign of a zero
        sum[r][0] += value * left;
        sum[r][1] += value * right;
    }
}
template <int R, bool ADD> static inline void put_down(const V (&sum)[R][2], float *to, int64_t row, int n) {
    if (n == WIDE) {
#pragma GCC unroll 6
        for (int r = 0; r < R; r++, to += row) {
            store(to, ADD ? load(to) + sum[r][0] : sum[r][0]);
            store(to + N, ADD ? load(to + N) + sum[r][1] : sum[r][1]);
        }
        return;
    }
    float rest[R][WIDE];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) store(rest[r], sum[r][0]), store(rest[r] + N, sum[r][1]);
    for (int r = 0; r < R; r++, to += row)
        for (int i = 0; i < n; i++) to[i] = ADD ? to[i] + rest[r][i] : rest[r][i];
}
template <int R> static inline void clear(V (&sum)[R][2]) {
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = V{};
}

// out (R rows of n) = a (R rows of depth) * panel (depth, WIDE)
template <int R> static void times_rows(const float *a, int64_t a_row, const float *panel, int64_t depth, float *out,
                                        int64_t out_row, int n) {
    V sum[R][2];
    clear(sum);
    for (int64_t d = 0; d < depth; d++) add_up(sum, a + d, a_row, panel + d * WIDE);
    put_down<R, false>(sum, out, out_row, n);
}

// sums (R rows of n) += a' b, over `depth` rows of both: of a R values, of b WIDE, of which n count
template <int R> static void times_turned(const float *a, int64_t a_row, const float *b, int64_t b_row, int64_t depth, float *sums,
                                          int64_t sums_row, int n) {
    V sum[R][2];
    clear(sum);
    for (int64_t d = 0; d < depth; d++) add_up(sum, a + d * a_row, 1, b + d * b_row);
    put_down<R, true>(sum, sums, sums_row, n);
}

// f(first, the number of rows as a constant), ROWS at a time and then what is left.
template <class F> static void by_rows(int64_t rows, F f) {
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) f(r, std::integral_constant<int, ROWS>());
    switch (rows - r) {
        case 5: return f(r, std::integral_constant<int, 5>());
        case 4: return f(r, std::integral_constant<int, 4>());
        case 3: return f(r, std::integral_constant<int, 3>());
        case 2: return f(r, std::integral_constant<int, 2>());
        case 1: return f(r, std::integral_constant<int, 1>());
    }
}

// ---- the convolution -----------------------------------------------------------------------------------------------------

static float *kept(int64_t size) {  // this thread's room, from call to call, from the beginning of a line on
    static thread_local std::vector<float> room;
    if (int64_t(room.size()) < size + LINE) room = std::vector<float>(size + LINE);
    return room.data() + (-(reinterpret_cast<intptr_t>(room.data()) / 4) & (LINE - 1));
}

template <int R> struct Winograd {
    static constexpr int step = SIDE + 1 - R;  // outputs of a tile, along a side
    const Conv &l;
    const Map in{l.height, l.width, l.channels}, out{l.out_height, l.out_width, l.maps}, kernel{R, R, l.channels / l.groups};
    const int64_t down = (l.out_height + step - 1) / step, across = (l.out_width + step - 1) / step;
    const int64_t C = kernel.channels, K = l.maps / l.groups;            // of a group
    const int64_t in_row = pitch(l.channels), out_row = pitch(l.maps);  // floats of a pixel in a plane
    const int64_t of_sums = l.maps * C + ODD;                            // floats of a plane of the kernels' gradient, (maps, C)

    // A plane of kernels, a group after the other: panels of WIDE maps (C, WIDE) for outputs, of WIDE channels (K, WIDE) for the
    // inputs' gradient.
    int64_t of_group(bool outputs) const { return outputs ? up(K, WIDE) * C : up(C, WIDE) * K; }
    int64_t of_kernels() const { return l.groups * std::max(of_group(true), of_group(false)) + ODD; }

    void prepare(const float *w, float *kernels, bool outputs) const {  // w: (maps, R, R, C)
        const int64_t apart = of_kernels();
#pragma omp parallel for num_threads(l.threads)
        for (int64_t map = 0; map < l.maps; map++) {
            float *own = kept(PLANES * C), *group = kernels + map / K * of_group(outputs);
            const int64_t k = map % K;
            to_planes<KERNEL<R>>(kernel, 0, 0, w + map * R * R * C, nullptr, own, C);
            for (int64_t q = 0; q < PLANES; q++, own += C, group += apart)
                if (outputs)
                    for (int64_t c = 0; c < C; c++) group[(k / WIDE * C + c) * WIDE + k % WIDE] = own[c];
                else
                    for (int64_t c = 0; c < C; c += WIDE)
                        std::copy(own + c, own + std::min(c + WIDE, C), group + (c / WIDE * K + k) * WIDE);
        }
    }

    struct Room {
        int64_t of_in, of_out;  // floats of a plane
        float *in, *out, *zeros, *nowhere;
    };
    // work(thread, room, first picture, last, tiles): a few pictures at a time.
    template <class F> void share_out(F work) const {
        const int64_t tiles = down * across, widest = up(std::max(l.channels, l.maps), LINE);
        // about so many at a time: more of them where the kernels' planes, which each product reads again, are large
        const int64_t most = std::clamp<int64_t>(K * C / 256, 64, 256);
        const int64_t few = std::max<int64_t>(1, most / tiles);
#pragma omp parallel num_threads(l.threads)
        {
            const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
            const int64_t first = l.pictures * thread / threads, last = l.pictures * (thread + 1) / threads;
            Room room{few * tiles * in_row + ODD, few * tiles * out_row + ODD, nullptr, nullptr, nullptr, nullptr};
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

    template <class F> void each_product(F f) const {  // f(plane, group of it)
        for (int64_t q = 0; q < PLANES; q++)
            for (int64_t g = 0; g < l.groups; g++) f(q, g);
    }
    // to (rows, width) = from (rows, depth) * panels
    void product(int64_t rows, int64_t width, int64_t depth, const float *from, int64_t from_row, const float *panels, float *to,
                 int64_t to_row) const {
        for (int64_t w = 0; w < width; w += WIDE, panels += depth * WIDE)
            by_rows(rows, [&](int64_t r, auto count) {
                times_rows<count>(from + r * from_row, from_row, panels, depth, to + r * to_row + w, to_row,
                                  int(std::min<int64_t>(WIDE, width - w)));
            });
    }

    void forward(const float *x, const float *kernels, const float *bias, float *y) const {
        share_out([&](int64_t, const Room &room, int64_t first, int64_t last, int64_t tiles) {
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_planes<WINDOW>(in, h - l.pad, w - l.pad, x + picture_in(p), room.zeros, room.in + t * in_row, room.of_in);
            });
            each_product([&](int64_t q, int64_t g) {
                product(tiles, K, C, room.in + q * room.of_in + g * C, in_row, kernels + q * of_kernels() + g * of_group(true),
                        room.out + q * room.of_out + g * K, out_row);
            });
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_pixels<EVEN<step>, false>(out, h, w, room.out + t * out_row, room.of_out, bias ? bias : room.zeros,
                                             y + picture_out(p), room.nowhere);
            });
        });
    }

    // sums: a set of planes a thread, of the kernels' gradient. dx may be null.
    void backward(const float *x, const float *dy, const float *kernels, float *sums, float *dx, float *dw) const {
        const int64_t whole = PLANES * of_sums;
        share_out([&](int64_t thread, const Room &room, int64_t first, int64_t last, int64_t tiles) {
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_planes<WINDOW>(in, h - l.pad, w - l.pad, x + picture_in(p), room.zeros, room.in + t * in_row, room.of_in);
                to_planes<EVEN<step>>(out, h, w, dy + picture_out(p), room.zeros, room.out + t * out_row, room.of_out);
            });
            each_product([&](int64_t q, int64_t g) {
                float *seen = room.in + q * room.of_in + g * C, *sent = room.out + q * room.of_out + g * K;
                float *own = sums + thread * whole + q * of_sums + g * K * C;
                for (int64_t t = 0; t < tiles; t += DEEP)
                    for (int64_t c = 0; c < C; c += WIDE)
                        by_rows(K, [&](int64_t k, auto count) {
                            times_turned<count>(sent + t * out_row + k, out_row, seen + t * in_row + c, in_row,
                                                std::min(DEEP, tiles - t), own + k * C + c, C,
                                                int(std::min<int64_t>(WIDE, C - c)));
                        });
                if (dx) product(tiles, C, K, sent, out_row, kernels + q * of_kernels() + g * of_group(false), seen, in_row);
            });
            if (!dx) return;
            std::fill(dx + picture_in(first), dx + picture_in(last), 0.0f);
            each_tile(first, last, [&](int64_t t, int64_t p, int64_t h, int64_t w) {
                to_pixels<WINDOW, true>(in, h - l.pad, w - l.pad, room.in + t * in_row, room.of_in, nullptr, dx + picture_in(p),
                                        room.nowhere);
            });
        });
#pragma omp parallel for num_threads(l.threads)
        for (int64_t k = 0; k < l.maps; k++) {
            float *own = sums + k * C;
            for (int64_t q = 0; q < PLANES; q++)
                for (int64_t other = 1; other < l.threads; other++)
                    for (int64_t c = 0; c < C; c++) own[q * of_sums + c] += own[other * whole + q * of_sums + c];
            std::vector<float> zeros(C);
            to_pixels<KERNEL<R>, false>(kernel, 0, 0, own, of_sums, zeros.data(), dw + k * R * R * C, nullptr);
        }
    }
};

extern "C" {
// Floats of kernels in planes, and of a thread's sums.
int64_t winograd_planes(const Conv *l) {
    return PLANES * (l->kernel == 3 ? Winograd<3>{*l}.of_kernels() : Winograd<5>{*l}.of_kernels());
}
int64_t winograd_sums(const Conv *l) { return PLANES * (l->maps * l->channels / l->groups + ODD); }
void winograd_forward(const Conv *l, const float *x, const float *w, const float *bias, float *kernels, float *y) {
    auto run = [&](auto kind) {
        kind.prepare(w, kernels, true);
        kind.forward(x, kernels, bias, y);
    };
    l->kernel == 3 ? run(Winograd<3>{*l}) : run(Winograd<5>{*l});
}
void winograd_backward(const Conv *l, const float *x, const float *dy, const float *w, float *kernels, float *sums, float *dx,
                       float *dw) {
    auto run = [&](auto kind) {
        if (dx) kind.prepare(w, kernels, false);
        kind.backward(x, dy, kernels, sums, dx, dw);
    };
    l->kernel == 3 ? run(Winograd<3>{*l}) : run(Winograd<5>{*l});
}
}
