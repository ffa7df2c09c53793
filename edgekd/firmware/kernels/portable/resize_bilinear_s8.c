/* edgekd kernel; needs: resize */
/* Four pixels blended with weights of 20 bits in all, a half rounded away from zero. */
static void ek_resize_bilinear_s8(const ek_resize *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const int32_t channels = p->channels, line = p->in_w * channels;
    for (int32_t oy = 0, at_h = p->start_h; oy < p->out_h; oy++, at_h += p->scale_h) {
        /* Beyond the border both values are the same one, and the weights still sum to 1. */
        const int32_t y0 = ek_min(ek_max(at_h, 0) >> 10, p->in_h - 1), y1 = ek_min(ek_max(at_h + 1023, 0) >> 10, p->in_h - 1);
        const int32_t down = at_h - y0 * 1024;
        for (int32_t ox = 0, at_w = p->start_w; ox < p->out_w; ox++, at_w += p->scale_w) {
            const int32_t x0 = ek_min(ek_max(at_w, 0) >> 10, p->in_w - 1), x1 = ek_min(ek_max(at_w + 1023, 0) >> 10, p->in_w - 1);
            const int32_t right = at_w - x0 * 1024;
            const int32_t w11 = down * right, w10 = down * 1024 - w11, w01 = right * 1024 - w11, w00 = (1 << 20) - w01 - down * 1024;
            const int8_t *a = x + y0 * line + x0 * channels, *b = x + y0 * line + x1 * channels;
            const int8_t *c = x + y1 * line + x0 * channels, *d = x + y1 * line + x1 * channels;
            for (int32_t n = channels; n > 0; n--) {
                const int32_t sum = *a++ * w00 + *b++ * w01 + *c++ * w10 + *d++ * w11;
                *y++ = (int8_t)((sum + (1 << 19) + (sum >> 31)) >> 20);
            }
        }
    }
}
