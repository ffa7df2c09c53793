/* edgekd kernel; needs: */
/* Rows of a table; an index beyond it takes the nearest row that there is. */
typedef struct {
    const void *table;
    int32_t rows, row; /* row: bytes of one */
    int32_t count;
} ek_gather;

static void ek_gather_rows(const ek_gather *p, const int32_t *indices, void *y, void *scratch)
{
    (void)scratch;
    const uint8_t *table = p->table;
    uint8_t *to = y;
    for (int32_t n = p->count; n > 0; n--, to += p->row) {
        memcpy(to, table + ek_clamp(*indices++, 0, p->rows - 1) * p->row, (size_t)p->row);
    }
}
