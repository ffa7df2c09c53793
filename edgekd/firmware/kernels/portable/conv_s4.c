/* edgekd kernel; needs: dot_s4, taps */
/* As conv_s8, with weights of four bits; each channel after the blocks of four starts at a byte of its own. */

static void ek_conv_s4(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t groups = p->multiplier_or_groups, out = p->out_c / groups, depth = p->depth, size = p->k_h * p->k_w * depth;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const ek_taps t = ek_taps_at(p, oy, ox);
            const int8_t *w = p->weights;
            int32_t c = 0;
            for (int32_t group = 0; group < groups; group++) {
                for (int32_t left = out, lanes = 4; left > 0; left -= lanes, c += lanes, y += lanes) {
                    lanes = left >= 4 ? 4 : 1;
                    ek_sum4 sum = {ek_bias_s8(p, c), 0, 0, 0};
                    if (lanes == 4) {
                        sum = ek_bias4_s8(p, c);
                    }
                    for (int32_t ky = 0; ky < p->k_h; ky++) {
                        for (int32_t kx = 0; kx < p->k_w; kx++) {
                            const int32_t at = (ky * p->k_w + kx) * depth;
                            if (ek_tap_inside(&t, ky, kx)) {
                                const int32_t tap = t.first + (ky - t.ky0) * t.row + (kx - t.kx0) * p->dilation_w * p->in_c;
                                const int8_t *from = x + tap + group * depth;
                                if (lanes == 4) {
                                    ek_dot4_s4(&sum, from, w + 2 * at, depth);
                                } else {
                                    sum.c0 = ek_dot1_s4(sum.c0, from, w, at, depth);
                                }
                                continue;
                            }
                            for (int32_t k = at; k < at + depth && p->in_zero != 0; k++) {
                                if (lanes == 4) {
                                    ek_add4_s4(&sum, p->in_zero, w + 2 * k);
                                } else {
                                    sum.c0 += (uint32_t)(p->in_zero * ek_nibble(w, k));
                                }
                            }
                        }
                    }
                    if (lanes == 4) {
                        ek_store4_s8(p, c, &sum, y);
                    } else {
                        y[0] = ek_output_s8(p, c, sum.c0);
                    }
                    w += lanes == 4 ? 2 * size : (size + 1) / 2;
                }
            }
        }
    }
}
