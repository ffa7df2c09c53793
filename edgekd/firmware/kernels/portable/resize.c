/* edgekd kernel; needs: */
/* Resizing [in_h, in_w, channels]: output i along an axis lies at i * scale + start of the input, in 2^-bits. */
typedef struct {
    int32_t scale_h, start_h, scale_w, start_w;
    uint16_t in_h, in_w, out_h, out_w;
    uint16_t channels; /* for the nearest value: bytes of a pixel */
    uint8_t bits;      /* 10 where pixels are blended */
} ek_resize;
