/* Vector table and reset of any Cortex-M: data and bss, co-processors, ekp_init, ek_main. No libc. */
#include "ek_harness.h"
#include "ek_port.h"

extern uint32_t ek_data_load[], ek_data_start[], ek_data_end[], ek_bss_start[], ek_bss_end[];

void ek_reset(void) __attribute__((noreturn));
void ek_fault(void) __attribute__((noreturn));

/* Below the stack, which lies at the bottom of RAM, a write faults: some emulated boards, and chips, drop it in silence.
 * Armv8-M ARM, B3.8 (MSPLIM); Armv7-M ARM, B3.5 (MPU): a region of 64 KB without access, the rest as it is by default. */
static void guard_stack(void) {
#if __ARM_ARCH >= 8 && __ARM_ARCH_PROFILE == 'M' && !defined(__ARM_ARCH_8M_BASE__)
    __asm volatile("msr msplim, %0" ::"r"(ek_stack_bottom));
#else
    volatile uint32_t *const mpu = (volatile uint32_t *)0xE000ED90u; /* TYPE, CTRL, RNR, RBAR, RASR */
    if (mpu[0] >> 8 & 0xFFu) {
        mpu[2] = 0;
        mpu[3] = (uint32_t)(uintptr_t)ek_stack_bottom - 0x10000u;
        mpu[4] = 1u << 28 | 15u << 1 | 1u;
        mpu[1] = 5; /* on, not in HardFault */
    }
#endif
}

void ek_reset(void) {
    for (uint32_t *from = ek_data_load, *to = ek_data_start; to < ek_data_end;) *to++ = *from++;
    for (volatile uint32_t *at = ek_bss_start; at < ek_bss_end;) *at++ = 0;
#if (defined(__ARM_FP) && __ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: floating point and Helium */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    guard_stack();
    ekp_init();
    ek_exit((uint32_t)ek_main());
}

/* Any fault, a stack that ran out of its room among them: nothing can be mended here. The stack may be none any more. */
__attribute__((naked)) void ek_fault(void) {
    __asm volatile(
        ".syntax unified\n\t"
        "ldr r0, =ek_stack_top\n\t"
        "mov sp, r0\n\t"
        "movs r0, #70\n\t"
        "ldr r1, =ek_exit\n\t"
        "bx r1\n\t"
        ".ltorg");
}

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
