/* edgekd kernel; needs: */
/* Where floats enter or leave a graph. */
typedef struct {
    int32_t count;
    float scale;
    int16_t zero, low, high;
} ek_border;
