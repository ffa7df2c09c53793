/* edgekd kernel; needs: helium, dsp/gather */
/* Convolution: one channel at four places at a time. Weights [out_c, k_h, k_w, depth]; the bias holds what in_zero adds. Scratch: four columns,
 * none for one tap without stride, padding and groups. */

EK_INLINE void ek_scale_places_s8(const ek_conv *p, int32_t c, int32x4_t sums, int8_t *y, uint32x4_t steps, int32_t places, int32_t common)
{
    const mve_pred16_t wanted = vctp32q((uint32_t)places);
    if (common) {
        const int32x4_t high = ek_round_away(vqrdmulhq_n_s32(sums, p->multiplier[c]));
        const int32x4_t out = vaddq_n_s32(vrshlq_n_s32(high, p->shift[c]), p->out_zero);
        vstrbq_scatter_offset_p_s32(y + c, steps, vminq_s32(vmaxq_s32(out, vdupq_n_s32(p->low)), vdupq_n_s32(p->high)), wanted);
        return;
    }
    int32_t sum[4];
    vstrwq_s32(sum, sums);
    for (int32_t i = 0; i < places; i++) {
        y[c + i * p->out_c] = ek_output_s8(p, c, (uint32_t)sum[i]);
    }
}

static void ek_conv_mve_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t size = p->k_h * p->k_w * p->depth, total = (int32_t)p->out_h * p->out_w, channels = p->out_c / p->multiplier_or_groups;
    const int32_t direct = size == p->in_c && total == (int32_t)p->in_h * p->in_w && p->pad_top == 0 && p->pad_left == 0;
    const int32_t common = ek_all_common(p);
    const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0, 1), p->out_c);
    int8_t *const columns = scratch;
    int32_t oy = 0, ox = 0;
    for (int32_t done = 0; done < total; done += EK_PLACES, y += EK_PLACES * p->out_c) {
        const int32_t places = ek_min(total - done, EK_PLACES);
        ek_place place[EK_PLACES];
        for (int32_t i = 0; i < places && !direct; i++) {
            place[i].iy = oy * p->stride_h - p->pad_top;
            place[i].ix = ox * p->stride_w - p->pad_left;
            place[i].at = (place[i].iy * p->in_w + place[i].ix) * p->in_c;
            if (++ox == p->out_w) {
                ox = 0;
                oy++;
            }
        }
        for (int32_t c = 0; c < p->out_c; c += channels) {
            const int8_t *column[EK_PLACES];
            for (int32_t i = 0; i < EK_PLACES; i++) {
                const int32_t at = i < places ? i : 0;
                column[i] = direct ? x + (done + at) * size : columns + at * size;
                if (i < places && !direct) {
                    ek_gather_s8(p, x + c / channels * p->depth, &place[i], columns + i * size, size);
                }
            }
            const int8_t *w = p->weights + c * size;
            for (int32_t n = c; n < c + channels; n++, w += size) {
                const int32x4_t sums = ek_four_dots_s8(w, column, size, p->bias == NULL ? 0 : p->bias[n]);
                ek_scale_places_s8(p, n, sums, y, steps, places, common);
            }
        }
    }
}
