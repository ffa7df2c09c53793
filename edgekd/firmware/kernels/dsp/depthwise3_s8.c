/* edgekd kernel; needs: simd */
/* Depthwise convolution with 3x3 taps, stride 1 or 2, one output a channel, at least four channels. Weights [out_c][3][3 and a zero];
 * ``multiplier`` points to records, whose bias holds what in_zero adds.
 *
 * Four channels at a time are spread into planes of 16 bits, padding included, as many lines as the scratch holds; then four outputs that
 * lie along a line are computed at once from pairs of neighbours. Lines are rows or columns, whichever wastes less. */
enum { EK_PLANES = 4, EK_PLANE_BYTES = 2048 };

typedef struct {
    int32_t outputs, lines;           /* outputs along a line, and how many lines */
    int32_t in, in_lines, pad, ahead; /* of the input: along a line, lines; padding before a line, and before the first line */
    int32_t x_step, x_line, y_step, y_line; /* bytes from one value to the next along a line, and to the next line */
    int32_t stride, line_stride;
    int32_t words, band; /* words of a line in a plane; lines of outputs that are computed from one filling of the planes */
    int32_t turned;      /* lines are columns */
} ek_lines;

static ek_lines ek_lines_of(const ek_conv *p)
{
    const int32_t row_x = p->in_w * p->in_c, row_y = p->out_w * p->out_c;
    const int32_t rows = p->out_h * ((p->out_w + 3) / 4), columns = p->out_w * ((p->out_h + 3) / 4);
    ek_lines l = {p->out_w, p->out_h, p->in_w,  p->in_h,     p->pad_left, p->pad_top, p->in_c, row_x,
                  p->out_c, row_y,    p->stride_w, p->stride_h, 0,           0,          0};
    if (columns < rows) {
        const ek_lines turned = {p->out_h, p->out_w, p->in_h,  p->in_w,     p->pad_top,  p->pad_left, row_x,
                                 p->in_c,  row_y,    p->out_c, p->stride_h, p->stride_w, 0,           0,           1};
        l = turned;
    }
    l.words = (l.outputs + 3) / 4 * 2 * l.stride + 1;
    l.band = (EK_PLANE_BYTES / (4 * EK_PLANES * l.words) - 3) / l.line_stride + 1;
    l.band = ek_clamp(l.band, 1, l.lines);
    return l;
}

/* ``words`` pairs of neighbours, of four channels each. */
EK_INLINE void ek_plane_words_s8(uint32_t *to, int32_t plane, const int8_t *a, const int8_t *b, int32_t step, int32_t words)
{
    for (; words > 0; words--, to++, a += step, b += step) {
        const uint32_t u = ek_load4(a), v = ek_load4(b), low = ek_low_halves(u, v), high = ek_high_halves(u, v);
        to[0] = ek_even_bytes(low);
        to[plane] = ek_odd_bytes(low);
        to[2 * plane] = ek_even_bytes(high);
        to[3 * plane] = ek_odd_bytes(high);
    }
}

/* Lines from ``line`` of the input on, which may lie outside, into the planes of four channels; x is at the first of these. */
static void ek_planes_s8(const ek_lines *l, const int8_t *x, int32_t line, int32_t count, int32_t in_zero, uint32_t *to)
{
    const uint32_t zeros = (uint32_t)(in_zero & 0xFF) * 0x01010101u;
    const int8_t *const zero = (const int8_t *)&zeros;
    const int32_t plane = count * l->words;
    for (int32_t n = 0; n < count; n++, line++, to += l->words) {
        int32_t word = 0, at = -l->pad;
        if (line < 0 || line >= l->in_lines) {
            ek_plane_words_s8(to, plane, zero, zero, 0, l->words);
            continue;
        }
        const int8_t *const from = x + line * l->x_line;
        for (; at < 0 && word < l->words; at += 2, word++) {
            ek_plane_words_s8(to + word, plane, zero, at == -1 ? from : zero, 0, 1);
        }
        const int32_t whole = ek_clamp((l->in - at) / 2, 0, l->words - word);
        ek_plane_words_s8(to + word, plane, from + at * l->x_step, from + (at + 1) * l->x_step, 2 * l->x_step, whole);
        at += 2 * whole;
        word += whole;
        if (word < l->words) {
            ek_plane_words_s8(to + word, plane, at < l->in ? from + at * l->x_step : zero, zero, 0, 1);
            word++;
            ek_plane_words_s8(to + word, plane, zero, zero, 0, l->words - word);
        }
    }
}

