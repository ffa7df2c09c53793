/* edgekd kernel; needs: dot_s16 */
/* Depthwise convolution of 16-bit activations with one output a channel; weights [k_h][k_w][channels] as they are. */

static void ek_depthwise_s16(const ek_conv *p, const int16_t *x, int16_t *y, void *scratch)
{
    const int32_t channels = p->out_c;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        for (int32_t ox = 0; ox < p->out_w; ox++, y += channels) {
            const int32_t iy0 = oy * p->stride_h - p->pad_top, ix0 = ox * p->stride_w - p->pad_left;
            for (int32_t c = 0; c < channels; c++) {
                const int8_t *w = p->weights + c;
                int64_t sum = ek_bias_s16(p, c);
                for (int32_t ky = 0, iy = iy0; ky < p->k_h; ky++, iy += p->dilation_h) {
                    for (int32_t kx = 0, ix = ix0; kx < p->k_w; kx++, ix += p->dilation_w, w += channels) {
                        if (iy >= 0 && iy < p->in_h && ix >= 0 && ix < p->in_w) {
                            sum += x[(iy * p->in_w + ix) * channels + c] * w[0];
                        }
                    }
                }
                y[c] = ek_output_s16(p, c, sum);
            }
        }
    }
}
