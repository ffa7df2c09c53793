/* edgekd kernel; needs: tile */
/* Convolution. Weights [out_c][rows of k_h k_w depth, filled with zeros to a multiple of 8]; ``multiplier`` points to records, whose bias
 * holds what in_zero adds. Scratch: 64 bytes for every eight weights of a row, then a row of in_zero or four columns of 8 bits. */

/* A tile times all channels of a group. */
typedef struct {
    const int8_t *weights;
    const int32_t *tile;
    int32_t eights; /* of weights in a row */
    const ek_record *record, *end;
    int8_t *y;        /* of the first place; ``step`` tells where those of the others lie, 0 for one that is not wanted */
    int32_t step[EK_PLACES - 1];
    int32_t twice_zero; /* 2 out_zero + 1 */
    int32_t (*rarely)(int32_t sum, int32_t multiplier, int32_t shift, int32_t twice_zero);
} ek_tile_job;

#if EK_DSP
/* Four sums and all that feeds them need every register: 26 instructions for 32 products. */
#define EK_FOUR(word)                                                                                                              \
    "ldmia r1!, {r8, r9, r10, r12}\n\tsxtb16 r11, " word "\n\t"                                                                    \
    "smlad r2, r11, r8, r2\n\tsmlad r3, r11, r9, r3\n\tsmlad r4, r11, r10, r4\n\tsmlad r5, r11, r12, r5\n\t"                      \
    "ldmia r1!, {r8, r9, r10, r12}\n\tsxtb16 r11, " word ", ror #8\n\t"                                                            \
    "smlad r2, r11, r8, r2\n\tsmlad r3, r11, r9, r3\n\tsmlad r4, r11, r10, r4\n\tsmlad r5, r11, r12, r5\n\t"
#define EK_EIGHT "ldrd r7, lr, [r0], #8\n\t" EK_FOUR("r7") EK_FOUR("lr")
static __attribute__((naked, noinline)) void ek_multiply_tile_s8(const ek_tile_job *job __attribute__((unused)))
{
    /* On the stack: 0 times that the loop of sixteen runs, 4 tile, 8 where it is entered, 12 record, 16 its end, 20 y, 24 32 28 steps,
     * 36 twice_zero, 40 rarely. In registers: r0 weights, r1 tile, r2-r5 sums, r6 the loop's count. */
    __asm__ volatile(
        "push {r4-r11, lr}\n\tsub sp, #44\n\t"
        "ldmia r0!, {r4, r5, r6, r7, r8, r9, r10, r11}\n\tldmia r0, {r1, r2, r3}\n\tmov r0, r4\n\t"
        "lsrs r12, r6, #1\n\tadr.w lr, 2f\n\titt cs\n\taddcs r12, r12, #1\n\taddcs lr, lr, #(3f - 2f)\n\torr lr, lr, #1\n\t"
        "strd r12, r5, [sp]\n\tstrd lr, r7, [sp, #8]\n\tstrd r8, r9, [sp, #16]\n\tstrd r10, r11, [sp, #24]\n\t"
        "strd r1, r2, [sp, #32]\n\tstr r3, [sp, #40]\n\tmov r12, r7\n"
        "1:\n\t"
        "ldr r2, [r12]\n\tldrd r6, r1, [sp]\n\tldr r7, [sp, #8]\n\tmov r3, r2\n\tmov r4, r2\n\tmov r5, r2\n\tbx r7\n\t"
        ".balign 4\n"
        "2:\n\t" EK_EIGHT "3:\n\t" EK_EIGHT "subs r6, #1\n\tbne 2b\n\t"
        "ldr r12, [sp, #12]\n\tldrd r6, r7, [r12, #4]\n\tcmp r7, #24\n\tbcs 5f\n\t"
        "ldr r8, [sp, #36]\n\tlsl r8, r8, r7\n\t"
        EK_SCALE("r2") EK_SCALE("r3") EK_SCALE("r4") EK_SCALE("r5")
        "4:\n\t"
        "ldrd r1, r6, [sp, #20]\n\tldrd r7, r8, [sp, #28]\n\t"
        "strb r5, [r1, r8]\n\tstrb r4, [r1, r7]\n\tstrb r3, [r1, r6]\n\tstrb r2, [r1], #1\n\tstr r1, [sp, #20]\n\t"
        "ldrd r12, r6, [sp, #12]\n\tadd r12, r12, #12\n\tstr r12, [sp, #12]\n\tcmp r12, r6\n\tbne 1b\n\t"
        "add sp, #44\n\tpop {r4-r11, pc}\n"
        "5:\n\tmov r10, r0\n\tmov r8, r2\n\tmov r9, r3\n\t"
        EK_RARELY("r8") EK_RARELY("r9") EK_RARELY("r4") EK_RARELY("r5")
        "mov r0, r10\n\tmov r2, r8\n\tmov r3, r9\n\tb 4b\n");
}
#else
static void ek_multiply_tile_s8(const ek_tile_job *job)
{
    const int8_t *w = job->weights;
    int8_t *y = job->y;
    for (const ek_record *r = job->record; r != job->end; r++, y++) {
        int32_t sum[EK_PLACES] = {r->bias, r->bias, r->bias, r->bias};
        const int32_t *x = job->tile;
        for (int32_t n = 2 * job->eights; n > 0; n--, w += 4, x += 8) {
            const uint32_t word = ek_load4(w), even = ek_even_bytes(word), odd = ek_odd_bytes(word);
            for (int i = 0; i < EK_PLACES; i++) {
                sum[i] = ek_dot2(odd, (uint32_t)x[i + 4], ek_dot2(even, (uint32_t)x[i], sum[i]));
            }
        }
        for (int i = EK_PLACES - 1; i >= 0; i--) {
            y[i > 0 ? job->step[i - 1] : 0] = ek_scaled_any_s8(sum[i], r, job->twice_zero);
        }
    }
}
#endif

