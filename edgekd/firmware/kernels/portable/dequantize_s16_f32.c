/* edgekd kernel; needs: border */
static void ek_dequantize_s16_f32(const ek_border *p, const int16_t *x, float *y, void *scratch)
{
    (void)scratch;
    const float scale = p->scale;
    const int32_t zero = p->zero;
    for (int32_t n = p->count; n > 0; n--) {
        *y++ = (float)(*x++ - zero) * scale;
    }
}
