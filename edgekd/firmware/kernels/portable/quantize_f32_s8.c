/* edgekd kernel; needs: border */
/* x / scale, a half away from zero; no call of libm. */
static void ek_quantize_f32_s8(const ek_border *p, const float *x, int8_t *y, void *scratch)
{
    (void)scratch;
    const float scale = p->scale;
    const int32_t zero = p->zero, low = p->low, high = p->high;
    for (int32_t n = p->count; n > 0; n--) {
        const float steps = *x++ / scale;
        int32_t whole = -131072;
        if (steps >= 131072.0f) {
            whole = 131072;
        } else if (steps > -131072.0f) {
            whole = (int32_t)steps;
            const float rest = steps - (float)whole; /* exact */
            if (rest >= 0.5f) {
                whole++;
            } else if (rest <= -0.5f) {
                whole--;
            }
        }
        *y++ = (int8_t)ek_clamp(whole + zero, low, high);
    }
}
