/* edgekd kernel; needs: words */
/* The instructions of Arm's DSP extension that the kernels use, and requantization by them. The compiler's arm_acle.h has no SXTB16 that
 * rotates, so each is a line of assembly here; on cores without the extension it is plain C. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__GNUC__)
#define EK_DSP 1
#else
#define EK_DSP 0
#endif

EK_INLINE int32_t ek_low_half(uint32_t x) { return (int16_t)(uint16_t)x; }

EK_INLINE int32_t ek_high_half(uint32_t x) { return (int32_t)x >> 16; }

#if EK_DSP
#define EK_DSP1(name, type, text)           \
    EK_INLINE type name(type a)             \
    {                                       \
        type r;                             \
        __asm__(text : "=r"(r) : "r"(a));   \
        return r;                           \
    }
#define EK_DSP2(name, type, text)                   \
    EK_INLINE type name(type a, type b)             \
    {                                               \
        type r;                                     \
        __asm__(text : "=r"(r) : "r"(a), "r"(b));   \
        return r;                                   \
    }
#define EK_DSP3(name, type, text)                                     \
    EK_INLINE int32_t name(type a, type b, int32_t c)                 \
    {                                                                 \
        int32_t r;                                                    \
        __asm__(text : "=r"(r) : "r"(a), "r"(b), "r"(c));             \
        return r;                                                     \
    }
EK_DSP1(ek_even_bytes, uint32_t, "sxtb16 %0, %1")
EK_DSP1(ek_odd_bytes, uint32_t, "sxtb16 %0, %1, ror #8")
EK_DSP1(ek_half_to_s8, int32_t, "ssat %0, #8, %1, asr #1")
EK_DSP2(ek_low_halves, uint32_t, "pkhbt %0, %1, %2, lsl #16")
EK_DSP2(ek_high_halves, uint32_t, "pkhtb %0, %2, %1, asr #16")
EK_DSP2(ek_add_saturating, int32_t, "qadd %0, %1, %2")
EK_DSP3(ek_dot2, uint32_t, "smlad %0, %1, %2, %3")
EK_DSP3(ek_multiply_high, int32_t, "smmlar %0, %1, %2, %3")
#else
EK_INLINE uint32_t ek_halves(int32_t low, int32_t high) { return ((uint32_t)high << 16) | ((uint32_t)low & 0xFFFFu); }

/* The bytes 0 and 2 (1 and 3) of x as two signed halves. */
EK_INLINE uint32_t ek_even_bytes(uint32_t x) { return ek_halves((int8_t)(uint8_t)x, (int8_t)(uint8_t)(x >> 16)); }

EK_INLINE uint32_t ek_odd_bytes(uint32_t x) { return ek_even_bytes(x >> 8); }

/* The low (high) halves of a and b, a's first. */
EK_INLINE uint32_t ek_low_halves(uint32_t a, uint32_t b) { return (a & 0xFFFFu) | (b << 16); }

EK_INLINE uint32_t ek_high_halves(uint32_t a, uint32_t b) { return (a >> 16) | (b & 0xFFFF0000u); }

/* c + a's halves times b's, wrapping. */
EK_INLINE int32_t ek_dot2(uint32_t a, uint32_t b, int32_t c)
{
    const uint32_t low = (uint32_t)(ek_low_half(a) * ek_low_half(b)), high = (uint32_t)(ek_high_half(a) * ek_high_half(b));
    return (int32_t)((uint32_t)c + low + high);
}

/* (a b + c 2^32 + 2^31) / 2^32, rounded down. */
EK_INLINE int32_t ek_multiply_high(int32_t a, int32_t b, int32_t c)
{
    const uint64_t product = (uint64_t)((int64_t)a * b) + ((uint64_t)(uint32_t)c << 32) + 0x80000000u;
    return (int32_t)(uint32_t)(product >> 32);
}

