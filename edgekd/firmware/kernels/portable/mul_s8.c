/* edgekd kernel; needs: product, round */
static void ek_mul_row_s8(const void *rows, const void *first, const void *second, void *out)
{
    const ek_product *p = rows;
    const int8_t *a = first, *b = second;
    int8_t *y = out;
    const int32_t a_zero = p->a_zero, b_zero = p->b_zero, out_zero = p->out_zero, low = p->low, high = p->high;
    const int32_t multiplier = p->multiplier, unit = INT32_C(2) << ek_max(p->shift, 0), right = ek_max(-p->shift, 0);
    const int step_a = p->rows.step_a, step_b = p->rows.step_b;
    for (const int8_t *end = y + p->rows.count; y != end; y++) {
        const int32_t found = ek_high((*a - a_zero) * (*b - b_zero) * unit, multiplier);
        *y = (int8_t)ek_clamp(ek_divide_small(found, right) + out_zero, low, high);
        a += step_a;
        b += step_b;
    }
}

static void ek_mul_s8(const ek_product *p, const int8_t *a, const int8_t *b, int8_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_mul_row_s8, a, b, y);
}
