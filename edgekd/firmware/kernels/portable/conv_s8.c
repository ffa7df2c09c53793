/* edgekd kernel; needs: dot_s8 */
/* Convolution. Weights of each group lie in blocks of four channels [k_h][k_w][in_c / groups][4], then one channel after the other. The
 * bias holds what in_zero adds where no tap falls outside; there a tap outside counts as one that reads in_zero. */

/* The taps of one place in the input: rows from iy and columns from ix on, of which kx0 <= kx < kx1 are inside. */
typedef struct {
    int32_t iy, ix, kx0, kx1;
    int32_t runs, length, x_step; /* products that lie side by side in both, how many times, and how far apart in x */
} ek_taps;

EK_INLINE ek_taps ek_taps_at(const ek_conv *p, int32_t oy, int32_t ox)
{
    const int32_t dilation = p->dilation_w, depth = p->depth;
    ek_taps t;
    t.iy = oy * p->stride_h - p->pad_top;
    t.ix = ox * p->stride_w - p->pad_left;
    t.kx0 = 0;
    t.kx1 = p->k_w;
    while (t.kx0 < t.kx1 && t.ix + t.kx0 * dilation < 0) {
        t.kx0++;
    }
    while (t.kx1 > t.kx0 && t.ix + (t.kx1 - 1) * dilation >= p->in_w) {
        t.kx1--;
    }
    t.runs = t.kx1 - t.kx0;
    t.length = depth;
    t.x_step = dilation * p->in_c;
    if (dilation == 1 && depth == p->in_c) {
        t.length *= t.runs;
        t.runs = t.runs > 0;
    }
    return t;
}

/* What the taps that fall outside add to the sum of one channel, whose weights are ``lanes`` apart. */
static uint32_t ek_outside_s8(const ek_conv *p, const ek_taps *t, const int8_t *w, int32_t lanes)
{
    const int32_t depth = p->depth;
    uint32_t sum = 0;
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        const int32_t iy = t->iy + ky * p->dilation_h;
        const int32_t inside = iy >= 0 && iy < p->in_h;
        for (int32_t kx = 0; kx < p->k_w; kx++, w += depth * lanes) {
            if (inside && kx >= t->kx0 && kx < t->kx1) {
                continue;
            }
            for (int32_t k = 0; k < depth; k++) {
                sum += (uint32_t)(p->in_zero * w[k * lanes]);
            }
        }
    }
    return sum;
}

/* Four channels from c on, at one place or (``both``) two neighbours; x is the input from the channels of the group on. */
EK_INLINE void ek_conv4_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, const int8_t *w, ek_sum4 sum[2], int32_t both)
{
    const int32_t depth = p->depth;
    const int8_t *row = w + 4 * t->kx0 * depth;
    for (int32_t ky = 0; ky < p->k_h; ky++, row += 4 * p->k_w * depth) {
        const int32_t iy = t->iy + ky * p->dilation_h;
        if (iy < 0 || iy >= p->in_h) {
            continue;
        }
        const int8_t *from = x + (iy * p->in_w + t->ix + t->kx0 * p->dilation_w) * p->in_c, *v = row;
        for (int32_t run = 0; run < t->runs; run++, from += t->x_step, v += 4 * depth) {
            if (both) {
                ek_dot4x2_s8(sum, from, p->stride_w * p->in_c, v, t->length);
            } else {
                ek_dot4_s8(sum, from, v, t->length);
            }
        }
    }
}

static uint32_t ek_conv1_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, const int8_t *w, uint32_t sum)
{
    const int32_t depth = p->depth;
    const int8_t *row = w + t->kx0 * depth;
    for (int32_t ky = 0; ky < p->k_h; ky++, row += p->k_w * depth) {
        const int32_t iy = t->iy + ky * p->dilation_h;
        if (iy < 0 || iy >= p->in_h) {
            continue;
        }
        const int8_t *from = x + (iy * p->in_w + t->ix + t->kx0 * p->dilation_w) * p->in_c, *v = row;
        for (int32_t run = 0; run < t->runs; run++, from += t->x_step, v += depth) {
            sum = ek_dot1_s8(sum, from, v, t->length);
        }
    }
    return sum;
}

/* All channels at the place ``t`` and, where ``both``, at the one right of it, all of whose columns are inside as well. */
static void ek_conv_place_s8(const ek_conv *p, const ek_taps *t, const int8_t *x, int8_t *y, int32_t both)
{
    const int32_t groups = p->multiplier_or_groups, depth = p->depth, out = p->out_c / groups;
    const int32_t size = p->k_h * p->k_w * depth, last = t->iy + (p->k_h - 1) * p->dilation_h;
    const int32_t partial = p->in_zero != 0 && (t->iy < 0 || last >= p->in_h || t->kx1 - t->kx0 < p->k_w);
    const int8_t *w = p->weights;
    int32_t c = 0;
    for (int32_t group = 0; group < groups; group++, x += depth) {
        int32_t left = out;
        for (; left >= 4; left -= 4, c += 4, w += 4 * size) {
            ek_sum4 sum[2];
            sum[0] = ek_bias4_s8(p, c);
            if (partial) {
                sum[0].c0 += ek_outside_s8(p, t, w, 4);
                sum[0].c1 += ek_outside_s8(p, t, w + 1, 4);
                sum[0].c2 += ek_outside_s8(p, t, w + 2, 4);
                sum[0].c3 += ek_outside_s8(p, t, w + 3, 4);
            }
            if (both) {
                sum[1] = sum[0];
                ek_conv4_s8(p, t, x, w, sum, 1);
                ek_store4_s8(p, c, &sum[1], y + p->out_c + c);
            } else {
                ek_conv4_s8(p, t, x, w, sum, 0);
            }
            ek_store4_s8(p, c, &sum[0], y + c);
        }
        for (; left > 0; left--, c++, w += size) {
            const uint32_t first = ek_bias_s8(p, c) + (partial ? ek_outside_s8(p, t, w, 1) : 0u);
            y[c] = ek_output_s8(p, c, ek_conv1_s8(p, t, x, w, first));
            if (both) {
                y[p->out_c + c] = ek_output_s8(p, c, ek_conv1_s8(p, t, x + p->stride_w * p->in_c, w, first));
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
            const int32_t end = t.ix + p->stride_w + (p->k_w - 1) * p->dilation_w;
            const int32_t both = ox + 1 < p->out_w && t.kx1 - t.kx0 == p->k_w && end < p->in_w;
            ek_conv_place_s8(p, &t, x, y, both);
            y += both ? 2 * p->out_c : p->out_c;
            ox += both;
        }
    }
}
