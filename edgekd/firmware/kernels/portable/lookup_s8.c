/* edgekd kernel; needs: */
/* Any function of one int8 value: a table indexed by the value as an unsigned byte. */
typedef struct {
    const int8_t *table;
    int32_t count;
} ek_lookup;

static void ek_lookup_s8(const ek_lookup *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const int8_t *table = p->table;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = table[(uint8_t)*x++];
    }
}
