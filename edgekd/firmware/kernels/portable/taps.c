/* edgekd kernel; needs: */
/* Where the window of one output of a convolution lies in its input. */

typedef struct {
    int32_t ky0, ky1, kx0, kx1;   /* the taps that are inside */
    int32_t first, row;           /* what the first of them reads, as an index into x, and from one row of taps to the next */
    int32_t runs, length, x_step; /* values that lie side by side in x and in the weights, how many times, and how far apart in x */
} ek_taps;

EK_INLINE ek_taps ek_taps_at(const ek_conv *p, int32_t oy, int32_t ox)
{
    const int32_t iy = oy * p->stride_h - p->pad_top, ix = ox * p->stride_w - p->pad_left;
    ek_taps t;
    t.ky0 = 0;
    t.ky1 = p->k_h;
    while (t.ky0 < t.ky1 && iy + t.ky0 * p->dilation_h < 0) {
        t.ky0++;
    }
    while (t.ky1 > t.ky0 && iy + (t.ky1 - 1) * p->dilation_h >= p->in_h) {
        t.ky1--;
    }
    t.kx0 = 0;
    t.kx1 = p->k_w;
    while (t.kx0 < t.kx1 && ix + t.kx0 * p->dilation_w < 0) {
        t.kx0++;
    }
    while (t.kx1 > t.kx0 && ix + (t.kx1 - 1) * p->dilation_w >= p->in_w) {
        t.kx1--;
    }
    t.first = ((iy + t.ky0 * p->dilation_h) * p->in_w + ix + t.kx0 * p->dilation_w) * p->in_c;
    t.row = p->dilation_h * p->in_w * p->in_c;
    t.runs = t.kx1 - t.kx0;
    t.length = p->depth;
    t.x_step = p->dilation_w * p->in_c;
    if (p->dilation_w == 1 && p->depth == p->in_c) {
        t.length *= t.runs;
        t.runs = t.runs > 0;
    }
    return t;
}

/* The weights of the first tap that is inside, ``lanes`` channels side by side, as an index; a row of taps has ek_row_of_weights. */
EK_INLINE int32_t ek_first_weight(const ek_conv *p, const ek_taps *t, int32_t lanes)
{
    return (t->ky0 * p->k_w + t->kx0) * p->depth * lanes;
}

EK_INLINE int32_t ek_row_of_weights(const ek_conv *p, int32_t lanes) { return p->k_w * p->depth * lanes; }

EK_INLINE int32_t ek_tap_inside(const ek_taps *t, int32_t ky, int32_t kx)
{
    return ky >= t->ky0 && ky < t->ky1 && kx >= t->kx0 && kx < t->kx1;
}

/* Whether some tap is outside. */
EK_INLINE int32_t ek_partial(const ek_conv *p, const ek_taps *t) { return t->ky1 - t->ky0 < p->k_h || t->kx1 - t->kx0 < p->k_w; }

/* Whether the place right of this one has all its columns inside, as this one has. */
EK_INLINE int32_t ek_pair(const ek_conv *p, const ek_taps *t, int32_t ox)
{
    const int32_t end = (ox + 1) * p->stride_w - p->pad_left + (p->k_w - 1) * p->dilation_w;
    return ox + 1 < p->out_w && t->kx1 - t->kx0 == p->k_w && end < p->in_w;
}
