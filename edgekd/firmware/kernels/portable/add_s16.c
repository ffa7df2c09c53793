/* edgekd kernel; needs: sum, round */
static void ek_add_row_s16(const void *rows, const void *first, const void *second, void *out)
{
    const ek_sum *p = rows;
    const int16_t *a = first, *b = second;
    int16_t *y = out;
    const int32_t unit = p->unit, base = -p->a_zero * p->unit, b_zero = p->b_zero, b_high = p->b_high, b_low = p->b_low;
    const int32_t b_sign = p->b_sign, multiplier = p->multiplier, out_zero = p->out_zero, low = p->low, high = p->high;
    const int b_right = p->b_right, right = p->right, step_a = p->rows.step_a, step_b = p->rows.step_b;
    for (int32_t n = p->rows.count; n > 0; n--) {
        const int32_t q = *b - b_zero;
        const int32_t sum = *a * unit + base + b_sign * ek_divide_small(q * b_high + ((q * b_low + 32768) >> 16), b_right);
        *y++ = (int16_t)ek_clamp(ek_divide_small(ek_doubling_high(sum, multiplier), right) + out_zero, low, high);
        a += step_a;
        b += step_b;
    }
}

static void ek_add_s16(const ek_sum *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_add_row_s16, a, b, y);
}
