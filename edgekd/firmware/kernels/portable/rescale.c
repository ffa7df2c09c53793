/* edgekd kernel; needs: */
/* Into another scale, with one multiplier for values from zero up and one for those below: requantization, rectifiers, leaky ones. */
typedef struct {
    int32_t count;
    int32_t above, below; /* multipliers */
    int16_t in_zero, out_zero, low, high;
    int8_t above_shift, below_shift;
    int8_t below_sign;
} ek_rescale;
