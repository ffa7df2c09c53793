/* edgekd kernel; needs: */
/* A rectifier that keeps its scale. */
typedef struct {
    int32_t count;
    int16_t low, high;
} ek_range;
