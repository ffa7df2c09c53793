/* edgekd kernel; needs: */
/* The largest of each window, four channels at a time. */

static void ek_max_pool_s8(const ek_pool *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t channels = p->channels, line = p->in_w * channels, low = p->low, high = p->high;
    (void)scratch;
    for (int32_t oy = 0, top = -p->pad_top; oy < p->out_h; oy++, top += p->stride_h) {
        const int32_t y0 = ek_max(top, 0), y1 = ek_min(top + p->k_h, p->in_h);
        for (int32_t ox = 0, left = -p->pad_left; ox < p->out_w; ox++, left += p->stride_w) {
            const int32_t x0 = ek_max(left, 0), x1 = ek_min(left + p->k_w, p->in_w);
            const int8_t *corner = x + y0 * line + x0 * channels;
            int32_t c = 0;
            for (; c + 4 <= channels; c += 4, corner += 4) {
                int32_t m0 = low, m1 = low, m2 = low, m3 = low;
                const int8_t *start = corner;
                for (int32_t iy = y0; iy < y1; iy++, start += line) {
                    const int8_t *from = start;
                    for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                        m0 = ek_max(m0, from[0]);
                        m1 = ek_max(m1, from[1]);
                        m2 = ek_max(m2, from[2]);
                        m3 = ek_max(m3, from[3]);
                    }
                }
                y[0] = (int8_t)ek_min(m0, high);
                y[1] = (int8_t)ek_min(m1, high);
                y[2] = (int8_t)ek_min(m2, high);
                y[3] = (int8_t)ek_min(m3, high);
                y += 4;
            }
            for (; c < channels; c++, corner++) {
                int32_t m = low;
                const int8_t *start = corner;
                for (int32_t iy = y0; iy < y1; iy++, start += line) {
                    const int8_t *from = start;
                    for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                        m = ek_max(m, *from);
                    }
                }
                *y++ = (int8_t)ek_min(m, high);
            }
        }
    }
}
