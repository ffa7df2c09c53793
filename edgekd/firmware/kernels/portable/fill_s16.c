/* edgekd kernel; needs: fill */
static void ek_fill_s16(const ek_fill *p, int16_t *y, void *scratch)
{
    (void)scratch;
    const int16_t value = (int16_t)p->value;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = value;
    }
}
