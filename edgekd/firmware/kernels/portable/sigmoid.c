/* edgekd kernel; needs: */
/* Logistic function and tanh of 16 bits: x in steps of 1/12288, a table of the logistic function with an entry for each 1/24. */
typedef struct {
    const uint16_t *table; /* 256 entries in 16 bits */
    int32_t count;
    int16_t multiplier;
    uint8_t right;
} ek_sigmoid;

/* |x| in steps of 1/12288; the product wraps as TFLite's does. */
EK_INLINE int32_t ek_sigmoid_input(int32_t x, int32_t multiplier, int right)
{
    const uint32_t half = (UINT32_C(1) << right) >> 1;
    return (int32_t)((uint32_t)(x * multiplier) + half) >> right;
}

/* The table at `size` with `bits` behind an entry, on the line between two entries; past the end, `end`. */
EK_INLINE int32_t ek_sigmoid_line(const uint16_t *table, uint32_t size, int bits, int32_t end)
{
    const uint32_t entry = size >> bits;
    if (entry >= 255) {
        return end;
    }
    const int32_t at = table[entry], rest = (int32_t)(size & ((UINT32_C(1) << bits) - 1));
    return (int32_t)((uint32_t)at << bits) + rest * (table[entry + 1] - at);
}
