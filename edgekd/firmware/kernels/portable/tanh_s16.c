/* edgekd kernel; needs: sigmoid */
/* tanh(x) = 2 logistic(2x) - 1. */
static void ek_tanh_s16(const ek_sigmoid *p, const int16_t *x, int16_t *y, void *scratch)
{
    (void)scratch;
    const uint16_t *table = p->table;
    const int32_t multiplier = p->multiplier;
    const int right = p->right;
    for (int32_t n = p->count; n > 0; n--) {
        const int32_t q = ek_sigmoid_input(*x++, multiplier, right);
        const int32_t line = ek_sigmoid_line(table, (uint32_t)(q < 0 ? -q : q), 8, INT32_C(0xFFFF) << 8) - (INT32_C(1) << 23);
        *y++ = (int16_t)((q >= 0 ? line + (1 << 7) : -line + (1 << 7) - 1) >> 8);
    }
}
