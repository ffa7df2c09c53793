/* edgekd kernel; needs: simd */
/* Fully connected layers: four channels at a time, of at least four. Weights [out_c, in_c]; the bias holds what in_zero adds. */

EK_INLINE int32_t ek_dot_word(uint32_t word, uint32_t even, uint32_t odd, int32_t sum)
{
    return ek_dot2(ek_odd_bytes(word), odd, ek_dot2(ek_even_bytes(word), even, sum));
}

/* Four channels, whose weights begin ``depth`` apart. */
static __attribute__((noinline)) void ek_four_rows_s8(const int8_t *x, const int8_t *w, int32_t depth, int32_t sum[4])
{
    const int8_t *v = w + depth, *u = v + depth, *t = u + depth, *const end = x + depth;
    int32_t a = 0, b = 0, c = 0, d = 0;
    while (end - x >= 4) {
        const uint32_t word = ek_load4(x), even = ek_even_bytes(word), odd = ek_odd_bytes(word);
        a = ek_dot_word(ek_load4(w), even, odd, a);
        b = ek_dot_word(ek_load4(v), even, odd, b);
        c = ek_dot_word(ek_load4(u), even, odd, c);
        d = ek_dot_word(ek_load4(t), even, odd, d);
        x += 4;
        w += 4;
        v += 4;
        u += 4;
        t += 4;
    }
    for (; x != end; x++) {
        a = ek_add_wrap(a, *x * *w++);
        b = ek_add_wrap(b, *x * *v++);
        c = ek_add_wrap(c, *x * *u++);
        d = ek_add_wrap(d, *x * *t++);
    }
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}

static void ek_row_dsp_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t rows = p->in_h * p->in_w;
    (void)scratch;
    for (int32_t row = 0; row < rows; row++, x += p->in_c, y += p->out_c) {
        for (int32_t at = 0; at < p->out_c; at += 4) {
            /* The last four channels may be some of the ones before them as well. */
            const int32_t c = ek_min(at, p->out_c - 4);
            int32_t sum[4];
            ek_four_rows_s8(x, p->weights + c * p->in_c, p->in_c, sum);
            for (int32_t i = 0; i < 4; i++) {
                y[c + i] = ek_output_s8(p, c + i, (uint32_t)sum[i] + (p->bias == NULL ? 0u : (uint32_t)p->bias[c + i]));
            }
        }
    }
}
