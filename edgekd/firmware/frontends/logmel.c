/* edgekd front-end: log-mel features in integers, the steps of edgekd/data/logmel.py to the last bit.
 *
 * What stands above this text in the file that edgekd writes: EK_FRAME (samples of a frame, a power of two from 32 to 2048), EK_BITS (its
 * logarithm), EK_MELS, EK_FIRST_BIN and EK_LAST_BIN (what the filters read of the spectrum), EK_OFFSET and EK_GAIN, ek_fed(p), which makes
 * the model's input of 0 to 255, and the tables
 *   ek_window[2][EK_FRAME / 4 + 1]  the first two quarters of the window, which is symmetric but for rounding at three quarters: what stands
 *                                   there ends the first row
 *   ek_turns[EK_FRAME / 2][2]       cosine and sine, 2^30 is one
 *   ek_filters[EK_MELS][2]          first bin and number of bins;   ek_weights: of all filters in turn
 *   ek_log2[257]                    65536 log2(1 + j/256), modulo 65536
 * >> of a negative number is the arithmetic shift, as every compiler for these cores has it.
 */

/* One value of the spectrum, later its power. */
typedef union {
    struct {
        int32_t re, im;
    } at;
    uint64_t power;
} ek_bin;

/* Cores without a multiplication of 32 by 32 to 64 bits: M0, M0+, M23. */
#if !defined(EK_NARROW) && (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
#define EK_NARROW 1
#endif

/* Between the first stages and the last all values are held times 4, which is 2^30 at most: with 2^15 more in the table a product's high
 * word is what >> 15 would leave of it, and to add it times 4 is one instruction. */

/* t = b (c - i s), each part rounded to the nearest integer, ties up; of b times 4, and of turns. */
#if defined(EK_NARROW) && EK_NARROW
/* (x y + z w + 2^14) >> 15, x and z in halves of 16 bits: no product exceeds 32 bits, and what is carried is carried. */
static inline int32_t ek_sum(int32_t x, int32_t y, int32_t z, int32_t w) {
    const int32_t low_x = (x & 0xFFFF) * y, low_z = (z & 0xFFFF) * w;
    const int32_t high = (x >> 16) * y + (z >> 16) * w;
    const int32_t rest = ((low_x & 0x7FFF) + (low_z & 0x7FFF) + 0x4000) >> 15;
    return high * 2 + (low_x >> 15) + (low_z >> 15) + rest;
}

static inline void ek_turn(ek_bin b, int32_t c, int32_t s, int32_t *re, int32_t *im) {
    const int32_t x = b.at.re >> 2, y = b.at.im >> 2;
    *re = ek_sum(x, c >> 15, y, s >> 15);
    *im = ek_sum(y, c >> 15, x, -(s >> 15));
}
#else
static inline int32_t ek_rounded(int64_t sum) {
    return (int32_t)((uint32_t)((uint64_t)sum >> 32) + ((uint32_t)sum >> 31));
}

static inline void ek_turn(ek_bin b, int32_t c, int32_t s, int32_t *re, int32_t *im) {
    const int32_t minus_s = -s; /* a sum of products is one instruction, a difference three */
    *re = ek_rounded((int64_t)b.at.re * c + (int64_t)b.at.im * s);
    *im = ek_rounded((int64_t)b.at.im * c + (int64_t)b.at.re * minus_s);
}
#endif

/* Window, bits reversed, and the first two stages, which multiply by 1 and i only. */
static void ek_begin(const int16_t *samples, ek_bin *x) {
    const int32_t half = 1 << (EK_BITS - 1);
    const uint32_t quarter = EK_FRAME / 4;
    uint32_t n = 0; /* the counter of the blocks with its bits reversed */
    for (ek_bin *block = x; block < x + EK_FRAME; block += 4) {
        const int32_t v0 = (samples[n] * ek_window[0][n] + half) >> EK_BITS;
        const int32_t v1 = (samples[n + quarter] * ek_window[1][n] + half) >> EK_BITS;
        const int32_t v2 = (samples[n + 2 * quarter] * ek_window[1][quarter - n] + half) >> EK_BITS;
        const int32_t v3 = (samples[n + 3 * quarter] * ek_window[0][quarter - n] + half) >> EK_BITS;
        const int32_t even = v0 + v2, odd = v1 + v3;
        block[0].at.re = (even + odd) * 4;
        block[0].at.im = 0;
        block[1].at.re = (v0 - v2) * 4;
        block[1].at.im = (v3 - v1) * 4;
        block[2].at.re = (even - odd) * 4;
        block[2].at.im = 0;
        block[3].at.re = (v0 - v2) * 4;
        block[3].at.im = (v1 - v3) * 4;
        uint32_t bit = EK_FRAME / 8;
        while (n & bit) {
            n ^= bit;
            bit >>= 1;
        }
        n |= bit;
    }
}

/* a + t and a - t, t not yet times 4. */
static inline void ek_butterfly(ek_bin *a, ek_bin *b, int32_t re, int32_t im) {
    const int32_t x = a->at.re, y = a->at.im; /* read before anything is written, which might be the same memory */
    b->at.re = x - re * 4;
    b->at.im = y - im * 4;
    a->at.re = x + re * 4;
    a->at.im = y + im * 4;
}

