/* edgekd kernel; needs: */
/* Resizing [in_h, in_w, channels]: output i along an axis lies at i * scale + start of the input, in units of 2^-16
 * where the nearest pixel is taken, of 2^-10 where four are blended. */
typedef struct {
    int32_t scale_h, start_h, scale_w, start_w;
    uint16_t in_h, in_w, out_h, out_w;
    uint16_t channels; /* for the nearest value: bytes of a pixel */
} ek_resize;
