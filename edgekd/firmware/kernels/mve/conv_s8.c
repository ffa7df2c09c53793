/* edgekd kernel; needs: helium, dsp/gather */
/* Convolution: one channel at four places at a time. Weights [out_c, k_h, k_w, depth]; ``multiplier`` points to records [out_c][bias,
 * multiplier, shift], whose bias holds what in_zero adds. Scratch: four columns; none for one tap without stride, padding and groups. */

typedef struct {
    int32_t bias, multiplier, shift;
} ek_mve_record;

/* The order is that of the assembly's stack. A place that is not wanted has the first one's column and step 0. */
typedef struct {
    const int8_t *column[EK_PLACES];
    int32_t slack; /* bytes that the loop reads too far in a row of weights */
    const ek_mve_record *end;
    const ek_mve_record *record;
    const int8_t *weights;
    int32_t size;
    int8_t *y;
    int32_t out_zero, low, high;
    uint32_t step[EK_PLACES];
} ek_mve_job;

/* All channels from ``record`` to ``end``, whose shifts all go to the right. 24 instructions, and 10 for every 64 products: Helium's sums
 * want even registers, so that all others are taken. r0 r2 r4 r6 sums, r1 r3 r5 r7 columns, r8 weights, r9 size, r10 record,
 * r11 y, r12 zero. */
static __attribute__((naked, noinline)) void ek_multiply_columns_s8(const ek_mve_job *job __attribute__((unused)))
{
    __asm__ volatile("push {r4-r11, lr}\n\tvpush {d10-d15}\n\tsub sp, #28\n\t"
                     "ldmia r0!, {r1-r6}\n\tstrd r1, r2, [sp]\n\tstrd r3, r4, [sp, #8]\n\tstrd r5, r6, [sp, #16]\n\t"
                     "ldmia r0!, {r8, r9}\n\tmov r10, r8\n\tmov r8, r9\n\tldmia r0!, {r9, r11, r12}\n\tldmia r0!, {r1, r2}\n\t"
                     "vdup.32 q5, r1\n\tvdup.32 q6, r2\n\tvldrw.32 q7, [r0]\n"
                     "1:\n\t"
                     "ldr r0, [r10], #4\n\tldrd r1, r3, [sp]\n\tldrd r5, r7, [sp, #8]\n\tmov r2, r0\n\tmov r4, r0\n\tmov r6, r0\n\t"
                     "dlstp.8 lr, r9\n"
                     "2:\n\t"
                     "vldrb.8 q0, [r8], #16\n\tvldrb.8 q1, [r1], #16\n\tvmladava.s8 r0, q0, q1\n\tvldrb.8 q2, [r3], #16\n\t"
                     "vmladava.s8 r2, q0, q2\n\tvldrb.8 q1, [r5], #16\n\tvmladava.s8 r4, q0, q1\n\tvldrb.8 q2, [r7], #16\n\t"
                     "vmladava.s8 r6, q0, q2\n\tletp lr, 2b\n\t"
                     "vmov d0, r0, r2\n\tvmov d1, r4, r6\n\tldrd r0, r2, [r10], #8\n\tldrd r4, r6, [sp, #16]\n\t"
                     "vqrdmulh.s32 q0, q0, r0\n\tvshr.s32 q1, q0, #31\n\tsubs r8, r8, r4\n\tvqadd.s32 q0, q0, q1\n\tvrshl.s32 q0, r2\n\t"
                     "vadd.i32 q0, q0, r12\n\tvmax.s32 q0, q0, q5\n\tvmin.s32 q0, q0, q6\n\tvstrb.32 q0, [r11, q7]\n\tadd r11, r11, #1\n\t"
                     "cmp r10, r6\n\tbne 1b\n\t"
                     "add sp, #28\n\tvpop {d10-d15}\n\tpop {r4-r11, pc}\n");
}

/* The same for any shifts. */
static __attribute__((noinline)) void ek_multiply_columns_any_s8(const ek_mve_job *job)
{
    const int8_t *w = job->weights;
    int8_t *y = job->y;
    for (const ek_mve_record *r = job->record; r != job->end; r++, w += job->size, y++) {
        int32_t sum[EK_PLACES];
        vstrwq_s32(sum, ek_four_dots_s8(w, job->column, job->size, r->bias));
        for (int i = EK_PLACES - 1; i >= 0; i--) {
            const int32_t out = ek_add_wrap(ek_requantize(sum[i], r->multiplier, r->shift), job->out_zero);
            y[job->step[i]] = (int8_t)ek_clamp(out, job->low, job->high);
        }
    }
}

static void ek_conv_mve_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t size = p->k_h * p->k_w * p->depth, total = p->out_h * p->out_w, channels = p->out_c / p->multiplier_or_groups;
    const int32_t direct = ek_is_direct(p);
    const ek_mve_record *const records = (const ek_mve_record *)(const void *)p->multiplier;
    int8_t *const columns = scratch;
    ek_mve_job job = {{NULL}, (size + 15) / 16 * 16 - size, records, records, NULL, size, y, p->out_zero, p->low, p->high, {0}};
    int32_t oy = 0, ox = 0, common = 1;
    for (int32_t c = 0; c < p->out_c; c++) {
        common &= records[c].shift < 0;
    }
    for (int32_t done = 0; done < total; done += EK_PLACES) {
        ek_place place[EK_PLACES];
        for (int32_t i = 0; i < EK_PLACES; i++) {
            const int32_t at = done + i < total ? i : 0;
            job.step[i] = (uint32_t)(at * p->out_c);
            job.column[i] = direct ? x + (done + at) * size : columns + at * size;
            place[i].iy = oy * p->stride_h - p->pad_top;
            place[i].ix = ox * p->stride_w - p->pad_left;
            place[i].at = (place[i].iy * p->in_w + place[i].ix) * p->in_c;
            if (++ox == p->out_w) {
                ox = 0;
                oy++;
            }
        }
        for (int32_t c = 0; c < p->out_c; c += channels) {
            for (int32_t i = 0; i < EK_PLACES && done + i < total && !direct; i++) {
                ek_gather_s8(p, x + c / channels * p->depth, &place[i], columns + i * size, size);
            }
            job.record = records + c;
            job.end = job.record + channels;
            job.weights = p->weights + c * size;
            job.y = y + done * p->out_c + c;
            (common ? ek_multiply_columns_s8 : ek_multiply_columns_any_s8)(&job);
        }
    }
}