EK_INLINE int32_t ek_add_saturating(int32_t a, int32_t b)
{
    const int64_t sum = (int64_t)a + b;
    return (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

EK_INLINE int32_t ek_half_to_s8(int32_t x) { return ek_clamp(x >> 1, -128, 127); }
#endif

/* Of each output channel the exporter makes a record (``multiplier`` of ek_conv points to them): the bias; M = 2 m - 2^32 of the multiplier
 * m; and s - 1, where the channel's scale is m / 2^(31 + s).
 * TFLite rounds twice: h = (sum m + 2^30) / 2^31, rounded down, then h / 2^s, a half away from zero. The first is (sum M + sum 2^32 + 2^31)
 * / 2^32: one instruction that never overflows. A half goes away from zero if it goes up after 1 was taken from negative h; the sum's sign
 * will do, for h = 0 that 1 makes no difference. The zero point is added before the shift: addend = (zero + 1/2) 2^s. Where that addition
 * saturates the output lies beyond int8 anyway, as long as s <= 24. The records of other scales (1/2 and above, or vanishing) hold an
 * s - 1 that is negative or above 23, and take TFLite's own way. */
typedef struct {
    int32_t bias, multiplier, shift;
} ek_record;

EK_INLINE const ek_record *ek_records(const ek_conv *p) { return (const ek_record *)(const void *)p->multiplier; }

EK_INLINE int32_t ek_is_common(int32_t shift) { return (uint32_t)shift < 24u; }

/* Clamped to int8, not yet to the layer's own limits; ``addend`` is (2 zero + 1) << shift. */
EK_INLINE int32_t ek_scaled_s8(int32_t sum, int32_t multiplier, int32_t addend, int32_t shift)
{
    const int32_t high = ek_multiply_high(sum, multiplier, sum);
    return ek_half_to_s8(ek_add_saturating(high, addend + (sum >> 31)) >> shift);
}

static __attribute__((noinline, unused)) int32_t ek_scaled_rarely_s8(int32_t sum, int32_t multiplier, int32_t shift, int32_t twice_zero)
{
    const int32_t y = ek_requantize(sum, (int32_t)((uint32_t)multiplier >> 1), -1 - shift);
    return ek_clamp(ek_add_wrap(y, twice_zero >> 1), -128, 127);
}

/* What the assembly of a kernel does with a sum in a register, r6 M, r7 s - 1, r8 the addend; r11 is lost. And the rare way: the stack
 * pointer + 36 leads to twice_zero and to ek_scaled_rarely_s8; r0 to r3 and r12 are lost. */
#define EK_SCALE(sum)                                                                                             \
    "add r11, r8, " sum ", asr #31\n\tsmmlar " sum ", " sum ", r6, " sum "\n\tqadd " sum ", " sum ", r11\n\t"     \
    "asr " sum ", " sum ", r7\n\tssat " sum ", #8, " sum ", asr #1\n\t"
#define EK_RARELY(sum)                                                                                            \
    "mov r0, " sum "\n\tmov r1, r6\n\tmov r2, r7\n\tldr r3, [sp, #36]\n\tldr r12, [sp, #40]\n\tblx r12\n\tmov " sum ", r0\n\t"

EK_INLINE int8_t ek_scaled_any_s8(int32_t sum, const ek_record *r, int32_t twice_zero)
{
    return (int8_t)(ek_is_common(r->shift) ? ek_scaled_s8(sum, r->multiplier, (int32_t)((uint32_t)twice_zero << r->shift), r->shift)
                                           : ek_scaled_rarely_s8(sum, r->multiplier, r->shift, twice_zero));
}

/* The layer's limits, where they cut more than int8 does: over all of its outputs at once. */
static __attribute__((unused)) void ek_limit_s8(const ek_conv *p, int8_t *y, int32_t count)
{
    if (p->low <= -128 && p->high >= 127) {
        return;
    }
    int8_t *const end = y + count;
#if EK_DSP
    const uint32_t low = (uint32_t)(p->low & 0xFF) * 0x01010101u, high = (uint32_t)(p->high & 0xFF) * 0x01010101u;
    for (; end - y >= 4; y += 4) {
        uint32_t v = ek_load4(y), t;
        __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2\n\tssub8 %1, %3, %0\n\tsel %0, %0, %3"
                : "+r"(v), "=&r"(t)
                : "r"(low), "r"(high)
                : "cc");
        ek_store4(y, v);
    }
#endif
    for (; y != end; y++) {
        *y = (int8_t)ek_clamp(*y, p->low, p->high);
    }
}
