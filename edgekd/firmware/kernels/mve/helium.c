/* edgekd kernel; needs: */
/* Helium: four dot products at once, and requantization of four sums. For cores that have it only. */
#include <arm_mve.h>

/* a + x * y0, b + x * y1 … over ``count`` bytes; the loop ends by predication. Sums of Helium want even registers, hence "Te". */
EK_INLINE int32x4_t ek_four_dots_s8(const int8_t *x, const int8_t *const y[4], int32_t count, int32_t first)
{
    const int8_t *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
    int32_t a = first, b = first, c = first, d = first;
    int32x4_t sums;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1:\n\tvldrb.8 q0, [%[x]], #16\n\tvldrb.8 q1, [%[y0]], #16\n\tvmladava.s8 %[a], q0, q1\n\t"
                     "vldrb.8 q2, [%[y1]], #16\n\tvmladava.s8 %[b], q0, q2\n\tvldrb.8 q1, [%[y2]], #16\n\tvmladava.s8 %[c], q0, q1\n\t"
                     "vldrb.8 q2, [%[y3]], #16\n\tvmladava.s8 %[d], q0, q2\n\tletp lr, 1b\n\t"
                     "vmov %e[s], %[a], %[b]\n\tvmov %f[s], %[c], %[d]"
                     : [a] "+Te"(a), [b] "+Te"(b), [c] "+Te"(c), [d] "+Te"(d), [x] "+r"(x), [y0] "+r"(y0), [y1] "+r"(y1), [y2] "+r"(y2),
                       [y3] "+r"(y3), [s] "=w"(sums)
                     : [n] "r"(count)
                     : "q0", "q1", "q2", "lr", "memory");
    return sums;
}

/* Whether every channel's multiplier is below 1/2, so that all shifts go to the right and two instructions round as TFLite does. */
EK_INLINE int32_t ek_all_common(const ek_conv *p)
{
    for (int32_t c = 0; c < p->out_c; c++) {
        if (p->shift[c] >= 0) {
            return 0;
        }
    }
    return 1;
}

/* h = sum * multiplier / 2^31, a half up, then h / 2^s, a half away from zero: up, after 1 was taken from negative h. */
EK_INLINE int32x4_t ek_round_away(int32x4_t high) { return vqaddq_s32(high, vshrq_n_s32(high, 31)); }
