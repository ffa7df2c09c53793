/* edgekd kernel; needs: softmax */
/* With a table of the powers: where rows are many, or the scale so large that few of them are not 0. */
static void ek_softmax_table_s8(const ek_softmax *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const int32_t *powers = p->powers;
    const int32_t classes = p->classes, reach = p->reach;
    for (int32_t row = p->rows; row > 0; row--) {
        const int32_t largest = ek_softmax_largest(x, classes);
        uint32_t total = 0;
        int32_t right;
        for (int32_t i = 0; i < classes; i++) {
            const int32_t below = largest - x[i];
            total += below <= reach ? (uint32_t)ek_divide_by_power(powers[below], 12) : 0;
        }
        const int32_t inverse = ek_softmax_inverse(total, &right);
        for (int32_t i = 0; i < classes; i++) {
            const int32_t below = largest - x[i];
            y[i] = below <= reach ? ek_softmax_share(powers[below], inverse, right) : -128;
        }
        x += classes;
        y += classes;
    }
}
