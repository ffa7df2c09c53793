/* Vector table and reset of any Cortex-M: data and bss, co-processors, ekp_init, ek_main. No libc. */
#include "ek_harness.h"
#include "ek_port.h"

extern uint32_t ek_data_load[], ek_data_start[], ek_data_end[], ek_bss_start[], ek_bss_end[];

void ek_reset(void) __attribute__((noreturn));
void ek_fault(void) __attribute__((noreturn));

void ek_reset(void) {
    for (uint32_t *from = ek_data_load, *to = ek_data_start; to < ek_data_end;) *to++ = *from++;
    for (volatile uint32_t *at = ek_bss_start; at < ek_bss_end;) *at++ = 0;
#if (defined(__ARM_FP) && __ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: floating point and Helium */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    ekp_init();
    ek_exit((uint32_t)ek_main());
}

/* Any fault, a stack that ran out of its room among them: nothing can be mended here. */
void ek_fault(void) { ek_exit(70); }

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} ek_vector;

__attribute__((section(".vectors"), used)) static const ek_vector vectors[16] = {
    {.stack = ek_stack_top},  {.handler = ek_reset}, {.handler = ek_fault}, {.handler = ek_fault},
    {.handler = ek_fault},    {.handler = ek_fault}, {.handler = ek_fault}, {.handler = ek_fault},
    {.stack = 0},             {.stack = 0},          {.stack = 0},          {.handler = ek_fault},
    {.handler = ek_fault},    {.stack = 0},          {.handler = ek_fault}, {.handler = ek_fault},
};
