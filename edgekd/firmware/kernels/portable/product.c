/* edgekd kernel; needs: rows */
/* a * b; and where a parametric rectifier has a slope b for each a below zero, the multiplier for those above. */
typedef struct {
    ek_rows rows;
    int32_t multiplier, above;
    int16_t a_zero, b_zero, out_zero, low, high;
    int8_t shift, above_shift;
} ek_product;
