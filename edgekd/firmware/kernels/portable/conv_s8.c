/* edgekd kernel; needs: dot_s8, taps */
/* Convolution. Weights of each group lie in blocks of four channels [k_h][k_w][depth][4], then one channel after the other. The bias holds
 * what in_zero adds where no tap falls outside; there a tap outside counts as one that reads in_zero. */

/* What the taps outside add to the sums of four channels (lanes 4) or of one. */
static void ek_conv_outside_s8(const ek_conv *p, const ek_taps *t, const int8_t *w, int32_t lanes, ek_sum4 *sum)
{
    const int32_t depth = p->depth, zero = p->in_zero;
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        for (int32_t kx = 0; kx < p->k_w; kx++, w += depth * lanes) {
            if (ek_tap_inside(t, ky, kx)) {
                continue;
            }
            for (int32_t k = 0; k < depth; k++) {
                if (lanes == 4) {
                    ek_add4_s8(sum, zero, w + 4 * k);
                } else {
                    sum->c0 += (uint32_t)(zero * w[k]);
                }
            }
        }
    }
}

/* Four channels at one place or (``both``) two neighbours; x is the input from the channels of the group on. */
EK_INLINE void ek_conv4_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, const int8_t *w, ek_sum4 sum[2], int32_t both)
{
    const int32_t step = p->stride_w * p->in_c, next = ek_row_of_weights(p, 4);
    const int8_t *row = w + ek_first_weight(p, t, 4);
    for (int32_t ky = t->ky0, at = t->first; ky < t->ky1; ky++, at += t->row, row += next) {
        const int8_t *from = x + at, *v = row;
        for (int32_t run = t->runs; run > 0; run--, from += t->x_step, v += 4 * p->depth) {
            if (both) {
                ek_dot4x2_s8(sum, from, step, v, t->length);
            } else {
                ek_dot4_s8(sum, from, v, t->length);
            }
        }
    }
}

static uint32_t ek_conv1_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, const int8_t *w, uint32_t sum)
{
    const int8_t *row = w + ek_first_weight(p, t, 1);
    for (int32_t ky = t->ky0, at = t->first; ky < t->ky1; ky++, at += t->row, row += ek_row_of_weights(p, 1)) {
        const int8_t *from = x + at, *v = row;
        for (int32_t run = t->runs; run > 0; run--, from += t->x_step, v += p->depth) {
            sum = ek_dot1_s8(sum, from, v, t->length);
        }
    }
    return sum;
}

/* All channels at the place ``t`` and, where ``both``, at the one right of it. */
EK_INLINE void ek_conv_place_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, int8_t *y, int32_t both)
{
    const int32_t groups = p->multiplier_or_groups, out = p->out_c / groups, size = p->k_h * p->k_w * p->depth;
    const int32_t partial = p->in_zero != 0 && ek_partial(p, t);
    const int8_t *w = p->weights;
    int32_t c = 0;
    for (int32_t group = 0; group < groups; group++, x += p->depth) {
        const int32_t start = c, whole = start + out / 4 * 4;
        for (; c < whole; c += 4, w += 4 * size) {
            ek_sum4 sum[2];
            sum[0] = ek_bias4_s8(p, c);
            if (partial) {
                ek_conv_outside_s8(p, t, w, 4, &sum[0]);
            }
            sum[1] = sum[0];
            ek_conv4_s8(p, t, x, w, sum, both);
            ek_store4_s8(p, c, &sum[0], y + c);
            if (both) {
                ek_store4_s8(p, c, &sum[1], y + p->out_c + c);
            }
        }
        for (; c < start + out; c++, w += size) {
            ek_sum4 sum = {ek_bias_s8(p, c), 0, 0, 0};
            if (partial) {
                ek_conv_outside_s8(p, t, w, 1, &sum);
            }
            y[c] = ek_output_s8(p, c, ek_conv1_s8(p, t, x, w, sum.c0));
            if (both) {
                y[p->out_c + c] = ek_output_s8(p, c, ek_conv1_s8(p, t, x + p->stride_w * p->in_c, w, sum.c0));
            }
        }
    }
}

static void ek_conv_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const ek_taps t = ek_taps_at(p, oy, ox);
            if (ek_pair(p, &t, ox)) {
                ek_conv_place_s8(p, &t, x, y, 1);
                y += 2 * p->out_c;
                ox++;
            } else {
                ek_conv_place_s8(p, &t, x, y, 0);
                y += p->out_c;
            }
        }
    }
}
