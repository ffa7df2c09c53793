/* edgekd kernel; needs: */
/* The nearest pixel, of any type: bytes; for sizes at which its position, as floats round it, lies on no line. */
typedef struct {
    const uint16_t *rows, *columns; /* which one of the input each one of the output is */
    uint16_t in_w, out_h, out_w;
    uint16_t channels; /* bytes of a pixel */
} ek_resize_table;

static void ek_resize_nearest_table(const ek_resize_table *p, const void *x, void *y, void *scratch)
{
    const uint32_t pixel = p->channels;
    uint8_t *to = y;
    (void)scratch;
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        const uint8_t *line = (const uint8_t *)x + (uint32_t)p->rows[oy] * p->in_w * pixel;
        for (int32_t ox = 0; ox < p->out_w; ox++) {
            const uint8_t *from = line + p->columns[ox] * pixel;
            for (uint32_t n = pixel; n > 0; n--) {
                *to++ = *from++;
            }
        }
    }
}
