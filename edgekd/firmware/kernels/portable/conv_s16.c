/* edgekd kernel; needs: dot_s16, taps */
/* As conv_s8, of 16-bit activations. */

static void ek_conv_s16(const ek_conv *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t groups = p->multiplier_or_groups, out = p->out_c / groups, depth = p->depth, size = p->k_h * p->k_w * depth;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const ek_taps t = ek_taps_at(p, oy, ox);
            const int8_t *w = p->weights;
            int32_t c = 0;
            for (int32_t group = 0; group < groups; group++) {
                const int16_t *in = x + group * depth;
                int32_t lanes = 0;
                for (int32_t left = out; left > 0; left -= lanes, c += lanes, w += lanes * size, y += lanes) {
                    lanes = left >= 4 ? 4 : 1;
                    ek_wide4 sum = {ek_bias_s16(p, c), 0, 0, 0};
                    if (lanes == 4) {
                        sum = ek_bias4_s16(p, c);
                    }
                    const int8_t *row = w + ek_first_weight(p, &t, lanes);
                    for (int32_t ky = t.ky0, at = t.first; ky < t.ky1; ky++, at += t.row, row += ek_row_of_weights(p, lanes)) {
                        const int16_t *from = in + at;
                        const int8_t *v = row;
                        for (int32_t run = t.runs; run > 0; run--, from += t.x_step, v += depth * lanes) {
                            if (lanes == 4) {
                                ek_dot4_s16(&sum, from, v, t.length);
                            } else {
                                sum.c0 = ek_dot1_s16(sum.c0, from, v, t.length);
                            }
                        }
                    }
                    if (lanes == 4) {
                        ek_store4_s16(p, c, &sum, y);
                    } else {
                        y[0] = ek_output_s16(p, c, sum.c0);
                    }
                }
            }
        }
    }
}
