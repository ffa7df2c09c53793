/* edgekd kernel; needs: rows */
/* The larger of two; all share one scale. */
static void ek_maximum_row_s8(const void *rows, const void *first, const void *second, void *out)
{
    const ek_rows *p = rows;
    const int8_t *a = first, *b = second;
    int8_t *y = out;
    const int step_a = p->step_a, step_b = p->step_b;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = *a > *b ? *a : *b;
        a += step_a;
        b += step_b;
    }
}

static void ek_maximum_s8(const ek_rows *p, const int8_t *a, const int8_t *b, int8_t *y, void *scratch)
{
    (void)scratch;
    ek_each_row(p, ek_maximum_row_s8, a, b, y);
}
