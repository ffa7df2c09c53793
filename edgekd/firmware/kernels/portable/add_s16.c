/* edgekd kernel; needs: sum, round */
static void ek_add_row_s16(const void *rows, const void *first, const void *second, void *out)
{
    const ek_sum *p = rows;
    const int16_t *a = first, *b = second;
    int16_t *y = out;
    const int32_t unit = p->unit, base = -p->a_zero * p->unit, b_zero = p->b_zero, b_high = p->b_high, b_low = p->b_low;
    const int32_t b_unit = p->b_unit, multiplier = p->multiplier, offset = 2 * p->out_zero + 1, low = p->low, high = p->high;
    const int32_t b_right = p->b_right, right = p->right - 1;
    const int step_a = p->rows.step_a, step_b = p->rows.step_b;
    for (const int16_t *end = y + p->rows.count; y != end; y++) {
        const int32_t q = *b - b_zero;
        const int32_t sum = *a * unit + base + b_unit * ek_divide_small(q * b_high + ((q * b_low + 32768) >> 16), b_right);
        const int32_t found = ek_high(sum, multiplier);
        /* Half of what is left of a shift less far, with the zero point in it. */
        *y = (int16_t)ek_clamp((((found + (found >> 31)) >> right) + offset) >> 1, low, high);
        a += step_a;
        b += step_b;
    }
}

static void ek_add_s16(const ek_sum *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_add_row_s16, a, b, y);
}
