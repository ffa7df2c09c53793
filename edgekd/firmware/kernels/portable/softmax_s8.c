/* edgekd kernel; needs: softmax */
/* exp(x) in Q0.31 for x at most 0 in Q5.26: Taylor on the last quarter, then a product for every bit of the rest. */
static int32_t ek_softmax_power(int32_t x)
{
    /* exp(-1/4), exp(-1/2) ... exp(-16) in Q0.31 */
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    if (x == 0) {
        return INT32_MAX;
    }
    const int32_t last = (x & ((INT32_C(1) << 24) - 1)) - (INT32_C(1) << 24);
    const int32_t near = last * 32 + (INT32_C(1) << 28);
    const int32_t square = ek_doubling_high(near, near), cube = ek_doubling_high(square, near);
    const int32_t fourth = ek_divide_by_power(ek_doubling_high(square, square), 2);
    const int32_t rest = ek_doubling_high(fourth + cube, 715827883) + square;
    int32_t power = 1895147668 + ek_doubling_high(near + ek_divide_by_power(rest, 1), 1895147668);
    for (int bit = 0; bit < 7; bit++) {
        if ((last - x) & (INT32_C(1) << (24 + bit))) {
            power = ek_doubling_high(power, factors[bit]);
        }
    }
    return power;
}

static void ek_softmax_s8(const ek_softmax *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    for (int32_t row = p->rows; row > 0; row--, x += p->classes, y += p->classes) {
        const int32_t classes = p->classes, reach = p->reach, largest = ek_softmax_largest(x, classes);
        uint32_t total = 0;
        int32_t right = 0, inverse = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int32_t i = 0; i < classes; i++) {
                const int32_t below = x[i] - largest;
                int32_t power = 0;
                if (below >= -reach) {
                    power = ek_softmax_power(ek_doubling_high((int32_t)((uint32_t)below << p->left), p->multiplier));
                }
                if (pass == 0) {
                    total += (uint32_t)ek_divide_by_power(power, 12);
                } else {
                    y[i] = ek_softmax_share(power, inverse, right);
                }
            }
            if (pass == 0) {
                inverse = ek_softmax_inverse(total, &right);
            }
        }
    }
}
