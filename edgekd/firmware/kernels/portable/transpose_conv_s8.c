/* edgekd kernel; needs: dot_s8 */
/* Transposed convolution: each output gathers the inputs that spread over it. Weights lie in blocks of four channels
 * [k_h][k_w][in_c][4], then one channel after the other. */

static void ek_transpose_conv_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t depth = p->in_c, size = p->k_h * p->k_w * depth, zero = p->in_zero;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const int32_t fy = oy + p->pad_top, fx = ox + p->pad_left;
            const int8_t *w = p->weights;
            for (int32_t c = 0, lanes = 4; c < p->out_c; c += lanes, w += lanes * size, y += lanes) {
                lanes = c + 4 <= p->out_c ? 4 : 1;
                ek_sum4 sum = {ek_bias_s8(p, c), 0, 0, 0};
                if (lanes == 4) {
                    sum = ek_bias4_s8(p, c);
                }
                for (int32_t ky = fy % p->stride_h; ky < p->k_h && ky <= fy; ky += p->stride_h) {
                    const int32_t iy = (fy - ky) / p->stride_h;
                    for (int32_t kx = fx % p->stride_w; kx < p->k_w && kx <= fx && iy < p->in_h; kx += p->stride_w) {
                        const int32_t ix = (fx - kx) / p->stride_w;
                        if (ix >= p->in_w) {
                            continue;
                        }
                        const int8_t *from = x + (iy * p->in_w + ix) * depth, *v = w + (ky * p->k_w + kx) * depth * lanes;
                        for (int32_t k = 0; k < depth; k++) {
                            if (lanes == 4) {
                                ek_add4_s8(&sum, from[k] - zero, v + 4 * k);
                            } else {
                                sum.c0 += (uint32_t)((from[k] - zero) * v[k]);
                            }
                        }
                    }
                }
                if (lanes == 4) {
                    ek_store4_s8(p, c, &sum, y);
                } else {
                    y[0] = ek_output_s8(p, c, sum.c0);
                }
            }
        }
    }
}
