/* edgekd kernel; needs: */
/* Products of matrices [m, k] and [k, n], leading axes broadcast. The zero point of b leaves the inner loop: it multiplies a row's sum. */

static void ek_batch_matmul_s8(const ek_matmul *p, const int8_t *a, const int8_t *b, int8_t *y, void *scratch)
{
    (void)scratch;
    for (int32_t at = 0; at < p->count[0] * p->count[1] * p->count[2]; at++) {
        const int32_t i0 = at / (p->count[1] * p->count[2]), i1 = at / p->count[2] % p->count[1], i2 = at % p->count[2];
        const int8_t *left = a + i0 * p->a_step[0] + i1 * p->a_step[1] + i2 * p->a_step[2];
        const int8_t *right = b + i0 * p->b_step[0] + i1 * p->b_step[1] + i2 * p->b_step[2];
        for (int32_t row = 0; row < p->m; row++, left += p->k) {
            uint32_t start = 0;
            for (int32_t i = 0; i < p->k; i++) {
                start -= (uint32_t)((left[i] - p->a_zero) * p->b_zero);
            }
            for (int32_t column = 0; column < p->n; column++) {
                const int8_t *v = right + column * p->b_column;
                uint32_t sum = start;
                for (int32_t i = 0; i < p->k; i++, v += p->b_row) {
                    sum += (uint32_t)((left[i] - p->a_zero) * v[0]);
                }
                const int32_t q = ek_requantize((int32_t)sum, p->multiplier, p->shift);
                *y++ = (int8_t)ek_clamp(ek_add_wrap(q, p->out_zero), p->low, p->high);
            }
        }
    }
}
