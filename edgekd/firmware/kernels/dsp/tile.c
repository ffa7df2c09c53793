/* edgekd kernel; needs: simd, gather */
/* Columns of a convolution's input, four places side by side, as the multiplications want them. Of every four values k, k + 1, k + 2, k + 3
 * a tile holds first the pairs (k, k + 2) of the places 0 to 3, then the pairs (k + 1, k + 3): just as the instruction that splits a word
 * of weights pairs them. A tap that falls outside counts as one that reads in_zero. */
/* ``groups`` times four values from each of four addresses on. */
static int32_t *ek_spread_s8(int32_t *to, const int8_t *const from[EK_PLACES], int32_t groups)
{
    const int8_t *a = from[0], *b = from[1], *c = from[2], *d = from[3];
    for (; groups > 0; groups--, to += 8) {
        const uint32_t u = ek_load4(a), v = ek_load4(b), w = ek_load4(c), z = ek_load4(d);
        a += 4;
        b += 4;
        c += 4;
        d += 4;
        to[0] = (int32_t)ek_even_bytes(u);
        to[1] = (int32_t)ek_even_bytes(v);
        to[2] = (int32_t)ek_even_bytes(w);
        to[3] = (int32_t)ek_even_bytes(z);
        to[4] = (int32_t)ek_odd_bytes(u);
        to[5] = (int32_t)ek_odd_bytes(v);
        to[6] = (int32_t)ek_odd_bytes(w);
        to[7] = (int32_t)ek_odd_bytes(z);
    }
    return to;
}

/* Where depth is a multiple of 4: tap after tap, from the input itself or from a row of zeros, ``outside``. */
static void ek_tile_s8(const ek_conv *p, const int8_t *x, const ek_place place[EK_PLACES], const int8_t *outside, int32_t *tile)
{
    const int32_t x_step = p->dilation_w * p->in_c, y_step = p->dilation_h * p->in_w * p->in_c, groups = p->depth / 4;
    for (int32_t ky = 0; ky < p->k_h; ky++) {
        for (int32_t kx = 0; kx < p->k_w; kx++) {
            const int8_t *from[EK_PLACES];
            const int32_t step = ky * y_step + kx * x_step;
            for (int i = 0; i < EK_PLACES; i++) {
                const int32_t iy = place[i].iy + ky * p->dilation_h, ix = place[i].ix + kx * p->dilation_w;
                const int32_t inside = ek_within(iy, p->in_h) && ek_within(ix, p->in_w);
                from[i] = inside ? x + (place[i].at + step) : outside;
            }
            tile = ek_spread_s8(tile, from, groups);
        }
    }
}

