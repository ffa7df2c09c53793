/* edgekd kernel; needs: sigmoid */
static void ek_logistic_s16(const ek_sigmoid *p, const int16_t *x, int16_t *y, void *scratch)
{
    (void)scratch;
    const uint16_t *table = p->table;
    const int32_t multiplier = p->multiplier;
    const int right = p->right;
    for (int32_t n = p->count; n > 0; n--) {
        const int32_t q = ek_sigmoid_input(*x++, multiplier, right);
        const int32_t line = ek_sigmoid_line(table, (uint32_t)(q < 0 ? -q : q), 9, INT32_C(0x7FFF) << 10);
        *y++ = (int16_t)((q >= 0 ? line + (1 << 9) : (INT32_C(1) << 25) - line + (1 << 9) - 1) >> 10);
    }
}
