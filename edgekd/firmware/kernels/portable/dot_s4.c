/* edgekd kernel; needs: dot_s8 */
/* Weights of four bits: those of four channels in two bytes, the first in the low half, [n][2]; or of one channel, two a byte. */

/* Weight i of one channel. */
EK_INLINE int32_t ek_nibble(const int8_t *w, int32_t i)
{
    const int32_t both = w[i >> 1];
    return (i & 1) != 0 ? both >> 4 : ((both & 15) ^ 8) - 8;
}

EK_INLINE void ek_add4_s4(ek_sum4 *sum, int32_t x, const int8_t *w)
{
    const int32_t first = w[0], second = w[1];
    sum->c0 += (uint32_t)(x * (((first & 15) ^ 8) - 8));
    sum->c1 += (uint32_t)(x * (first >> 4));
    sum->c2 += (uint32_t)(x * (((second & 15) ^ 8) - 8));
    sum->c3 += (uint32_t)(x * (second >> 4));
}

EK_INLINE void ek_dot4_s4(ek_sum4 *sum, const int8_t *x, const int8_t *w, int32_t n)
{
    ek_sum4 s = *sum;
    for (const int8_t *end = x + n; x != end; x++, w += 2) {
        ek_add4_s4(&s, x[0], w);
    }
    *sum = s;
}

/* Weights at .. at + n - 1 of one channel. */
EK_INLINE uint32_t ek_dot1_s4(uint32_t sum, const int8_t *x, const int8_t *w, int32_t at, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        sum += (uint32_t)(x[i] * ek_nibble(w, at + i));
    }
    return sum;
}
