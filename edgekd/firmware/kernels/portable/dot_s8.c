/* edgekd kernel; needs: */
/* Products of 8-bit activations with the weights of four channels, which lie side by side: [n][4]. Sums wrap as 32-bit registers do. */

typedef struct {
    uint32_t c0, c1, c2, c3;
} ek_sum4;

EK_INLINE uint32_t ek_bias_s8(const ek_conv *p, int32_t c) { return p->bias == NULL ? 0u : (uint32_t)p->bias[c]; }

EK_INLINE ek_sum4 ek_bias4_s8(const ek_conv *p, int32_t c)
{
    ek_sum4 sum = {0, 0, 0, 0};
    if (p->bias != NULL) {
        sum.c0 = (uint32_t)p->bias[c];
        sum.c1 = (uint32_t)p->bias[c + 1];
        sum.c2 = (uint32_t)p->bias[c + 2];
        sum.c3 = (uint32_t)p->bias[c + 3];
    }
    return sum;
}

/* One more activation. */
EK_INLINE void ek_add4_s8(ek_sum4 *sum, int32_t x, const int8_t *w)
{
    sum->c0 += (uint32_t)(x * w[0]);
    sum->c1 += (uint32_t)(x * w[1]);
    sum->c2 += (uint32_t)(x * w[2]);
    sum->c3 += (uint32_t)(x * w[3]);
}

EK_INLINE void ek_dot4_s8(ek_sum4 *sum, const int8_t *x, const int8_t *w, int32_t n)
{
    ek_sum4 s = *sum;
    for (const int8_t *end = x + n; x != end; x++, w += 4) {
        ek_add4_s8(&s, x[0], w);
    }
    *sum = s;
}

/* The same at two places, the second ``step`` values after the first: each weight is loaded once for both. */
EK_INLINE void ek_dot4x2_s8(ek_sum4 sum[2], const int8_t *x, int32_t step, const int8_t *w, int32_t n)
{
    ek_sum4 s = sum[0], t = sum[1];
    for (const int8_t *end = x + n; x != end; x++, w += 4) {
        const int32_t a = x[0], b = x[step];
        int32_t v = w[0];
        s.c0 += (uint32_t)(a * v);
        t.c0 += (uint32_t)(b * v);
        v = w[1];
        s.c1 += (uint32_t)(a * v);
        t.c1 += (uint32_t)(b * v);
        v = w[2];
        s.c2 += (uint32_t)(a * v);
        t.c2 += (uint32_t)(b * v);
        v = w[3];
        s.c3 += (uint32_t)(a * v);
        t.c3 += (uint32_t)(b * v);
    }
    sum[0] = s;
    sum[1] = t;
}

EK_INLINE uint32_t ek_dot1_s8(uint32_t sum, const int8_t *x, const int8_t *w, int32_t n)
{
    for (const int8_t *end = x + n; x != end; x++, w++) {
        sum += (uint32_t)(x[0] * w[0]);
    }
    return sum;
}

/* What is stored last may be stored anywhere, for all that the compiler knows: everything is read before. */
static void ek_store4_s8(const ek_conv *p, int32_t c, const ek_sum4 *sum, int8_t *y)
{
    const int32_t *multiplier = p->multiplier + c, zero = p->out_zero, low = p->low, high = p->high;
    const int8_t *shift = p->shift + c;
    const int32_t y0 = ek_add_wrap(ek_requantize((int32_t)sum->c0, multiplier[0], shift[0]), zero);
    const int32_t y1 = ek_add_wrap(ek_requantize((int32_t)sum->c1, multiplier[1], shift[1]), zero);
    const int32_t y2 = ek_add_wrap(ek_requantize((int32_t)sum->c2, multiplier[2], shift[2]), zero);
    const int32_t y3 = ek_add_wrap(ek_requantize((int32_t)sum->c3, multiplier[3], shift[3]), zero);
    y[0] = (int8_t)ek_clamp(y0, low, high);
    y[1] = (int8_t)ek_clamp(y1, low, high);
    y[2] = (int8_t)ek_clamp(y2, low, high);
    y[3] = (int8_t)ek_clamp(y3, low, high);
}
