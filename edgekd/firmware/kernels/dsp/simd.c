/* edgekd kernel; needs: */
/* The instructions of Arm's DSP extension that the kernels use, by name, and requantization by them.
 * The compiler's arm_acle.h lacks rotations within SXTB16, so each is one line of assembly here. With EK_EMULATE_DSP they are plain C. */

typedef struct {
    uint32_t value;
} __attribute__((packed, may_alias)) ek_word;

/* Words at any address: one LDR or STR (these cores load unaligned words). */
static inline uint32_t ek_load4(const void *from) { return ((const ek_word *)from)->value; }
static inline void ek_store4(void *to, uint32_t value) { ((ek_word *)to)->value = value; }

#if defined(EK_EMULATE_DSP)
static inline int32_t ek_half(uint32_t x, int high) { return (int16_t)(uint16_t)(high ? x >> 16 : x & 0xFFFFu); }
static inline uint32_t ek_halves(int32_t low, int32_t high) { return ((uint32_t)high << 16) | ((uint32_t)low & 0xFFFFu); }
static inline uint32_t ek_ror8(uint32_t x) { return (x >> 8) | (x << 24); }
static inline uint32_t ek_sxtab16(uint32_t a, uint32_t x) {
    return ek_halves(ek_half(a, 0) + (int8_t)(uint8_t)(x & 0xFFu), ek_half(a, 1) + (int8_t)(uint8_t)((x >> 16) & 0xFFu));
}
static inline uint32_t ek_sxtab16_ror8(uint32_t a, uint32_t x) { return ek_sxtab16(a, ek_ror8(x)); }
static inline uint32_t ek_sxtb16(uint32_t x) { return ek_sxtab16(0, x); }
static inline uint32_t ek_sxtb16_ror8(uint32_t x) { return ek_sxtab16(0, ek_ror8(x)); }
static inline int32_t ek_smlad(uint32_t a, uint32_t b, int32_t sum) {
    uint32_t low = (uint32_t)(ek_half(a, 0) * ek_half(b, 0)), high = (uint32_t)(ek_half(a, 1) * ek_half(b, 1));
    return (int32_t)((uint32_t)sum + low + high);
}
static inline uint32_t ek_pkhbt(uint32_t a, uint32_t b) { return (a & 0xFFFFu) | (b << 16); }
static inline uint32_t ek_pkhtb(uint32_t a, uint32_t b) { return (a & 0xFFFF0000u) | (b >> 16); }
static inline int32_t ek_smmlar(int32_t a, int32_t b, int32_t sum) {
    return (int32_t)(uint32_t)(((uint64_t)((int64_t)a * b) + ((uint64_t)(uint32_t)sum << 32) + 0x80000000u) >> 32);
}
static inline int32_t ek_qadd(int32_t a, int32_t b) {
    int64_t sum = (int64_t)a + b;
    return (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}
static inline int32_t ek_ssat8_half(int32_t x) {
    x >>= 1;
    return x > 127 ? 127 : x < -128 ? -128 : x;
}
static inline uint32_t ek_clamp4(uint32_t x, uint32_t low, uint32_t high) {
    uint32_t out = 0;
    for (int i = 0; i < 32; i += 8) {
        int8_t v = (int8_t)(uint8_t)(x >> i), l = (int8_t)(uint8_t)(low >> i), h = (int8_t)(uint8_t)(high >> i);
        out |= (uint32_t)(uint8_t)(v < l ? l : v > h ? h : v) << i;
    }
    return out;
}
#else
#define EK_DSP_2(name, text)                                     \
    static inline uint32_t name(uint32_t a, uint32_t b) {        \
        uint32_t r;                                              \
        __asm__(text : "=r"(r) : "r"(a), "r"(b));                \
        return r;                                                \
    }
EK_DSP_2(ek_sxtab16, "sxtab16 %0, %1, %2")
EK_DSP_2(ek_sxtab16_ror8, "sxtab16 %0, %1, %2, ror #8")
EK_DSP_2(ek_pkhbt, "pkhbt %0, %1, %2, lsl #16")
EK_DSP_2(ek_pkhtb, "pkhtb %0, %1, %2, asr #16")
static inline uint32_t ek_sxtb16(uint32_t x) {
    uint32_t r;
    __asm__("sxtb16 %0, %1" : "=r"(r) : "r"(x));
    return r;
}
static inline uint32_t ek_sxtb16_ror8(uint32_t x) {
    uint32_t r;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(r) : "r"(x));
    return r;
}
static inline int32_t ek_smlad(uint32_t a, uint32_t b, int32_t sum) {
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
    return r;
}
static inline int32_t ek_smmlar(int32_t a, int32_t b, int32_t sum) {
    int32_t r;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(sum));
    return r;
}
static inline int32_t ek_qadd(int32_t a, int32_t b) {
    int32_t r;
    __asm__("qadd %0, %1, %2" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
static inline int32_t ek_ssat8_half(int32_t x) {
    int32_t r;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(r) : "r"(x));
    return r;
}
static inline uint32_t ek_clamp4(uint32_t x, uint32_t low, uint32_t high) {
    uint32_t t;
    __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2\n\tssub8 %1, %3, %0\n\tsel %0, %0, %3" : "+r"(x), "=&r"(t) : "r"(low), "r"(high) : "cc");
    return x;
}
#endif

/* One output channel's requantization, made ready for many accumulators.
 * TFLM rounds twice: h = floor((acc m + 2^30) / 2^31), then h / 2^s, a half away from zero. With M = 2 m - 2^32 the first is one SMMLAR,
 * (acc M + acc 2^32 + 2^31) / 2^32, which never overflows. A half away from zero is a half up after 1 was taken from negative sums (for
 * h = 0 that makes no difference, so the sign of acc will do); the zero point is added before the shift. QADD saturates where TFLM's
 * result lies beyond int8 anyway, as long as s <= 24. */
typedef struct {
    int32_t multiplier, addend, shift; /* shift < 0: not of that form, see ek_requantize */
} ek_scale;

static inline ek_scale ek_scale_of(const ek_conv *p, int32_t channel) {
    int32_t shift = ~(int32_t)p->shift[channel], multiplier = p->multiplier[channel];
    ek_scale scale = {(int32_t)((uint32_t)multiplier << 1), 0, -1};
    if ((uint32_t)shift < 24u && multiplier >= (1 << 30)) {
        scale.addend = (int32_t)((uint32_t)(2 * p->out_zero + 1) << shift);
        scale.shift = shift;
    }
    return scale;
}

static inline int8_t ek_scaled(ek_scale scale, int32_t acc) {
    int32_t high = ek_smmlar(acc, scale.multiplier, acc);
    return (int8_t)ek_ssat8_half(ek_qadd(high, scale.addend + (acc >> 31)) >> scale.shift);
}

/* For the channels that ek_scale does not hold: large or vanishing multipliers. */
static int8_t __attribute__((noinline, unused)) ek_scaled_any(const ek_conv *p, int32_t channel, int32_t acc) {
    int32_t y = ek_requantize(acc, p->multiplier[channel], p->shift[channel]) + p->out_zero;
    return (int8_t)(y < -128 ? -128 : y > 127 ? 127 : y);
}

/* An activation that cuts more than int8 does: over all outputs at once, four at a time. */
static void ek_clamp(const ek_conv *p, int8_t *y, int32_t count) {
    if (p->low <= -128 && p->high >= 127) {
        return;
    }
    uint32_t low = (uint32_t)(p->low & 0xFF) * 0x01010101u, high = (uint32_t)(p->high & 0xFF) * 0x01010101u;
    int32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        ek_store4(y + i, ek_clamp4(ek_load4(y + i), low, high));
    }
    for (; i < count; i++) {
        y[i] = (int8_t)(y[i] < p->low ? p->low : y[i] > p->high ? p->high : y[i]);
    }
}