static void ek_conv_dsp_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t size = p->k_h * p->k_w * p->depth, eights = (size + 7) / 8, words = (size + 3) / 4, total = p->out_h * p->out_w;
    const int32_t channels = p->out_c / p->multiplier_or_groups, gathered = p->depth % 4, along = p->stride_w * p->in_c;
    const int32_t direct = !gathered && ek_is_direct(p);
    int32_t *const tile = scratch;
    int8_t *const aside = (int8_t *)(tile + 16 * eights);
    ek_place next = {-p->pad_top, -p->pad_left, -(p->pad_top * p->in_w + p->pad_left) * p->in_c};
    ek_tile_job job = {NULL, tile, eights, NULL, NULL, y, {p->out_c, 2 * p->out_c, 3 * p->out_c}, 2 * p->out_zero + 1, ek_scaled_rarely_s8};
    memset(tile + 16 * eights - 8, 0, 32); /* what the rows of weights are filled up for, if they are */
    if (!gathered) {
        memset(aside, (int)p->in_zero, (size_t)p->depth);
    }
    for (int32_t done = 0, ox = 0; done < total; done += EK_PLACES) {
        /* Places behind the last one are computed as well; they go where the first one goes, before it. */
        ek_place place[EK_PLACES];
        const int8_t *from[EK_PLACES];
        for (int32_t i = 0; i < EK_PLACES; i++) {
            const int32_t wanted = done + i < total;
            place[i] = next;
            from[i] = x + (wanted ? done + i : done) * size;
            if (!wanted) {
                job.step[i - 1] = 0;
            }
            next.ix += p->stride_w;
            next.at += along;
            if (++ox == p->out_w) {
                ox = 0;
                next.iy += p->stride_h;
                next.ix = -p->pad_left;
                next.at = (next.iy * p->in_w + next.ix) * p->in_c;
            }
        }
        job.weights = p->weights;
        job.end = ek_records(p);
        for (int32_t c = 0, depth = 0; c < p->out_c; c += channels, depth += p->depth, job.weights += channels * 8 * eights) {
            if (direct) {
                ek_spread_s8(tile, from, words);
            } else if (!gathered) {
                ek_tile_s8(p, x + depth, place, aside, tile);
            } else {
                for (int32_t i = 0; i < EK_PLACES; i++) {
                    from[i] = aside + 4 * words * i;
                    ek_gather_s8(p, x + depth, &place[i], aside + 4 * words * i, 4 * words);
                }
                ek_spread_s8(tile, from, words);
            }
            job.record = job.end;
            job.end = job.record + channels;
            job.y = y + (done * p->out_c + c);
            ek_multiply_tile_s8(&job);
        }
    }
    ek_limit_s8(p, y, total * p->out_c);
}
