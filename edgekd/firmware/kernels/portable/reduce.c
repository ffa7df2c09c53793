/* edgekd kernel; needs: */
/* Means, sums and maxima over any axes: sizes of those that stay (from the innermost out) and of those that are reduced, neighbours
 * merged, and what a step along each moves by (values). */
typedef struct {
    int32_t kept[3], kept_step[3];
    int32_t reduced[2], reduced_step[2];
    int32_t multiplier;
    int32_t offset; /* added to each sum: minus the zero points in it */
    int16_t out_zero;
    int8_t shift;
} ek_reduce;
