/* edgekd kernel; needs: */
/* x / 2^right, a half away from zero, as ek_divide_by_power but in fewer instructions: |x| at most 2^30, 0 <= right <= 31. */
EK_INLINE int32_t ek_divide_small(int32_t x, int32_t right)
{
    const int32_t half = (int32_t)((UINT32_C(1) << right) >> 1);
    return (x + half + ((x >> 31) & -(right > 0))) >> right;
}

/* x * multiplier / 2^32, a half up, for even x: ek_doubling_high of half as much, which takes the upper register alone. */
EK_INLINE int32_t ek_high(int32_t x, int32_t multiplier)
{
#ifdef EK_SHORT_MULTIPLY
    return ek_doubling_high(x >> 1, multiplier);
#else
    return (int32_t)(((int64_t)x * multiplier + (INT64_C(1) << 31)) >> 32);
#endif
}

/* x as the nearest integer of so many bits. */
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
#define EK_SATURATE(x, bits) __builtin_arm_ssat(x, bits)
#else
#define EK_SATURATE(x, bits) ek_clamp(x, -(INT32_C(1) << ((bits)-1)), (INT32_C(1) << ((bits)-1)) - 1)
#endif
