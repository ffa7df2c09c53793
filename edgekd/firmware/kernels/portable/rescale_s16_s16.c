/* edgekd kernel; needs: rescale */
static void ek_rescale_s16_s16(const ek_rescale *p, const int16_t *x, int16_t *y, void *scratch)
{
    (void)scratch;
    const int32_t above = p->above, below = p->below, in_zero = p->in_zero, out_zero = p->out_zero, low = p->low, high = p->high;
    const int32_t above_shift = p->above_shift, below_shift = p->below_shift, below_sign = p->below_sign;
    for (int32_t n = p->count; n > 0; n--) {
        const int32_t q = *x++ - in_zero;
        const int32_t found = q >= 0 ? ek_requantize(q, above, above_shift) : below_sign * ek_requantize(q, below, below_shift);
        *y++ = (int16_t)ek_clamp(found + out_zero, low, high);
    }
}
