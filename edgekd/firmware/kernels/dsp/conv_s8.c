/* edgekd kernel; needs: tile */
/* Convolution: weights [out_c, k_h, k_w, depth] and three bytes more (words are read, whose end may lie behind the last weight). The bias
 * holds what in_zero adds. Scratch: 32 bytes for every four weights of a channel, then a row of in_zero or four columns. */

/* The sums of one channel at four places; w has 4 * groups weights. */
EK_INLINE void ek_dot_places(const int8_t *w, const int32_t *tile, int32_t groups, int32_t sum[EK_PLACES])
{
    int32_t a = sum[0], b = sum[1], c = sum[2], d = sum[3];
#if EK_DSP && defined(__OPTIMIZE__)
    /* 52 instructions for 64 products; the compiler would spill. */
    uint32_t u, v;
#define EK_FOUR                                                                                                   \
    "ldr %[u], [%[w]], #4\n\t"                                                                                    \
    "ldmia %[x]!, {r8, r9, r10, r12}\n\t"                                                                         \
    "sxtb16 %[v], %[u]\n\t"                                                                                       \
    "smlad %[a], %[v], r8, %[a]\n\tsmlad %[b], %[v], r9, %[b]\n\tsmlad %[c], %[v], r10, %[c]\n\t"                 \
    "smlad %[d], %[v], r12, %[d]\n\t"                                                                             \
    "ldmia %[x]!, {r8, r9, r10, r12}\n\t"                                                                         \
    "sxtb16 %[u], %[u], ror #8\n\t"                                                                               \
    "smlad %[a], %[u], r8, %[a]\n\tsmlad %[b], %[u], r9, %[b]\n\tsmlad %[c], %[u], r10, %[c]\n\t"                 \
    "smlad %[d], %[u], r12, %[d]\n\t"
    __asm__ volatile(
        "b 2f\n"
        "1:\n\t" EK_FOUR "2:\n\t"
        "lsls %[v], %[n], #30\n\t"
        "sub %[n], %[n], #1\n\t"
        "bne 1b\n\t"
        "adds %[n], %[n], #1\n\t"
        "beq 4f\n"
        "3:\n\t" EK_FOUR EK_FOUR EK_FOUR EK_FOUR
        "subs %[n], %[n], #4\n\t"
        "bne 3b\n"
        "4:"
        : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [w] "+r"(w), [x] "+r"(tile), [n] "+r"(groups), [u] "=&r"(u), [v] "=&r"(v)
        :
        : "r8", "r9", "r10", "r12", "cc", "memory");
#undef EK_FOUR
#else
    for (; groups > 0; groups--, w += 4, tile += 8) {
        const uint32_t word = ek_load4(w), even = ek_even_bytes(word), odd = ek_odd_bytes(word);
        a = ek_dot2(odd, (uint32_t)tile[4], ek_dot2(even, (uint32_t)tile[0], a));
        b = ek_dot2(odd, (uint32_t)tile[5], ek_dot2(even, (uint32_t)tile[1], b));
        c = ek_dot2(odd, (uint32_t)tile[6], ek_dot2(even, (uint32_t)tile[2], c));
        d = ek_dot2(odd, (uint32_t)tile[7], ek_dot2(even, (uint32_t)tile[3], d));
    }
#endif
    sum[0] = a;
    sum[1] = b;
    sum[2] = c;
    sum[3] = d;
}

/* The channels from c to ``end`` of ``places`` places. */
static void ek_multiply_tile_s8(const ek_conv *p, const int32_t *tile, int8_t *y, int32_t places, int32_t c, int32_t end)
{
    const int32_t size = p->k_h * p->k_w * p->depth, groups = (size + 3) / 4, out = p->out_c;
    const int8_t *w = p->weights + c * size;
    for (; c < end; c++, w += size) {
        const int32_t bias = p->bias == NULL ? 0 : p->bias[c];
        int32_t sum[EK_PLACES] = {bias, bias, bias, bias};
        ek_dot_places(w, tile, groups, sum);
        const ek_scale scale = ek_scale_of(p, c);
        int8_t *to = y + c;
        if (scale.shift >= 0 && places == EK_PLACES) {
            to[0] = ek_scaled_s8(scale, sum[0]);
            to[out] = ek_scaled_s8(scale, sum[1]);
            to[2 * out] = ek_scaled_s8(scale, sum[2]);
            to[3 * out] = ek_scaled_s8(scale, sum[3]);
            continue;
        }
        for (int32_t i = 0; i < places; i++, to += out) {
            *to = scale.shift >= 0 ? ek_scaled_s8(scale, sum[i]) : ek_scaled_rarely_s8(p, c, sum[i]);
        }
    }
}

static void ek_conv_dsp_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t size = p->k_h * p->k_w * p->depth, words = (size + 3) / 4, total = (int32_t)p->out_h * p->out_w;
    const int32_t channels = p->out_c / p->multiplier_or_groups, gathered = p->depth % 4;
    int32_t *const tile = scratch;
    int8_t *const aside = (int8_t *)(tile + 8 * words);
    int32_t oy = 0, ox = 0;
    if (!gathered) {
        memset(aside, (int)p->in_zero, (size_t)p->depth);
    }
    for (int32_t done = 0; done < total; done += EK_PLACES) {
        const int32_t places = ek_min(total - done, EK_PLACES);
        ek_place place[EK_PLACES];
        for (int32_t i = 0; i < EK_PLACES; i++) {
            place[i].iy = oy * p->stride_h - p->pad_top;
            place[i].ix = ox * p->stride_w - p->pad_left;
            place[i].at = (place[i].iy * p->in_w + place[i].ix) * p->in_c;
            if (done + i + 1 < total && ++ox == p->out_w) {
                ox = 0;
                oy++;
            }
        }
        for (int32_t c = 0; c < p->out_c; c += channels) {
            const int8_t *const from = x + c / channels * p->depth;
            if (gathered) {
                const int8_t *const columns[EK_PLACES] = {aside, aside + 4 * words, aside + 8 * words, aside + 12 * words};
                for (int32_t i = 0; i < EK_PLACES; i++) {
                    ek_gather_s8(p, from, &place[i], aside + 4 * words * i, 4 * words);
                }
                ek_spread_s8(tile, columns, words);
            } else {
                ek_tile_s8(p, from, place, aside, tile);
            }
            ek_multiply_tile_s8(p, tile, y, places, c, c + channels);
        }
        y += places * p->out_c;
    }
    ek_limit_s8(p, y - total * p->out_c, total * p->out_c);
}
