/* edgekd kernel; needs: product */
static void ek_mul_row_s16(const void *rows, const void *first, const void *second, void *out)
{
    const ek_product *p = rows;
    const int16_t *a = first, *b = second;
    int16_t *y = out;
    const int32_t a_zero = p->a_zero, b_zero = p->b_zero, out_zero = p->out_zero, low = p->low, high = p->high;
    const int32_t multiplier = p->multiplier, shift = p->shift;
    const int step_a = p->rows.step_a, step_b = p->rows.step_b;
    for (int32_t n = p->rows.count; n > 0; n--) {
        *y++ = (int16_t)ek_clamp(ek_requantize((*a - a_zero) * (*b - b_zero), multiplier, shift) + out_zero, low, high);
        a += step_a;
        b += step_b;
    }
}

static void ek_mul_s16(const ek_product *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_mul_row_s16, a, b, y);
}
