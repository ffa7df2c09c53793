/* edgekd kernel; needs: */
/* Where the window of one output of a convolution lies in its input. */

typedef struct {
    int32_t iy, ix, kx0, kx1;     /* rows from iy and columns from ix on, of which kx0 <= kx < kx1 are inside */
    int32_t runs, length, x_step; /* values that lie side by side in x and in the weights, how many times, and how far apart in x */
} ek_taps;

EK_INLINE ek_taps ek_taps_at(const ek_conv *p, int32_t oy, int32_t ox)
{
    const int32_t dilation = p->dilation_w;
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
    t.length = p->depth;
    t.x_step = dilation * p->in_c;
    if (dilation == 1 && p->depth == p->in_c) {
        t.length *= t.runs;
        t.runs = t.runs > 0;
    }
    return t;
}

/* Whether the row of tap ky is inside. */
EK_INLINE int32_t ek_row_inside(const ek_conv *p, const ek_taps *t, int32_t ky)
{
    const int32_t iy = t->iy + ky * p->dilation_h;
    return iy >= 0 && iy < p->in_h;
}

/* The first value that tap (ky, kx0) reads, as an index. */
EK_INLINE int32_t ek_row_start(const ek_conv *p, const ek_taps *t, int32_t ky)
{
    return ((t->iy + ky * p->dilation_h) * p->in_w + t->ix + t->kx0 * p->dilation_w) * p->in_c;
}

/* Whether some tap is outside. */
EK_INLINE int32_t ek_partial(const ek_conv *p, const ek_taps *t)
{
    return t->iy < 0 || t->iy + (p->k_h - 1) * p->dilation_h >= p->in_h || t->kx1 - t->kx0 < p->k_w;
}

/* Whether the place right of this one has all its columns inside, as this one has. */
EK_INLINE int32_t ek_pair(const ek_conv *p, const ek_taps *t, int32_t ox)
{
    return ox + 1 < p->out_w && t->kx1 - t->kx0 == p->k_w && t->ix + p->stride_w + (p->k_w - 1) * p->dilation_w < p->in_w;
}
