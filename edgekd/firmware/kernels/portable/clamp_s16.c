/* edgekd kernel; needs: clamp */
static void ek_clamp_s16(const ek_range *p, const int16_t *x, int16_t *y, void *scratch)
{
    (void)scratch;
    const int32_t low = p->low, high = p->high;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = (int16_t)ek_clamp(*x++, low, high);
    }
}