/* The same with t = b and t = -i b: k = 0, and k at a quarter of a turn. */
static inline void ek_plain_butterflies(ek_bin *a, uint32_t half) {
    const ek_bin p = a[0], q = a[half], r = a[half / 2], s = a[half + half / 2];
    a[0].at.re = p.at.re + q.at.re;
    a[0].at.im = p.at.im + q.at.im;
    a[half].at.re = p.at.re - q.at.re;
    a[half].at.im = p.at.im - q.at.im;
    a[half / 2].at.re = r.at.re + s.at.im;
    a[half / 2].at.im = r.at.im - s.at.re;
    a[half + half / 2].at.re = r.at.re - s.at.im;
    a[half + half / 2].at.im = r.at.im + s.at.re;
}

/* factor x rounded, of x times 4 and an eighth of a turn, whose cosine and sine are one number. */
#define EK_EIGHTH (23170 << 15)
static inline int32_t ek_times(int32_t x, int32_t factor) {
#if defined(EK_NARROW) && EK_NARROW
    return ek_sum(x >> 2, factor >> 15, 0, 0);
#else
    return ek_rounded((int64_t)x * factor);
#endif
}

/* Stage of blocks of eight: k = 0 and 2 are plain, 1 and 3 take one product for each part. Sums of so few samples are far from overflow. */
static void ek_eights(ek_bin *x) {
    for (ek_bin *a = x; a < x + EK_FRAME; a += 8) {
        ek_plain_butterflies(a, 4);
        const ek_bin b1 = a[5], b3 = a[7];
        ek_butterfly(a + 1, a + 5, ek_times(b1.at.re + b1.at.im, EK_EIGHTH), ek_times(b1.at.im - b1.at.re, EK_EIGHTH));
        ek_butterfly(a + 3, a + 7, ek_times(b3.at.im - b3.at.re, EK_EIGHTH), ek_times(b3.at.re + b3.at.im, -EK_EIGHTH));
    }
}

/* The stages between those and the last. */
static void ek_stages(ek_bin *x) {
    uint32_t step = EK_FRAME / 16;
    for (uint32_t half = 8; half < EK_FRAME / 2; half *= 2, step /= 2) {
        for (ek_bin *block = x; block < x + EK_FRAME; block += 2 * half) {
            ek_plain_butterflies(block, half);
            const int32_t(*factor)[2] = ek_turns;
            ek_bin *a = block, *b = block + half;
            for (uint32_t part = 0; part < 2; part++) { /* up to a quarter of a turn, and behind it */
                for (const ek_bin *const end = a + half / 2; ++b, ++a < end;) {
                    int32_t re, im;
                    factor += step;
                    ek_turn(*b, (*factor)[0], (*factor)[1], &re, &im);
                    ek_butterfly(a, b, re, im);
                }
                factor += step;
            }
        }
    }
}

static inline uint64_t ek_power(int32_t re, int32_t im) {
    return (uint64_t)((int64_t)re * re + (int64_t)im * im + 512) >> 10;
}

/* The last stage, of what the filters read, straight to powers. */
static void ek_powers(ek_bin *x) {
#if EK_LAST_BIN == EK_FRAME / 2
    const uint64_t last = ek_power((x[0].at.re >> 2) - (x[EK_FRAME / 2].at.re >> 2), 0);
    const uint32_t end = EK_FRAME / 2;
#else
    const uint32_t end = EK_LAST_BIN + 1;
#endif
    for (uint32_t k = EK_FIRST_BIN; k < end; k++) {
        int32_t re, im;
        ek_turn(x[EK_FRAME / 2 + k], ek_turns[k][0], ek_turns[k][1], &re, &im);
        x[k].power = ek_power((x[k].at.re >> 2) + re, (x[k].at.im >> 2) + im);
    }
#if EK_LAST_BIN == EK_FRAME / 2
    x[EK_FRAME / 2].power = last;
#endif
}

/* The place of the highest set bit. */
static inline uint32_t ek_highest(uint32_t word) {
#if defined(__GNUC__)
    return 31u ^ (uint32_t)__builtin_clz(word);
#else
    uint32_t place = 0;
    while (word >>= 1) {
        place++;
    }
    return place;
#endif
}

/* 65536 log2(energy). */
static inline int32_t ek_level(uint64_t energy) {
    energy = energy ? energy : 1;
    const uint32_t high = (uint32_t)(energy >> 32);
    const uint32_t e = high ? 32 + ek_highest(high) : ek_highest((uint32_t)energy);
    const uint32_t behind = (uint32_t)((energy << (63 - e)) >> 47) & 0xFFFF;
    const uint32_t i = behind >> 8, r = behind & 0xFF;
    const uint32_t rise = (uint16_t)(ek_log2[i + 1] - ek_log2[i]);
    return (int32_t)((e << 16) + ek_log2[i] + ((rise * r + 128) >> 8));
}

/* EK_FRAME samples to EK_MELS values of the input; x holds EK_FRAME values. */
static void ek_features(const int16_t *samples, EK_INPUT *row, ek_bin *x) {
    ek_begin(samples, x);
    ek_eights(x);
    ek_stages(x);
    ek_powers(x);
    const uint16_t *weight = ek_weights;
    for (uint32_t mel = 0; mel < EK_MELS; mel++) {
        const ek_bin *bin = x + ek_filters[mel][0];
        uint64_t energy = 0;
        for (uint32_t n = ek_filters[mel][1]; n; n--) {
            energy += bin++->power * *weight++;
        }
        const int64_t p = ((int64_t)(ek_level(energy) - EK_OFFSET) * EK_GAIN + ((int64_t)1 << 31)) >> 32;
        row[mel] = ek_fed(p < 0 ? 0 : p > 255 ? 255 : (int32_t)p);
    }
}
