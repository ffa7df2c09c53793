/* edgekd kernel; needs: rows */
/* a + b or a - b. Both operands gain bits at a common scale, twice the larger of theirs. The exporter hands the operand of the larger
   scale in as `a`: its multiplier is a half, so that its term is a shift, `unit`, which carries the sign too. The other's multiplier
   is b_high * 2^16 + b_low, so that 32 bits hold every product. */
typedef struct {
    ek_rows rows;
    int32_t unit, b_high, b_low, multiplier;
    int16_t a_zero, b_zero, out_zero, low, high;
    int8_t b_right, right; /* shifts */
    int8_t b_sign;
} ek_sum;
