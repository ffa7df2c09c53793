/* edgekd kernel; needs: dot_s16 */
/* As rows_s8, of 16-bit activations. */

static void ek_rows_s16(const ek_conv *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t rows = (int32_t)p->in_h * p->in_w, depth = p->in_c, out = p->out_c;
    (void)scratch;
    for (int32_t row = 0; row < rows; row++, x += depth, y += out) {
        const int8_t *w = p->weights;
        int32_t c = 0;
        for (; c + 4 <= out; c += 4, w += 4 * depth) {
            ek_wide4 sum = ek_bias4_s16(p, c);
            ek_dot4_s16(&sum, x, w, depth);
            ek_store4_s16(p, c, &sum, y + c);
        }
        for (; c < out; c++, w += depth) {
            y[c] = ek_output_s16(p, c, ek_dot1_s16(ek_bias_s16(p, c), x, w, depth));
        }
    }
}
