/* edgekd kernel; needs: */
/* Mean over windows, padding not counted, a half rounded away from zero; four channels at a time. */

/* sum / count. `inverse` is 2^24 / count rounded up, exact for sums of int8 as long as count is at most 360; 0 for more. */
EK_INLINE int32_t ek_quotient_s8(int32_t sum, uint32_t count, uint32_t inverse)
{
    const uint32_t size = (uint32_t)(sum < 0 ? -sum : sum) + count / 2;
    const int32_t whole = (int32_t)(inverse != 0 ? (size * inverse) >> 24 : size / count);
    return sum < 0 ? -whole : whole;
}

static void ek_average_pool_s8(const ek_pool *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t channels = p->channels, line = p->in_w * channels, low = p->low, high = p->high;
    (void)scratch;
    for (int32_t oy = 0, top = -p->pad_top; oy < p->out_h; oy++, top += p->stride_h) {
        const int32_t y0 = ek_max(top, 0), y1 = ek_min(top + p->k_h, p->in_h);
        for (int32_t ox = 0, left = -p->pad_left; ox < p->out_w; ox++, left += p->stride_w) {
            const int32_t x0 = ek_max(left, 0), x1 = ek_min(left + p->k_w, p->in_w);
            const uint32_t count = (uint32_t)((y1 - y0) * (x1 - x0));
            const uint32_t inverse = count > 360 ? 0 : ((UINT32_C(1) << 24) + count - 1) / count;
            const int8_t *corner = x + y0 * line + x0 * channels;
            for (int32_t c = 0, width; c < channels; c += width, corner += width) {
                int32_t found[4] = {0, 0, 0, 0};
                const int8_t *start = corner;
                width = c + 4 <= channels ? 4 : 1;
                for (int32_t iy = y0; iy < y1; iy++, start += line) {
                    const int8_t *from = start;
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
                    *y++ = (int8_t)ek_clamp(ek_quotient_s8(found[k], count, inverse), low, high);
                }
            }
        }
    }
}
