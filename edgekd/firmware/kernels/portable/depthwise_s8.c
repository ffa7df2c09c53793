/* edgekd kernel; needs: dot_s8 */
/* Depthwise convolution with one output a channel. Weights lie in blocks of four channels [k_h][k_w][4], then one channel after the other.
 * The bias holds what in_zero adds where no tap falls outside; there a tap outside counts as one that reads in_zero. */

/* ``lanes`` channels (4 or 1) from x on. */
EK_INLINE void ek_depthwise_lanes_s8(const ek_conv *p, int32_t iy0, int32_t ix0, const int8_t *x, const int8_t *w, ek_sum4 *sum, int32_t lanes)
{
    ek_sum4 s = *sum;
    for (int32_t ky = 0, iy = iy0; ky < p->k_h; ky++, iy += p->dilation_h) {
        const int32_t inside = iy >= 0 && iy < p->in_h;
        int32_t at = (iy * p->in_w + ix0) * p->in_c;
        for (int32_t kx = 0, ix = ix0; kx < p->k_w; kx++, ix += p->dilation_w, at += p->dilation_w * p->in_c, w += lanes) {
            if (!inside || ix < 0 || ix >= p->in_w) {
                const int32_t zero = p->in_zero;
                s.c0 += (uint32_t)(zero * w[0]);
                if (lanes == 4) {
                    s.c1 += (uint32_t)(zero * w[1]);
                    s.c2 += (uint32_t)(zero * w[2]);
                    s.c3 += (uint32_t)(zero * w[3]);
                }
                continue;
            }
            const int8_t *from = x + at;
            s.c0 += (uint32_t)(from[0] * w[0]);
            if (lanes == 4) {
                s.c1 += (uint32_t)(from[1] * w[1]);
                s.c2 += (uint32_t)(from[2] * w[2]);
                s.c3 += (uint32_t)(from[3] * w[3]);
            }
        }
    }
    *sum = s;
}

static void ek_depthwise_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t channels = p->out_c, taps = p->k_h * p->k_w;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++, y += channels) {
            const int32_t iy = oy * p->stride_h - p->pad_top, ix = ox * p->stride_w - p->pad_left;
            const int8_t *w = p->weights;
            int32_t c = 0;
            for (; c + 4 <= channels; c += 4, w += 4 * taps) {
                ek_sum4 sum = ek_bias4_s8(p, c);
                ek_depthwise_lanes_s8(p, iy, ix, x + c, w, &sum, 4);
                ek_store4_s8(p, c, &sum, y + c);
            }
            for (; c < channels; c++, w += taps) {
                ek_sum4 sum = {ek_bias_s8(p, c), 0, 0, 0};
                ek_depthwise_lanes_s8(p, iy, ix, x + c, w, &sum, 1);
                y[c] = ek_output_s8(p, c, sum.c0);
            }
        }
    }
}
