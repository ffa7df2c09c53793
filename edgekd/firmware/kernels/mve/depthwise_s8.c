/* edgekd kernel; needs: helium, dsp/words */
/* Depthwise convolution with one output a channel: eight channels at a time, of at least eight. Weights [k_h, k_w, out_c]; the bias holds what in_zero adds; a tap
 * outside counts as one that reads in_zero. Scratch: a pointer for every tap, then a row of in_zero. */

/* Four of eight channels: the even or the odd ones, as the multiplication leaves them. */
EK_INLINE int32x4_t ek_scale_channels_s8(const ek_conv *p, int32x4_t sums, uint32x4_t channels)
{
    const int32x4_t multiplier = vldrwq_gather_shifted_offset_s32(p->multiplier, channels);
    const int32x4_t shift = vldrbq_gather_offset_s32(p->shift, channels);
    return vaddq_n_s32(vrshlq_s32(ek_round_away(vqrdmulhq_s32(sums, multiplier)), shift), p->out_zero);
}

static void ek_depthwise_eight_s8(const ek_conv *p, const int8_t *const *tap, int32_t count, int32_t c, int8_t *y, int32_t common)
{
    const uint32x4_t even = vidupq_n_u32((uint32_t)c, 2), odd = vaddq_n_u32(even, 1);
    int32x4_t first = vdupq_n_s32(0), second = first;
    if (p->bias != NULL) {
        first = vldrwq_gather_shifted_offset_s32(p->bias, even);
        second = vldrwq_gather_shifted_offset_s32(p->bias, odd);
    }
    const int8_t *w = p->weights + c;
    const int32_t step = p->out_c;
    for (; count > 0; count--, tap++, w += step) {
        const int16x8_t u = vldrbq_s16(*tap + c), v = vldrbq_s16(w);
        first = vaddq_s32(first, vmullbq_int_s16(u, v));
        second = vaddq_s32(second, vmulltq_int_s16(u, v));
    }
    if (common) {
        int16x8_t out = vqmovnbq_s32(vdupq_n_s16(0), ek_scale_channels_s8(p, first, even));
        out = vqmovntq_s32(out, ek_scale_channels_s8(p, second, odd));
        out = vminq_s16(vmaxq_s16(out, vdupq_n_s16((int16_t)p->low)), vdupq_n_s16((int16_t)p->high));
        vstrbq_s16(y + c, out);
        return;
    }
    int32_t sum[8];
    vstrwq_scatter_shifted_offset_s32(sum, vidupq_n_u32(0, 2), first);
    vstrwq_scatter_shifted_offset_s32(sum, vaddq_n_u32(vidupq_n_u32(0, 2), 1), second);
    for (int32_t i = 0; i < 8; i++) {
        y[c + i] = ek_output_s8(p, c + i, (uint32_t)sum[i]);
    }
}

static void ek_depthwise_mve_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t count = p->k_h * p->k_w, common = ek_all_common(p);
    const int8_t **const taps = scratch;
    int8_t *const outside = (int8_t *)(taps + count);
    memset(outside, (int)p->in_zero, (size_t)p->in_c);
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++, y += p->out_c) {
            const int8_t **tap = taps;
            for (int32_t ky = 0; ky < p->k_h; ky++) {
                const int32_t iy = oy * p->stride_h - p->pad_top + ky * p->dilation_h;
                for (int32_t kx = 0; kx < p->k_w; kx++) {
                    const int32_t ix = ox * p->stride_w - p->pad_left + kx * p->dilation_w;
                    const int32_t inside = ek_within(iy, p->in_h) && ek_within(ix, p->in_w);
                    *tap++ = inside ? x + (iy * p->in_w + ix) * p->in_c : outside;
                }
            }
            for (int32_t c = 0; c < p->out_c; c += 8) {
                ek_depthwise_eight_s8(p, taps, count, ek_min(c, p->out_c - 8), y, common);
            }
        }
    }
}
