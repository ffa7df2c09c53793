/* edgekd kernel; needs: simd, gather */
/* Columns of a convolution's input, four places side by side, as the multiplications want them. Of every four values k, k + 1, k + 2, k + 3
 * a tile holds first the pairs (k, k + 2) of the places 0 to 3, then the pairs (k + 1, k + 3): just as the instruction that splits a word
 * of weights pairs them. */

/* ``groups`` times four values from each of four addresses on; where the tile goes on. */
#if EK_DSP
static __attribute__((naked, noinline)) int32_t *
ek_spread_s8(int32_t *to __attribute__((unused)), const int8_t *const from[EK_PLACES] __attribute__((unused)),
             int32_t groups __attribute__((unused)))
{
    __asm__ volatile("cbz r2, 2f\n\tpush {r4-r11, lr}\n\tmov lr, r2\n\tldmia r1, {r4, r5, r6, r7}\n"
                     "1:\n\tldr r1, [r4], #4\n\tldr r2, [r5], #4\n\tldr r3, [r6], #4\n\tldr r12, [r7], #4\n\t"
                     "sxtb16 r8, r1\n\tsxtb16 r9, r2\n\tsxtb16 r10, r3\n\tsxtb16 r11, r12\n\tstmia r0!, {r8, r9, r10, r11}\n\t"
                     "sxtb16 r8, r1, ror #8\n\tsxtb16 r9, r2, ror #8\n\tsxtb16 r10, r3, ror #8\n\tsxtb16 r11, r12, ror #8\n\t"
                     "stmia r0!, {r8, r9, r10, r11}\n\tsubs lr, #1\n\tbne 1b\n\tpop {r4-r11, lr}\n"
                     "2:\n\tbx lr\n");
}
#else
static int32_t *ek_spread_s8(int32_t *to, const int8_t *const from[EK_PLACES], int32_t groups)
{
    for (int32_t at = 0; at < 4 * groups; at += 4, to += 8) {
        for (int i = 0; i < EK_PLACES; i++) {
            const uint32_t word = ek_load4(from[i] + at);
            to[i] = (int32_t)ek_even_bytes(word);
            to[i + 4] = (int32_t)ek_odd_bytes(word);
        }
    }
    return to;
}
#endif

/* Where depth is a multiple of 4: from the input itself, a row of taps at a time if it lies inside at all places, else tap after tap; a tap
 * that falls outside reads ``outside``, a row of in_zero. */
static void ek_tile_s8(const ek_conv *p, const int8_t *x, const ek_place place[EK_PLACES], const int8_t *outside, int32_t *tile)
{
    const int32_t groups = p->depth / 4, taps = p->k_w, joined = p->dilation_w == 1 && p->depth == p->in_c;
    const int8_t *from[EK_PLACES];
    for (int32_t ky = 0, down = 0; ky < p->k_h; ky++, down += p->dilation_h) {
        int32_t inside = joined;
        for (int i = 0; i < EK_PLACES; i++) {
            inside &= ek_within(place[i].iy + down, p->in_h) & (place[i].ix >= 0) & (place[i].ix + taps <= p->in_w);
            from[i] = x + (place[i].at + down * p->in_w * p->in_c);
        }
        if (inside) {
            tile = ek_spread_s8(tile, from, taps * groups);
            continue;
        }
        for (int32_t kx = 0, along = 0; kx < taps; kx++, along += p->dilation_w) {
            for (int i = 0; i < EK_PLACES; i++) {
                inside = ek_within(place[i].iy + down, p->in_h) & ek_within(place[i].ix + along, p->in_w);
                from[i] = inside ? x + (place[i].at + (down * p->in_w + along) * p->in_c) : outside;
            }
            tile = ek_spread_s8(tile, from, groups);
        }
    }
}
