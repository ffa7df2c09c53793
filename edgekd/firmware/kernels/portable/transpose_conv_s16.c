/* edgekd kernel; needs: dot_s16 */
/* As transpose_conv_s8, of 16-bit activations. */

static void ek_transpose_conv_s16(const ek_conv *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t depth = p->in_c, size = p->k_h * p->k_w * depth;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const int32_t fy = oy + p->pad_top, fx = ox + p->pad_left;
            const int8_t *w = p->weights;
            for (int32_t c = 0, lanes = 4; c < p->out_c; c += lanes, w += lanes * size, y += lanes) {
                lanes = c + 4 <= p->out_c ? 4 : 1;
                ek_wide4 sum = {ek_bias_s16(p, c), 0, 0, 0};
                if (lanes == 4) {
                    sum = ek_bias4_s16(p, c);
                }
                for (int32_t ky = fy % p->stride_h; ky < p->k_h && ky <= fy; ky += p->stride_h) {
                    const int32_t iy = (fy - ky) / p->stride_h;
                    for (int32_t kx = fx % p->stride_w; kx < p->k_w && kx <= fx && iy < p->in_h; kx += p->stride_w) {
                        const int32_t ix = (fx - kx) / p->stride_w;
                        if (ix >= p->in_w) {
                            continue;
                        }
                        const int16_t *from = x + (iy * p->in_w + ix) * depth;
                        const int8_t *v = w + (ky * p->k_w + kx) * depth * lanes;
                        if (lanes == 4) {
                            ek_dot4_s16(&sum, from, v, depth);
                        } else {
                            sum.c0 = ek_dot1_s16(sum.c0, from, v, depth);
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
