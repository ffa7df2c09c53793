/* edgekd kernel; needs: */
/* Products of 16-bit activations with 8-bit weights of four channels that lie side by side: [n][4]. Zero points are 0. Up to 511 products
 * fit into 32 bits; sums have 64. */

typedef struct {
    int64_t c0, c1, c2, c3;
} ek_wide4;

EK_INLINE int64_t ek_bias_s16(const ek_conv *p, int32_t c) { return p->bias64 == NULL ? 0 : p->bias64[c]; }

EK_INLINE ek_wide4 ek_bias4_s16(const ek_conv *p, int32_t c)
{
    const ek_wide4 sum = {ek_bias_s16(p, c), ek_bias_s16(p, c + 1), ek_bias_s16(p, c + 2), ek_bias_s16(p, c + 3)};
    return sum;
}

EK_INLINE void ek_dot4_s16(ek_wide4 *sum, const int16_t *x, const int8_t *w, int32_t n)
{
    while (n > 0) {
        const int32_t part = ek_min(n, 511);
        int32_t c0 = 0, c1 = 0, c2 = 0, c3 = 0;
        for (const int16_t *end = x + part; x != end; x++, w += 4) {
            c0 += x[0] * w[0];
            c1 += x[0] * w[1];
            c2 += x[0] * w[2];
            c3 += x[0] * w[3];
        }
        sum->c0 += c0;
        sum->c1 += c1;
        sum->c2 += c2;
        sum->c3 += c3;
        n -= part;
    }
}

EK_INLINE int64_t ek_dot1_s16(int64_t sum, const int16_t *x, const int8_t *w, int32_t n)
{
    while (n > 0) {
        const int32_t part = ek_min(n, 511);
        int32_t some = 0;
        for (const int16_t *end = x + part; x != end; x++, w++) {
            some += x[0] * w[0];
        }
        sum += some;
        n -= part;
    }
    return sum;
}

EK_INLINE int16_t ek_output_s16(const ek_conv *p, int32_t c, int64_t sum)
{
    return (int16_t)ek_clamp(ek_requantize64(sum, p->multiplier[c], p->shift[c]), p->low, p->high);
}

EK_INLINE void ek_store4_s16(const ek_conv *p, int32_t c, const ek_wide4 *sum, int16_t *y)
{
    y[0] = ek_output_s16(p, c, sum->c0);
    y[1] = ek_output_s16(p, c + 1, sum->c1);
    y[2] = ek_output_s16(p, c + 2, sum->c2);
    y[3] = ek_output_s16(p, c + 3, sum->c3);
}
