/* edgekd kernel; needs: */
/* The largest of each window, four channels at a time. */

static void ek_max_pool_s16(const ek_pool *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t channels = p->channels, line = p->in_w * channels, low = p->low, high = p->high;
    (void)scratch;
    for (int32_t oy = 0, top = -p->pad_top; oy < p->out_h; oy++, top += p->stride_h) {
        const int32_t y0 = ek_max(top, 0), y1 = ek_min(top + p->k_h, p->in_h);
        for (int32_t ox = 0, left = -p->pad_left; ox < p->out_w; ox++, left += p->stride_w) {
            const int32_t x0 = ek_max(left, 0), x1 = ek_min(left + p->k_w, p->in_w);
            const int16_t *corner = x + y0 * line + x0 * channels;
            for (int32_t c = 0, width; c < channels; c += width, corner += width) {
                int32_t found[4] = {low, low, low, low};
                const int16_t *start = corner;
                width = c + 4 <= channels ? 4 : 1;
                for (int32_t iy = y0; iy < y1; iy++, start += line) {
                    const int16_t *from = start;
                    if (width == 1) {
                        for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                            found[0] = ek_max(found[0], from[0]);
                        }
                        continue;
                    }
                    for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                        found[0] = ek_max(found[0], from[0]);
                        found[1] = ek_max(found[1], from[1]);
                        found[2] = ek_max(found[2], from[2]);
                        found[3] = ek_max(found[3], from[3]);
                    }
                }
                for (int32_t k = 0; k < width; k++) {
                    *y++ = (int16_t)ek_min(found[k], high);
                }
            }
        }
    }
}
