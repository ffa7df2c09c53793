/* edgekd kernel; needs: helium */
/* Fully connected layers: four channels at a time. Weights [out_c, in_c]; the bias holds what in_zero adds. */

static void ek_row_mve_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t depth = p->in_c, rows = (int32_t)p->in_h * p->in_w, common = ek_all_common(p);
    (void)scratch;
    for (int32_t row = 0; row < rows; row++, x += depth, y += p->out_c) {
        for (int32_t c = 0; c < p->out_c; c += 4) {
            const mve_pred16_t wanted = vctp32q((uint32_t)(p->out_c - c));
            const int8_t *w[4];
            for (int32_t i = 0; i < 4; i++) {
                w[i] = p->weights + ek_min(c + i, p->out_c - 1) * depth;
            }
            int32x4_t sums = ek_four_dots_s8(x, w, depth, 0);
            if (p->bias != NULL) {
                sums = vaddq_s32(sums, vldrwq_z_s32(p->bias + c, wanted));
            }
            if (common) {
                const int32x4_t high = ek_round_away(vqrdmulhq_s32(sums, vldrwq_z_s32(p->multiplier + c, wanted)));
                const int32x4_t out = vaddq_n_s32(vrshlq_s32(high, vldrbq_z_s32(p->shift + c, wanted)), p->out_zero);
                vstrbq_p_s32(y + c, vminq_s32(vmaxq_s32(out, vdupq_n_s32(p->low)), vdupq_n_s32(p->high)), wanted);
                continue;
            }
            int32_t sum[4];
            vstrwq_s32(sum, sums);
            for (int32_t i = 0; i < 4 && c + i < p->out_c; i++) {
                y[c + i] = ek_output_s8(p, c + i, (uint32_t)sum[i]);
            }
        }
    }
}