/* The lines of one channel in filled planes. The assembly copies all but the last three fields to its stack and knows their places. */
typedef struct {
    int32_t left, lines;    /* blocks left in the line; lines left */
    int32_t bias, back;     /* back: bytes from the fourth line at a block to the first line at the next block */
    int8_t *y;              /* of a block's first output */
    int32_t step[3];        /* from that to its other ones; 0 for those that are not wanted */
    int32_t addend, twice_zero;
    int32_t (*rarely)(int32_t sum, int32_t multiplier, int32_t shift, int32_t twice_zero);
    int32_t multiplier, shift; /* of the record */
    int32_t blocks;            /* of a line, less 1 */
    int32_t all[3], last[3];   /* steps in a line's last block and in the others */
    int8_t *y_line;
    int32_t y_next, x_next, y_block; /* bytes to the next line of outputs; from a line's end to the next one; to the next block's outputs */
    const uint32_t *x, *taps;
    int32_t pitch; /* bytes of a line in a plane */
} ek_line_job;

#if EK_DSP
/* r0 inputs, r1 taps, r2-r5 sums, lr pitch. Stride 1: a line's taps are the pairs (a b) (c 0) for even outputs, (0 a) (b c) for odd. */
#define EK_TAPS1                                                                                                                    \
    "ldmia r1!, {r6, r7, r8, r9}\n\tldmia r0, {r10, r11, r12}\n\tadd r0, r0, lr\n\t"                                                \
    "smlad r2, r6, r10, r2\n\tsmlad r3, r8, r10, r3\n\tsmlad r4, r6, r11, r4\n\tsmlad r5, r8, r11, r5\n\t"                          \
    "smlad r2, r7, r11, r2\n\tsmlad r3, r9, r11, r3\n\tsmlad r4, r7, r12, r4\n\tsmlad r5, r9, r12, r5\n\t"
#define EK_TAPS2                                                                                                                    \
    "ldmia r1!, {r6, r7}\n\tldmia r0, {r8, r9, r10, r11, r12}\n\tadd r0, r0, lr\n\t"                                                \
    "smlad r2, r6, r8, r2\n\tsmlad r3, r6, r9, r3\n\tsmlad r4, r6, r10, r4\n\tsmlad r5, r6, r11, r5\n\t"                            \
    "smlad r2, r7, r9, r2\n\tsmlad r3, r7, r10, r3\n\tsmlad r4, r7, r11, r4\n\tsmlad r5, r7, r12, r5\n\t"
#define EK_LINES(name, taps, size)                                                                                                  \
    static __attribute__((naked, noinline)) void name(const ek_line_job *job __attribute__((unused)))                               \
    {                                                                                                                               \
        __asm__ volatile(                                                                                                           \
            "push {r4-r11, lr}\n\tsub sp, #108\n\tmov r12, sp\n\t"                                                                 \
            "ldmia r0!, {r1-r8}\n\tstmia r12!, {r1-r8}\n\tldmia r0!, {r1-r8}\n\tstmia r12!, {r1-r8}\n\t"                            \
            "ldmia r0!, {r1-r8}\n\tstmia r12!, {r1-r8}\n\tldmia r0, {r0, r1, lr}\n\tstr lr, [sp, #96]\n"                            \
            "1:\n\tldr r6, [sp, #52]\n\tstr r6, [sp]\n\tldr r7, [sp, #80]\n\tstr r7, [sp, #16]\n\t"                                 \
            "ldrd r7, r8, [sp, #56]\n\tldr r9, [sp, #64]\n\tcbnz r6, 3f\n"                                                         \
            "2:\n\tldrd r7, r8, [sp, #68]\n\tldr r9, [sp, #76]\n"                                                                  \
            "3:\n\tstrd r7, r8, [sp, #20]\n\tstr r9, [sp, #28]\n"                                                                  \
            "4:\n\tldr r2, [sp, #8]\n\tmov r3, r2\n\tmov r4, r2\n\tmov r5, r2\n\t" taps taps taps                                        \
            "sub r1, #" size "\n\tldr r10, [sp, #12]\n\tsub r0, r0, r10\n\t"                                                       \
            "ldrd r6, r7, [sp, #44]\n\tldr r8, [sp, #32]\n\tcmp r7, #24\n\tbcs 6f\n\t"                                            \
            EK_SCALE("r2") EK_SCALE("r3") EK_SCALE("r4") EK_SCALE("r5")                                                             \
            "5:\n\tldrd r6, r7, [sp, #16]\n\tldrd r8, r9, [sp, #24]\n\t"                                                          \
            "strb r5, [r6, r9]\n\tstrb r4, [r6, r8]\n\tstrb r3, [r6, r7]\n\tstrb r2, [r6]\n\t"                                    \
            "ldr r7, [sp, #92]\n\tadd r6, r6, r7\n\tstr r6, [sp, #16]\n\t"                                                         \
            "ldr r6, [sp]\n\tsubs r6, #1\n\tstr r6, [sp]\n\tbgt 4b\n\tbeq 2b\n\t"                                                 \
            "ldr r6, [sp, #88]\n\tadd r0, r0, r6\n\tldrd r6, r7, [sp, #80]\n\tadd r6, r6, r7\n\tstr r6, [sp, #80]\n\t"              \
            "ldr r6, [sp, #4]\n\tsubs r6, #1\n\tstr r6, [sp, #4]\n\tbne 1b\n\tadd sp, #108\n\tpop {r4-r11, pc}\n"                   \
            "6:\n\tmov r8, r2\n\tmov r9, r3\n\tmov r10, r0\n\tmov r11, r1\n\t"                                                    \
            EK_RARELY("r8") EK_RARELY("r9") EK_RARELY("r4") EK_RARELY("r5")                                                         \
            "mov r0, r10\n\tmov r1, r11\n\tmov r2, r8\n\tmov r3, r9\n\tldr lr, [sp, #96]\n\tb 5b\n");                             \
    }
