/* edgekd kernel; needs: clamp */
static void ek_clamp_s8(const ek_range *p, const int8_t *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const int32_t low = p->low, high = p->high;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = (int8_t)ek_clamp(*x++, low, high);
    }
}
