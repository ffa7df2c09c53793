/* edgekd kernel; needs: dsp/words */
/* Depthwise convolution with one output a channel: eight channels at a time, of at least eight. If their number is no multiple of 8, the
 * last block is made of the last eight. Weights [block][k_h k_w][8]; ``multiplier`` points to parameters [block][3][8] int32: bias (it
 * holds what in_zero adds), multiplier, shift, of each the even channels first, as Helium leaves products. A tap outside counts as
 * one that reads in_zero. Scratch: a pointer for every tap, up to a multiple of four, then a row of in_zero. */
#include <arm_mve.h>

typedef struct {
    const int8_t *const *taps;
    const int32_t *parameters;
    const int8_t *weights;
    int32_t count, channels; /* of taps, of all channels */
    int8_t *y;
    int32_t out_zero, low, high;
} ek_eights_job;

/* All channels of one place; all shifts go to the right. r0 taps, r1 channel, r2 weights, r3 an address, r4 parameters, r5 the last block's
 * first channel, r6 y, r7 zero, r9 count of taps; q0 q1 sums of the even and the odd channels, q5 low, q6 high. */
static __attribute__((naked, noinline)) void ek_eights_s8(const ek_eights_job *job __attribute__((unused)))
{
    __asm__ volatile("push {r4-r9, lr}\n\tvpush {d8-d13}\n\tsub sp, #4\n\t"
                     "mov r12, r0\n\tldmia r12!, {r0, r4}\n\tldmia r12!, {r2, r9}\n\tldmia r12!, {r5, r6, r7, r8, lr}\n\t"
                     "vdup.16 q5, r8\n\tvdup.16 q6, lr\n\tsub r5, r5, #8\n\tmovs r1, #0\n"
                     "1:\n\t"
                     "vldrw.32 q0, [r4]\n\tvldrw.32 q1, [r4, #16]\n\tmov r8, r0\n\tdls lr, r9\n"
                     "2:\n\t"
                     "ldr r3, [r8], #4\n\tvldrb.s16 q3, [r2], #8\n\tadd r3, r3, r1\n\tvldrb.s16 q2, [r3]\n\t"
                     "vmullb.s16 q4, q2, q3\n\tvadd.i32 q0, q0, q4\n\tvmullt.s16 q2, q2, q3\n\tvadd.i32 q1, q1, q2\n\tle lr, 2b\n\t"
                     "vldrw.32 q2, [r4, #32]\n\tvqrdmulh.s32 q0, q0, q2\n\tvldrw.32 q3, [r4, #48]\n\tvqrdmulh.s32 q1, q1, q3\n\t"
                     "vshr.s32 q2, q0, #31\n\tvqadd.s32 q0, q0, q2\n\tvshr.s32 q3, q1, #31\n\tvqadd.s32 q1, q1, q3\n\t"
                     "vldrw.32 q2, [r4, #64]\n\tvrshl.s32 q0, q0, q2\n\tvldrw.32 q3, [r4, #80]\n\tvrshl.s32 q1, q1, q3\n\t"
                     "vqmovnb.s32 q0, q0\n\tvqmovnt.s32 q0, q1\n\tvqadd.s16 q0, q0, r7\n\tvmax.s16 q0, q0, q5\n\tvmin.s16 q0, q0, q6\n\t"
                     "add r3, r6, r1\n\tvstrb.16 q0, [r3]\n\tadd r4, r4, #96\n\tcmp r1, r5\n\tbeq 3f\n\t"
                     "add r1, r1, #8\n\tcmp r1, r5\n\tit gt\n\tmovgt r1, r5\n\tb 1b\n"
                     "3:\n\tadd sp, #4\n\tvpop {d8-d13}\n\tpop {r4-r9, pc}\n");
}

/* The same for any shifts. */
static __attribute__((noinline)) void ek_eights_any_s8(const ek_eights_job *job)
{
    const int32_t *q = job->parameters;
    const int8_t *block = job->weights;
    for (int32_t at = 0; at < job->channels; at += 8, block += 8 * job->count, q += 24) {
        const int32_t c = ek_min(at, job->channels - 8);
        for (int32_t i = 0; i < 8; i++) {
            const int32_t *const of = q + (i / 2 + i % 2 * 4);
            uint32_t sum = (uint32_t)of[0];
            for (int32_t tap = 0; tap < job->count; tap++) {
                sum += (uint32_t)(job->taps[tap][c + i] * block[8 * tap + i]);
            }
            const int32_t out = ek_add_wrap(ek_requantize((int32_t)sum, of[8], of[16]), job->out_zero);
            job->y[c + i] = (int8_t)ek_clamp(out, job->low, job->high);
        }
    }
}

/* The addresses of the taps of the place whose first one is at (iy, ix). */
static void ek_tap_addresses_s8(const ek_conv *p, const int8_t *x, int32_t iy, int32_t ix, const int8_t *outside, const int8_t **tap)
{
    for (int32_t ky = p->k_h; ky > 0; ky--, iy += p->dilation_h) {
        const int32_t row = iy * p->in_w;
        for (int32_t kx = 0, at = ix; kx < p->k_w; kx++, at += p->dilation_w) {
            *tap++ = ek_within(iy, p->in_h) && ek_within(at, p->in_w) ? x + (row + at) * p->in_c : outside;
        }
    }
}

static void ek_depthwise_mve_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const int32_t count = p->k_h * p->k_w, blocks = (p->out_c + 7) / 8, words = (count + 3) / 4;
    const int32_t high = (p->k_h - 1) * p->dilation_h, wide = (p->k_w - 1) * p->dilation_w, step = p->stride_w * p->in_c;
    const int8_t **const taps = scratch;
    int8_t *const outside = (int8_t *)(taps + 4 * words);
    ek_eights_job job = {taps, p->multiplier, p->weights, count, p->out_c, y, p->out_zero, p->low, p->high};
    int32_t common = 1;
    for (int32_t i = 0; i < 24 * blocks; i++) {
        common &= i % 24 < 16 || p->multiplier[i] < 0;
    }
    memset(outside, (int)p->in_zero, (size_t)p->in_c);
    for (int32_t oy = 0; oy < p->out_h; oy++) {
        const int32_t iy = oy * p->stride_h - p->pad_top, rows = iy >= 0 && iy + high < p->in_h;
        int32_t ix = -p->pad_left, followed = 0;
        for (int32_t ox = 0; ox < p->out_w; ox++, ix += p->stride_w, job.y += p->out_c) {
            if (followed && ix + wide < p->in_w) {
                for (int32_t i = 0; i < words; i++) {
                    uint32_t *const four = (uint32_t *)(void *)(taps + 4 * i);
                    vstrwq_u32(four, vaddq_n_u32(vldrwq_u32(four), (uint32_t)step));
                }
            } else {
                ek_tap_addresses_s8(p, x, iy, ix, outside, taps);
                followed = rows && ix >= 0;
            }
            (common ? ek_eights_s8 : ek_eights_any_s8)(&job);
        }
    }
}
