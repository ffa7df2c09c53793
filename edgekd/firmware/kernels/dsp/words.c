/* edgekd kernel; needs: */
/* In the body of a short loop: the compiler shall not make it a call of memcpy or memset, which takes longer. */
#if defined(__GNUC__)
#define EK_KEEP_LOOP __asm__ volatile("")
#else
#define EK_KEEP_LOOP ((void)0)
#endif

/* Words at any address: one LDR or STR where the core loads unaligned words. */
typedef struct {
    uint32_t value;
} __attribute__((packed, may_alias)) ek_word;

EK_INLINE uint32_t ek_load4(const void *from) { return ((const ek_word *)from)->value; }

EK_INLINE void ek_store4(void *to, uint32_t value) { ((ek_word *)to)->value = value; }


/* Whether 0 <= i < n. */
EK_INLINE int32_t ek_within(int32_t i, int32_t n) { return (uint32_t)i < (uint32_t)n; }
