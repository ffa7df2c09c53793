/* edgekd kernel; needs: */
/* Mean over windows, padding not counted, a half rounded away from zero; four channels at a time. */

EK_INLINE int32_t ek_quotient_s16(int32_t sum, uint32_t count)
{
    const int32_t whole = (int32_t)(((uint32_t)(sum < 0 ? -sum : sum) + count / 2) / count);
    return sum < 0 ? -whole : whole;
}

static void ek_average_pool_s16(const ek_pool *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t channels = p->channels, line = p->in_w * channels, low = p->low, high = p->high;
    (void)scratch;
    for (int32_t oy = 0, top = -p->pad_top; oy < p->out_h; oy++, top += p->stride_h) {
        const int32_t y0 = ek_max(top, 0), y1 = ek_min(top + p->k_h, p->in_h);
        for (int32_t ox = 0, left = -p->pad_left; ox < p->out_w; ox++, left += p->stride_w) {
            const int32_t x0 = ek_max(left, 0), x1 = ek_min(left + p->k_w, p->in_w);
            const uint32_t count = (uint32_t)((y1 - y0) * (x1 - x0));
            const int16_t *corner = x + y0 * line + x0 * channels;
            for (int32_t c = 0, width; c < channels; c += width, corner += width) {
                int32_t found[4] = {0, 0, 0, 0};
                const int16_t *start = corner;
                width = c + 4 <= channels ? 4 : 1;
                for (int32_t iy = y0; iy < y1; iy++, start += line) {
                    const int16_t *from = start;
                    if (width == 1) {
                        for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                            found[0] += from[0];
                        }
                        continue;
                    }
                    for (int32_t ix = x0; ix < x1; ix++, from += channels) {
                        found[0] += from[0];
                        found[1] += from[1];
                        found[2] += from[2];
                        found[3] += from[3];
                    }
                }
                for (int32_t k = 0; k < width; k++) {
                    *y++ = (int16_t)ek_clamp(ek_quotient_s16(found[k], count), low, high);
                }
            }
        }
    }
}
