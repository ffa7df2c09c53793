/* edgekd kernel; needs: */
/* As batch_matmul_s8, of 16-bit values, whose zero points are 0; sums have 64 bits. */

static void ek_batch_matmul_s16(const ek_matmul *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    for (int32_t at = 0; at < p->count[0] * p->count[1] * p->count[2]; at++) {
        const int32_t i0 = at / (p->count[1] * p->count[2]), i1 = at / p->count[2] % p->count[1], i2 = at % p->count[2];
        const int16_t *left = a + i0 * p->a_step[0] + i1 * p->a_step[1] + i2 * p->a_step[2];
        const int16_t *right = b + i0 * p->b_step[0] + i1 * p->b_step[1] + i2 * p->b_step[2];
        for (int32_t row = 0; row < p->m; row++, left += p->k) {
            for (int32_t column = 0; column < p->n; column++) {
                const int16_t *v = right + column * p->b_column;
                int64_t sum = 0;
                for (int32_t i = 0; i < p->k; i++, v += p->b_row) {
                    sum += left[i] * v[0];
                }
                *y++ = (int16_t)ek_clamp(ek_requantize64(sum, p->multiplier, p->shift), p->low, p->high);
            }
        }
    }
}
