/* edgekd kernel; needs: */
/* How two operands broadcast. Rows lie along the last axes; within a row each operand advances by one value a step, or stays. */
enum { EK_ROW_AXES = 6 };

typedef struct {
    const int32_t *axes; /* outside of the rows, from the innermost: size, bytes that a step moves a by, and b; NULL for one row */
    int32_t count;       /* values of a row */
    uint8_t rank;        /* of axes */
    uint8_t step_a, step_b;
    uint8_t size; /* bytes of a value */
} ek_rows;

/* One row; `p` begins with an ek_rows. */
typedef void ek_row(const void *p, const void *a, const void *b, void *y);

static void ek_each_row(const ek_rows *p, ek_row *row, const void *a, const void *b, void *y)
{
    const uint8_t *from_a = a, *from_b = b;
    uint8_t *to = y;
    int32_t at[EK_ROW_AXES] = {0};
    for (;;) {
        const int32_t *axis = p->axes;
        int32_t k = 0;
        row(p, from_a, from_b, to);
        to += p->count * p->size;
        for (; k < p->rank; k++, axis += 3) {
            if (++at[k] < axis[0]) {
                from_a += axis[1];
                from_b += axis[2];
                break;
            }
            at[k] = 0;
            from_a -= axis[1] * (axis[0] - 1);
            from_b -= axis[2] * (axis[0] - 1);
        }
        if (k == p->rank) {
            return;
        }
    }
}
