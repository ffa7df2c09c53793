/* edgekd kernel; needs: dot_s8 */
/* Fully connected layers, and convolutions of one tap without stride or padding: rows [in_h * in_w, in_c] times weights.
 * Weights lie in blocks of four channels [in_c][4], then one channel after the other; the bias holds what in_zero adds. */

static void ek_rows_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t rows = (int32_t)p->in_h * p->in_w, depth = p->in_c, out = p->out_c;
    (void)scratch;
    for (int32_t row = 0; row < rows; row += 2) {
        const int8_t *w = p->weights;
        const int32_t both = row + 1 < rows;
        int32_t c = 0;
        for (; c + 4 <= out; c += 4, w += 4 * depth) {
            ek_sum4 sum[2];
            sum[0] = ek_bias4_s8(p, c);
            if (both) {
                sum[1] = sum[0];
                ek_dot4x2_s8(sum, x, depth, w, depth);
                ek_store4_s8(p, c, &sum[1], y + out + c);
            } else {
                ek_dot4_s8(sum, x, w, depth);
            }
            ek_store4_s8(p, c, &sum[0], y + c);
        }
        for (; c < out; c++, w += depth) {
            y[c] = ek_output_s8(p, c, ek_dot1_s8(ek_bias_s8(p, c), x, w, depth));
            if (both) {
                y[out + c] = ek_output_s8(p, c, ek_dot1_s8(ek_bias_s8(p, c), x + depth, w, depth));
            }
        }
        x += 2 * depth;
        y += 2 * out;
    }
}
