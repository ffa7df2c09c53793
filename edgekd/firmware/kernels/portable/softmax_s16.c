/* edgekd kernel; needs: */
/* Softmax of int16 over the last axis by tables of lines, as TFLite has it (2026); the output's scale is 1/32768. */
typedef struct {
    const int16_t *powers, *inverses; /* 513 each in Q0.15: exp over -10 ... 0, and 1 / (1 + x) over 0 ... 1 */
    int32_t rows, classes;
    int32_t multiplier; /* into steps of 10/65535 */
    int8_t shift;
} ek_softmax_wide;

/* `x` of 16 bits, the table spread over all of them. */
static int32_t ek_softmax_line(const int16_t *table, int32_t x)
{
    const int16_t *at = table + 256 + (x >> 7);
    return at[0] + (((at[1] - at[0]) * (x & 127) + 64) >> 7);
}

static void ek_softmax_s16(const ek_softmax_wide *p, const int16_t *x, int16_t *y, void *scratch)
{
    (void)scratch;
    const int32_t classes = p->classes;
    for (int32_t row = p->rows; row > 0; row--) {
        int32_t largest = INT16_MIN, right = 30;
        uint32_t total = 0;
        for (int32_t i = 0; i < classes; i++) {
            largest = ek_max(largest, x[i]);
        }
        for (int32_t i = 0; i < classes; i++) {
            const int32_t below = ek_requantize(x[i] - largest, p->multiplier, p->shift);
            const int32_t power = ek_softmax_line(p->powers, ek_clamp(ek_add_wrap(below, INT16_MAX), INT16_MIN, INT16_MAX));
            y[i] = (int16_t)power;
            total += (uint32_t)power;
        }
        while ((total & UINT32_C(0x40000000)) == 0) {
            total <<= 1;
            right--;
        }
        const int32_t above = (int32_t)((total + (UINT32_C(1) << 13)) >> 14) - (INT32_C(1) << 15) - (INT32_C(1) << 16);
        const int32_t inverse = ek_softmax_line(p->inverses, ek_clamp(above, INT16_MIN, INT16_MAX));
        for (int32_t i = 0; i < classes; i++) {
            y[i] = (int16_t)ek_clamp((y[i] * inverse + (INT32_C(1) << (right - 1))) >> right, 0, INT16_MAX);
        }
        x += classes;
        y += classes;
    }
}
