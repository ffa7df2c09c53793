/* edgekd kernel; needs: */
/* What a padding holds before its inside is copied: `count` values, of one byte or of two. */
typedef struct {
    int32_t count;
    int16_t value;
} ek_fill;
