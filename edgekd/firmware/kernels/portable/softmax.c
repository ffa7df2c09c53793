/* edgekd kernel; needs: */
/* Softmax of int8 over the last axis in fixed point, as gemmlowp (2015) has it; the output's scale is 1/256, its zero point -128. */
typedef struct {
    const int32_t *powers; /* exp(-scale * d) in Q0.31 for d = 0, 1 ... reach; NULL where they are computed */
    int32_t rows, classes;
    int32_t multiplier; /* scale * 2^26 = multiplier * 2^(left - 31) */
    int16_t reach;      /* the largest distance from the largest value that counts */
    uint8_t left;
} ek_softmax;

/* 2^31 times the inverse of `total`, as a mantissa in Q0.31 and how far a product with it is to be shifted right for 1/256. */
static int32_t ek_softmax_inverse(uint32_t total, int32_t *right)
{
    *right = 35;
    while ((total & UINT32_C(0x80000000)) == 0) {
        total <<= 1;
        --*right;
    }
    /* 1 / (1 + x) for x from 0 to 1, by three steps of Newton's method in Q2.29: `half` is (1 + x) / 2 in Q0.31. */
    const int32_t half = (int32_t)(total >> 1);
    int32_t y = INT32_C(1515870810) + ek_doubling_high(half, -INT32_C(1010580540));
    for (int step = 0; step < 3; step++) {
        y += ek_doubling_high(y, (INT32_C(1) << 29) - ek_doubling_high(half, y)) * 4;
    }
    return y >= INT32_C(1) << 30 ? INT32_MAX : y * 2;
}

static int32_t ek_softmax_largest(const int8_t *x, int32_t n)
{
    int32_t largest = -128;
    for (; n > 0; n--) {
        largest = ek_max(largest, *x++);
    }
    return largest;
}

EK_INLINE int8_t ek_softmax_share(int32_t power, int32_t inverse, int32_t right)
{
    const int32_t share = right > 31 ? 0 : ek_divide_by_power(ek_doubling_high(inverse, power), right);
    return (int8_t)ek_min(share - 128, 127);
}