EK_LINES(ek_lines1_s8, EK_TAPS1, "48")
EK_LINES(ek_lines2_s8, EK_TAPS2, "24")
#else
EK_INLINE void ek_lines_s8(const ek_line_job *job, int32_t stride)
{
    const ek_record record = {job->bias, job->multiplier, job->shift};
    const uint32_t *x = job->x;
    int8_t *y_line = job->y_line;
    for (int32_t line = 0; line < job->lines; line++, y_line += job->y_next, x += job->x_next / 4) {
        int8_t *y = y_line;
        for (int32_t left = job->blocks; left >= 0; left--, y += job->y_block, x += 2 * stride) {
            const int32_t *const step = left > 0 ? job->all : job->last;
            for (int i = 3; i >= 0; i--) {
                int32_t sum = job->bias;
                for (int ky = 0; ky < 3; ky++) {
                    const uint32_t *const from = x + ky * job->pitch / 4 + (stride == 1 ? i / 2 : i);
                    const uint32_t *const taps = job->taps + (stride == 1 ? 4 * ky + i % 2 * 2 : 2 * ky);
                    sum = ek_dot2(taps[1], from[1], ek_dot2(taps[0], from[0], sum));
                }
                y[i > 0 ? step[i - 1] : 0] = ek_scaled_any_s8(sum, &record, job->twice_zero);
            }
        }
    }
}

static void ek_lines1_s8(const ek_line_job *job) { ek_lines_s8(job, 1); }

static void ek_lines2_s8(const ek_line_job *job) { ek_lines_s8(job, 2); }
#endif

/* The taps of one channel [3][3 and a zero], or turned, as pairs: for each line (a b) (c 0), for stride 1 also (0 a) (b c). */
static void ek_tap_pairs_s8(const int8_t *w, int32_t turned, int32_t stride, uint32_t *taps)
{
    for (int32_t i = 0; i < 3; i++) {
        const int8_t *const row = turned ? w + i : w + 4 * i;
        const uint32_t a = (uint32_t)row[0], b = (uint32_t)row[turned ? 4 : 1], c = (uint32_t)row[turned ? 8 : 2];
        *taps++ = ek_low_halves(a, b);
        *taps++ = c & 0xFFFFu;
        if (stride == 1) {
            *taps++ = a << 16;
            *taps++ = ek_low_halves(b, c);
        }
    }
}

static void ek_depthwise3_dsp_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const ek_lines l = ek_lines_of(p);
    const int32_t pitch = 4 * l.words, blocks = (l.outputs + 3) / 4;
    uint32_t *const planes = scratch;
    uint32_t taps[12];
    ek_line_job job = {0};
    job.twice_zero = 2 * p->out_zero + 1;
    job.rarely = ek_scaled_rarely_s8;
    job.taps = taps;
    job.pitch = pitch;
    job.blocks = blocks - 1;
    job.back = 3 * pitch - 8 * l.stride;
    job.x_next = l.line_stride * pitch - 8 * l.stride * blocks;
    job.y_next = l.y_line;
    job.y_block = 4 * l.y_step;
    for (int32_t i = 0; i < 3; i++) {
        job.all[i] = (i + 1) * l.y_step;
        job.last[i] = i + 1 < l.outputs - 4 * (blocks - 1) ? job.all[i] : 0;
    }
    for (int32_t line = 0; line < l.lines; line += l.band) {
        const int32_t lines = ek_min(l.band, l.lines - line), in_lines = (lines - 1) * l.line_stride + 3;
        for (int32_t at = 0; at < p->out_c; at += EK_PLANES) {
            const int32_t first = ek_min(at, p->out_c - EK_PLANES);
            ek_planes_s8(&l, x + first, line * l.line_stride - l.ahead, in_lines, p->in_zero, planes);
            for (int32_t c = first; c < first + EK_PLANES; c++) {
                const ek_record *const record = ek_records(p) + c;
                ek_tap_pairs_s8(p->weights + 12 * c, l.turned, l.stride, taps);
                job.lines = lines;
                job.bias = record->bias;
                job.multiplier = record->multiplier;
                job.shift = record->shift;
                job.addend = ek_is_common(record->shift) ? (int32_t)((uint32_t)job.twice_zero << record->shift) : 0;
                job.y_line = y + (line * l.y_line + c);
                job.x = planes + (c - first) * in_lines * l.words;
                (l.stride == 1 ? ek_lines1_s8 : ek_lines2_s8)(&job);
            }
        }
    }
    ek_limit_s8(p, y, (int32_t)p->out_h * p->out_w * p->out_c);
}
