/* edgekd kernel; needs: product */
/* x where it is not negative, else x times the slope b; each side has a multiplier of its own. */
static void ek_prelu_row_s8(const void *rows, const void *first, const void *second, void *out)
{
    const ek_product *p = rows;
    const int8_t *x = first, *slope = second;
    int8_t *y = out;
    const int32_t x_zero = p->a_zero, slope_zero = p->b_zero, out_zero = p->out_zero;
    const int32_t above = p->above, below = p->multiplier, above_shift = p->above_shift, below_shift = p->shift;
    const int step_x = p->rows.step_a, step_slope = p->rows.step_b;
    for (int32_t n = p->rows.count; n > 0; n--) {
        const int32_t q = *x - x_zero;
        const int32_t found = q >= 0 ? ek_requantize(q, above, above_shift) : ek_requantize(q * (*slope - slope_zero), below, below_shift);
        *y++ = (int8_t)ek_clamp(found + out_zero, -128, 127);
        x += step_x;
        slope += step_slope;
    }
}

static void ek_prelu_s8(const ek_product *p, const int8_t *x, const int8_t *slope, int8_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_prelu_row_s8, x, slope, y);
}
