/* edgekd kernel; needs: rows */
/* a + b or a - b. Both operands gain bits at a common scale, twice the larger of theirs. The exporter hands the operand of the larger
 * scale in as `a`: its multiplier is a half, so that its term is a product with `unit`, which carries the sign too. The other's
 * multiplier comes in two parts, so that 32 bits hold every product. Sums are doubled, for ek_high. */
typedef struct {
    ek_rows rows;
    int32_t unit, b_unit;  /* twice the least bit of a's term, and of b's (2 or -2) */
    int32_t b_high, b_low; /* b's multiplier is b_high * 2^11 + b_low (int8) or b_high * 2^16 + b_low (int16) */
    int32_t multiplier;
    int16_t a_zero, b_zero, out_zero, low, high;
    int8_t b_right, right; /* shifts; the second one at least 1 */
} ek_sum;
