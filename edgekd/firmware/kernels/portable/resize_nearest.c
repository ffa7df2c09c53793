/* edgekd kernel; needs: resize */
/* The nearest pixel, of any type: bytes. */
static void ek_resize_nearest(const ek_resize *p, const void *x, void *y, void *scratch)
{
    (void)scratch;
    const uint8_t *image = x;
    uint8_t *to = y;
    const uint32_t pixel = p->channels;
    for (int32_t oy = 0, at_h = p->start_h; oy < p->out_h; oy++, at_h += p->scale_h) {
        const uint8_t *line = image + (uint32_t)ek_min(at_h >> 16, p->in_h - 1) * p->in_w * pixel;
        for (int32_t ox = 0, at_w = p->start_w; ox < p->out_w; ox++, at_w += p->scale_w) {
            const uint8_t *from = line + (uint32_t)ek_min(at_w >> 16, p->in_w - 1) * pixel;
            for (uint32_t n = pixel; n > 0; n--) {
                *to++ = *from++;
            }
        }
    }
}
