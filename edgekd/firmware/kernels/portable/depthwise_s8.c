/* edgekd kernel; needs: dot_s8, taps */
/* Depthwise convolution with one output a channel. Weights lie in blocks of four channels [k_h][k_w][4], then one channel after the other.
 * The bias holds what in_zero adds where no tap falls outside; there a tap outside counts as one that reads in_zero. */

/* ``lanes`` channels (4 or 1) from x on. */
EK_INLINE void ek_depthwise_lanes_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, const int8_t *w, ek_sum4 *sum, int32_t lanes)
{
    const int32_t columns = t->kx1 - t->kx0, step = t->x_step, next = p->k_w * lanes;
    const int8_t *row = w + (t->ky0 * p->k_w + t->kx0) * lanes;
    ek_sum4 s = *sum;
    for (int32_t ky = t->ky0, at = t->first; ky < t->ky1; ky++, at += t->row, row += next) {
        const int8_t *from = x + at, *v = row;
        for (int32_t left = columns; left > 0; left--, from += step, v += lanes) {
            s.c0 += (uint32_t)(from[0] * v[0]);
            if (lanes == 4) {
                s.c1 += (uint32_t)(from[1] * v[1]);
                s.c2 += (uint32_t)(from[2] * v[2]);
                s.c3 += (uint32_t)(from[3] * v[3]);
            }
        }
    }
    *sum = s;
}

/* What the taps outside add. */
static void ek_depthwise_outside_s8(const ek_conv *p, const ek_taps *t, const int8_t *w, int32_t lanes, ek_sum4 *sum)
{
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        for (int32_t kx = 0; kx < p->k_w; kx++, w += lanes) {
            if (ek_tap_inside(t, ky, kx)) {
                continue;
            }
            if (lanes == 4) {
                ek_add4_s8(sum, p->in_zero, w);
            } else {
                sum->c0 += (uint32_t)(p->in_zero * w[0]);
            }
        }
    }
}

static void ek_depthwise_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t channels = p->out_c, taps = p->k_h * p->k_w;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++, y += channels) {
            const ek_taps t = ek_taps_at(p, oy, ox);
            const int32_t partial = p->in_zero != 0 && ek_partial(p, &t);
            const int8_t *w = p->weights;
            int32_t c = 0;
            for (; c + 4 <= channels; c += 4, w += 4 * taps) {
                ek_sum4 sum = ek_bias4_s8(p, c);
                if (partial) {
                    ek_depthwise_outside_s8(p, &t, w, 4, &sum);
                }
                ek_depthwise_lanes_s8(p, &t, x + c, w, &sum, 4);
                ek_store4_s8(p, c, &sum, y + c);
            }
            for (; c < channels; c++, w += taps) {
                ek_sum4 sum = {ek_bias_s8(p, c), 0, 0, 0};
                if (partial) {
                    ek_depthwise_outside_s8(p, &t, w, 1, &sum);
                }
                ek_depthwise_lanes_s8(p, &t, x + c, w, &sum, 1);
                y[c] = ek_output_s8(p, c, sum.c0);
            }
        }
    }
}
