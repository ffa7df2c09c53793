/* edgekd kernel; needs: fill */
static void ek_fill_s8(const ek_fill *p, int8_t *y, void *scratch)
{
    (void)scratch;
    const int8_t value = (int8_t)p->value;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = value;
    }
}
