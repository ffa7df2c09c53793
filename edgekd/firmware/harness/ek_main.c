/* The loop: a request comes in ("EKRQ", model, count, inputs), an answer goes out, sample by sample, as stated in edgekd/mcu/answers.py. */
#include "ek_harness.h"
#include "ek_port.h"

static uint32_t last_mark, last_ticks, marked;
static const void *volatile nothing_at; /* so that the compiler does not see through the empty run */

__attribute__((noinline)) void ek_mark(uint32_t index) {
    const uint32_t now = ekp_ticks();
    if (marked) ek_layer_ticks[last_mark] += now - last_ticks;
    marked = 1;
    last_mark = index;
    last_ticks = ekp_ticks();
}

__attribute__((noinline)) static void nothing(void *arena) { nothing_at = arena; }

static void put(uint32_t value) { ek_write(&value, sizeof value); }

typedef struct {
    uint32_t ticks, stack;
} ek_cost;

__attribute__((noinline)) static ek_cost timed(void (*run)(void *)) {
    uint32_t sp;
    ek_cost cost;
    __asm volatile("mov %0, sp" : "=r"(sp));
    ek_paint();
    const uint32_t before = ekp_ticks();
    run(ek_arena);
    cost.ticks = ekp_ticks() - before;
    const uint32_t lowest = ek_lowest_used();
    cost.stack = lowest < sp ? sp - lowest : 0;
    return cost;
}

/* Ticks that two marks next to each other see: what a mark itself takes. */
static uint32_t mark_cost(void) {
    marked = 0;
    ek_layer_ticks[0] = 0;
    ek_mark(0);
    ek_mark(0);
    return ek_layer_ticks[0];
}

static void answer(const ek_model *model, uint32_t count) {
    put(0x41504B45u); /* "EKPA" */
    put(model->input_bytes);
    put(model->output_bytes);
    put(model->layers);
    put(timed(nothing).ticks);
    put(mark_cost());
    for (uint32_t sample = 0; sample < count; sample++) {
        if (!ek_read(model->input(ek_arena), model->input_bytes)) return;
        for (uint32_t i = 0; i < model->layers; i++) ek_layer_ticks[i] = 0;
        marked = 0;
        const ek_cost cost = timed(model->run);
        put(cost.ticks);
        model->output(ek_arena, ek_write);
        if (sample == 0) {
            for (uint32_t i = 0; i < model->layers; i++) put(ek_layer_ticks[i]);
            put(cost.stack);
        }
    }
    put(0x444E4B45u); /* "EKND" */
}

int ek_main(void) {
    uint32_t request[3];
    while (ek_open()) {
        while (ek_read(request, sizeof request)) {
            if (request[0] != 0x51524B45u || request[1] >= ek_model_count) return 71; /* "EKRQ" */
            answer(&ek_models[request[1]], request[2]);
        }
    }
    return 0;
}
