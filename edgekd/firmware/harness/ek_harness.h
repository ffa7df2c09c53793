/* edgekd's harness (ek_): it reads inputs, runs models, and answers with outputs, ticks, ticks a layer and stack. */
#ifndef EK_HARNESS_H
#define EK_HARNESS_H
#include <stdint.h>

/* One model of the firmware, as ek_models.c (generated) lists them. All of them share ek_arena, one after the other. */
typedef struct {
    uint32_t input_bytes, output_bytes, layers;
    void *(*input)(void *arena);
    void (*run)(void *arena);
    void (*output)(const void *arena, void (*write)(const void *bytes, uint32_t count)); /* every output, in order */
} ek_model;

extern const ek_model ek_models[];
extern const uint32_t ek_model_count;
extern int8_t ek_arena[];
extern uint32_t ek_layer_ticks[]; /* room for the most layers of any model */

/* Transport: ek_semihosting.c or ek_uart.c. ek_open begins a session, and returns 0 where there will be no other; ek_read returns 0 where no
 * more will come in this one. */
int ek_open(void);
int ek_read(void *bytes, uint32_t count);
void ek_write(const void *bytes, uint32_t count);
void ek_exit(uint32_t code) __attribute__((noreturn));

/* What stands at EK_LAYER(index) in a model: the ticks from one mark to the next belong to the layer of the first. */
void ek_mark(uint32_t index);

/* Stack painting: words below the caller are filled, and what is no longer so was used. */
void ek_paint(void);
uint32_t ek_lowest_used(void); /* address of the lowest word that was written since */

int ek_main(void);

/* From the linker script. */
extern uint32_t ek_stack_bottom[], ek_stack_top[];

#endif
