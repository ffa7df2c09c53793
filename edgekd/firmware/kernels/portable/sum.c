/* edgekd kernel; needs: rows, round */
/* a + b or a - b. Both operands gain bits (20 of int8, 15 of int16) at a common scale, twice the larger of theirs. The exporter hands the
 * operand of the larger scale in as `a`: its multiplier is a half, so that its term is a shift, or a product with `unit` where it is
 * subtracted. The other's multiplier comes in two parts, so that 32 bits hold every product. Sums are doubled, for ek_high. */
typedef struct {
    ek_rows rows;
    int32_t unit;           /* 2^20 or -2^20, of int16 2^15 or -2^15 */
    int32_t base;           /* less a's zero point times it */
    int32_t b_high, b_low;  /* b's multiplier is b_high * 2^11 + b_low (int8) or b_high * 2^16 + b_low (int16) */
    int32_t b_base, b_less; /* less b's zero point times them; the second one with half of what is shifted out */
    int32_t multiplier;
    int16_t offset, low, high; /* offset: twice the output's zero point, and 1 */
    int8_t b_right, right;     /* shifts but for their last bit */
    int8_t b_sign;
} ek_sum;

/* b's term, doubled. */
EK_INLINE int32_t ek_sum_term(const ek_sum *p, int32_t b, int32_t less)
{
    const int32_t term = b * p->b_high + p->b_base + ((b * p->b_low + p->b_less) >> less);
    return (((term + (term >> 31)) >> p->b_right) + 1) & ~INT32_C(1);
}

EK_INLINE int32_t ek_sum_output(const ek_sum *p, int32_t sum)
{
    const int32_t found = ek_high(sum, p->multiplier);
    return (((found + (found >> 31)) >> p->right) + p->offset) >> 1;
}
