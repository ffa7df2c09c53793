/* edgekd kernel; needs: dot_s4 */
/* As rows_s8, with weights of four bits; each channel after the blocks of four starts at a byte of its own. */

static void ek_rows_s4(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t rows = (int32_t)p->in_h * p->in_w, depth = p->in_c, out = p->out_c;
    (void)scratch;
    for (int32_t row = 0; row < rows; row++, x += depth, y += out) {
        const int8_t *w = p->weights;
        int32_t c = 0;
        for (; c + 4 <= out; c += 4, w += 2 * depth) {
            ek_sum4 sum = ek_bias4_s8(p, c);
            ek_dot4_s4(&sum, x, w, depth);
            ek_store4_s8(p, c, &sum, y + c);
        }
        for (; c < out; c++, w += (depth + 1) / 2) {
            y[c] = ek_output_s8(p, c, ek_dot1_s4(ek_bias_s8(p, c), x, w, 0, depth));
        }
    }
}
