/* What every kernel of edgekd shares: parameters of layers, and TensorFlow Lite's fixed-point arithmetic.
 *
 * Nothing here depends on the width or the sign of char, on the heap or on a library. Signed sums that may overflow are formed in
 * unsigned integers, which wrap; a right shift of a negative integer is arithmetic (C leaves that to the compiler: all of ours do so).
 */
#ifndef EK_TYPES_H
#define EK_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A user may put the weights into a section of their own: -DEK_WEIGHTS='__attribute__((section(".weights")))'. */
#ifndef EK_WEIGHTS
#define EK_WEIGHTS
#endif
/* Stands before each layer with its index, and once more after the last one: for who counts instructions. */
#ifndef EK_LAYER
#define EK_LAYER(index) ((void)0)
#endif
#if defined(__GNUC__)
#define EK_INLINE static inline __attribute__((always_inline))
#define EK_NOINLINE static __attribute__((noinline)) /* for loops that want the registers to themselves */
#else
#define EK_INLINE static inline
#define EK_NOINLINE static
#endif

/* A kernel is compiled once for all layers alike: a compiler that sees a layer's constants compiles it anew for them, with warnings of
 * loops that do not run, which no test of the kernel foretells. EK_APART(kernel) is not inlined; ek_parameters() hides its constants. */
#if defined(__GNUC__)
#define EK_APART(kernel) __typeof__(kernel) kernel __attribute__((noinline))
#else
#define EK_APART(kernel) struct ek_nothing
#endif

EK_INLINE const void *ek_parameters(const void *p)
{
#if defined(__GNUC__)
    __asm__("" : "+r"(p));
#endif
    return p;
}

/* Convolution (weights [out_c, k_h, k_w, in_c / groups]), depthwise [k_h, k_w, out_c], fully connected as a convolution of one tap whose
 * rows are in_h * in_w, transposed convolution; weights and bias as the set of kernels packs them. real = scale * (q - zero). */
typedef struct {
    const int8_t *weights;
    const int32_t *bias;       /* NULL where there is none, and where bias64 stands */
    const int64_t *bias64;     /* of 16-bit activations */
    const int32_t *multiplier; /* one an output channel, and its shift: multiplier * 2^(shift - 31) */
    const int8_t *shift;
    int32_t in_zero, out_zero, low, high; /* low and high clamp the output's integers */
    int32_t in_h, out_h, in_c, depth; /* depth: input channels that one output channel reads */
    uint16_t in_w, out_w, out_c, k_h, k_w, multiplier_or_groups;
    uint8_t stride_h, stride_w, dilation_h, dilation_w;
    int16_t pad_top, pad_left;
} ek_conv;

/* Windows that are pooled. */
typedef struct {
    int32_t in_zero, out_zero, low, high;
    uint16_t in_h, in_w, out_h, out_w, channels, k_h, k_w;
    uint8_t stride_h, stride_w;
    int16_t pad_top, pad_left;
} ek_pool;

/* Products of matrices [m, k] and [k, n]: steps between values of b along k (row) and n (column), and of both along three leading axes. */
typedef struct {
    int32_t a_zero, b_zero, out_zero, low, high, multiplier, shift;
    int32_t m, k, n, b_row, b_column, count[3], a_step[3], b_step[3];
} ek_matmul;

EK_INLINE int32_t ek_min(int32_t a, int32_t b) { return a < b ? a : b; }

EK_INLINE int32_t ek_max(int32_t a, int32_t b) { return a > b ? a : b; }

EK_INLINE int32_t ek_clamp(int32_t x, int32_t low, int32_t high) { return ek_min(ek_max(x, low), high); }

/* a + b, wrapping. */
EK_INLINE int32_t ek_add_wrap(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

/* x * multiplier / 2^31, a half rounded up: gemmlowp's SaturatingRoundingDoublingHighMul for multipliers above -2^31. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define EK_SHORT_MULTIPLY
#endif
#ifdef EK_SHORT_MULTIPLY
/* Of cores that have no product of 64 bits: from four of halves, in fewer instructions than the compiler's library takes. */
#if defined(__GNUC__)
__attribute__((noinline, unused))
#endif
static int32_t ek_doubling_high(int32_t x, int32_t multiplier)
{
    const int32_t x_high = x >> 16, m_high = multiplier >> 16;
    const uint32_t x_low = (uint32_t)x & 0xFFFF, m_low = (uint32_t)multiplier & 0xFFFF;
    const int32_t first = x_high * (int32_t)m_low + (int32_t)((x_low * m_low) >> 16);
    const int32_t second = (int32_t)x_low * m_high + (int32_t)((uint32_t)first & 0xFFFF);
    const int32_t high = x_high * m_high + (first >> 16) + (second >> 16); /* of 64 bits; the next 16 are those of `second` */
    return (int32_t)((uint32_t)high << 1) + (int32_t)(((((uint32_t)second & 0xFFFF) >> 14) + 1) >> 1);
}
#else
EK_INLINE int32_t ek_doubling_high(int32_t x, int32_t multiplier)
{
    return (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << 30)) >> 31);
}
#endif

/* x / 2^exponent, a half rounded away from zero; 0 <= exponent <= 31, x above -2^31 (where exponent is not 0). */
EK_INLINE int32_t ek_divide_by_power(int32_t x, int32_t exponent)
{
    if (exponent == 0) {
        return x;
    }
    return (((x + (x >> 31)) >> (exponent - 1)) + 1) >> 1;
}

/* TFLite's MultiplyByQuantizedMultiplier of 32-bit sums: two roundings. */
EK_INLINE int32_t ek_requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    if (shift >= 0) {
        return ek_doubling_high((int32_t)((uint32_t)x << shift), multiplier);
    }
    return ek_divide_by_power(ek_doubling_high(x, multiplier), -shift);
}

/* The same of 64-bit sums: one rounding, of the 15 bits that are left of the multiplier. */
EK_INLINE int32_t ek_requantize64(int64_t x, int32_t multiplier, int32_t shift)
{
    const int32_t reduced = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
    const int32_t right = 15 - shift;
    return (int32_t)((x * reduced + ((int64_t)1 << (right - 1))) >> right);
}

/* A 32-bit sum of a layer as the output of channel c. */
EK_INLINE int8_t ek_output_s8(const ek_conv *p, int32_t c, uint32_t sum)
{
    const int32_t y = ek_requantize((int32_t)sum, p->multiplier[c], p->shift[c]);
    return (int8_t)ek_clamp(ek_add_wrap(y, p->out_zero), p->low, p->high);
}

#endif
