/* edgekd kernel; needs: rows, round */
/* (a - b)^2: both to 7 more bits and a common scale (twice the larger), subtracted, squared, brought to the output's scale. */
typedef struct {
    ek_rows rows;
    int32_t a_multiplier, b_multiplier, multiplier;
    int16_t a_zero, b_zero, out_zero;
    int8_t a_right, b_right, shift; /* only the last may be to the left */
} ek_squared_difference;

static void ek_squared_difference_row_s8(const void *rows, const void *first, const void *second, void *out)
{
    const ek_squared_difference *p = rows;
    const int8_t *a = first, *b = second;
    int8_t *y = out;
    const int32_t a_zero = p->a_zero, b_zero = p->b_zero, out_zero = p->out_zero;
    const int32_t a_multiplier = p->a_multiplier, b_multiplier = p->b_multiplier, multiplier = p->multiplier, shift = p->shift;
    const int a_right = p->a_right, b_right = p->b_right, step_a = p->rows.step_a, step_b = p->rows.step_b;
    for (int32_t n = p->rows.count; n > 0; n--) {
        const int32_t left = ek_divide_small(ek_doubling_high((*a - a_zero) * 128, a_multiplier), a_right);
        const int32_t less = left - ek_divide_small(ek_doubling_high((*b - b_zero) * 128, b_multiplier), b_right);
        *y++ = (int8_t)ek_clamp(ek_requantize(less * less, multiplier, shift) + out_zero, -128, 127);
        a += step_a;
        b += step_b;
    }
}

static void ek_squared_difference_s8(const ek_squared_difference *p, const int8_t *a, const int8_t *b, int8_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(&p->rows, ek_squared_difference_row_s8, a, b, y);
}
