/* edgekd kernel; needs: sum */
static void ek_add_row_s16(const void *rows, const void *first, const void *second, void *out)
{
    const ek_sum p = *(const ek_sum *)rows; /* a copy: what y points to is none of it */
    const int16_t *a = first, *b = second;
    int16_t *y = out;
    const int16_t *const end = y + p.rows.count;
    if (p.rows.step_a + p.rows.step_b == 2 && p.unit == INT32_C(1) << 15 && p.b_sign > 0 && p.high - p.low == 65535) {
        while (y != end) {
            const int32_t sum = *a++ * (INT32_C(1) << 15) + p.base + ek_sum_term(&p, *b++, 16);
            *y++ = (int16_t)EK_SATURATE(ek_sum_output(&p, sum), 16);
        }
        return;
    }
    for (; y != end; a += p.rows.step_a, b += p.rows.step_b) {
        const int32_t sum = *a * p.unit + p.base + p.b_sign * ek_sum_term(&p, *b, 16);
        *y++ = (int16_t)ek_clamp(ek_sum_output(&p, sum), p.low, p.high);
    }
}

static void ek_add_s16(const ek_sum *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_add_row_s16, a, b, y);
}
