/* edgekd kernel; needs: reduce */
/* Sums over some axes, scaled: a mean's multiplier holds 1 / count. The sum itself has 32 bits and wraps. */
static void ek_reduce_sum_s8(const ek_reduce *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const int32_t rows = p->reduced[1], columns = p->reduced[0], row_step = p->reduced_step[1], column_step = p->reduced_step[0];
    for (int32_t i2 = 0; i2 < p->kept[2]; i2++) {
        for (int32_t i1 = 0; i1 < p->kept[1]; i1++) {
            const int8_t *at = x + i2 * p->kept_step[2] + i1 * p->kept_step[1];
            for (int32_t i0 = p->kept[0]; i0 > 0; i0--, at += p->kept_step[0]) {
                int32_t found = p->offset;
                for (int32_t row = 0; row < rows; row++) {
                    const int8_t *from = at + row * row_step;
                    for (int32_t n = columns; n > 0; n--, from += column_step) {
                        found = ek_add_wrap(found, *from);
                    }
                }
                *y++ = (int8_t)ek_clamp(ek_requantize(found, p->multiplier, p->shift) + p->out_zero, INT8_MIN, INT8_MAX);
            }
        }
    }
}
