/* edgekd kernel; needs: rows */
/* The smaller of two; all share one scale. */
static void ek_minimum_row_s16(const void *rows, const void *first, const void *second, void *out)
{
    const ek_rows *p = rows;
    const int16_t *a = first, *b = second;
    int16_t *y = out;
    const int step_a = p->step_a, step_b = p->step_b;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = *a < *b ? *a : *b;
        a += step_a;
        b += step_b;
    }
}

static void ek_minimum_s16(const ek_rows *p, const int16_t *a, const int16_t *b, int16_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(p, ek_minimum_row_s16, a, b, y);
}
