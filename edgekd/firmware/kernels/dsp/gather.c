/* edgekd kernel; needs: words */
/* One place's column of a convolution's input. A tap that falls outside counts as one that reads in_zero. */
enum { EK_PLACES = 4 };

typedef struct {
    int32_t iy, ix, at; /* the place's first tap, which may lie outside: row, column, and offset in the input */
} ek_place;

/* Whether the input holds every column as it lies: one tap of all channels, no stride, and no padding, since as much comes out as went in. */
EK_INLINE int32_t ek_is_direct(const ek_conv *p)
{
    return (p->k_h | p->k_w | p->multiplier_or_groups | p->stride_h | p->stride_w) == 1 && p->in_h == p->out_h && p->in_w == p->out_w;
}

EK_INLINE int8_t *ek_column_copy(int8_t *to, const int8_t *from, int32_t count)
{
#if defined(__ARM_FEATURE_MVE)
    int8_t *const end = to + count;
    __asm__ volatile("wlstp.8 lr, %[n], 2f\n"
                     "1:\n\tvldrb.8 q0, [%[from]], #16\n\tvstrb.8 q0, [%[to]], #16\n\tletp lr, 1b\n"
                     "2:"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [n] "r"(count)
                     : "q0", "lr", "memory");
    return end;
#else
    for (; count >= 4; count -= 4, to += 4, from += 4) {
        ek_store4(to, ek_load4(from));
        EK_KEEP_LOOP;
    }
    for (; count > 0; count--) {
        *to++ = *from++;
        EK_KEEP_LOOP;
    }
    return to;
#endif
}

EK_INLINE int8_t *ek_column_fill(int8_t *to, int32_t value, int32_t count)
{
    for (; count > 0; count--) {
        *to++ = (int8_t)value;
        EK_KEEP_LOOP;
    }
    return to;
}

/* The column, its end filled with zeros up to ``size``. */
static void ek_gather_s8(const ek_conv *p, const int8_t *x, const ek_place *place, int8_t *column, int32_t size)
{
    const int32_t depth = p->depth, joined = p->dilation_w == 1 && depth == p->in_c, taps = p->k_w, row = p->dilation_h * p->in_w * p->in_c;
    const int32_t first = ek_clamp(-place->ix, 0, taps), last = ek_clamp(p->in_w - place->ix, first, taps);
    const int32_t lead = first * depth, body = (last - first) * depth, trail = (taps - last) * depth;
    int8_t *const end = column + size;
    int32_t at = place->at, iy = place->iy;
    if (joined && body == taps * depth && iy >= 0 && iy + (p->k_h - 1) * p->dilation_h < p->in_h) {
        const int8_t *from = x + at;
        for (int32_t ky = p->k_h; ky > 0; ky--, from += row) {
            column = ek_column_copy(column, from, body);
        }
        ek_column_fill(column, 0, (int32_t)(end - column));
        return;
    }
    for (int32_t ky = p->k_h; ky > 0; ky--, iy += p->dilation_h, at += row) {
        if (!ek_within(iy, p->in_h)) {
            column = ek_column_fill(column, p->in_zero, taps * depth);
        } else if (joined) {
            column = ek_column_fill(column, p->in_zero, lead);
            column = ek_column_copy(column, x + (at + lead), body);
            column = ek_column_fill(column, p->in_zero, trail);
        } else {
            for (int32_t kx = 0, ix = place->ix; kx < taps; kx++, ix += p->dilation_w) {
                if (ek_within(ix, p->in_w)) {
                    column = ek_column_copy(column, x + (at + kx * p->dilation_w * p->in_c), depth);
                } else {
                    column = ek_column_fill(column, p->in_zero, depth);
                }
            }
        }
    }
    ek_column_fill(column, 0, (int32_t)(end - column));
}
