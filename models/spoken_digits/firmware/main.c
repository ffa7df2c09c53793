/* Spoken digits on a microcontroller: samples as a microphone gives them, a label for each clip.
 *
 * In: WAV files, one after the other (mono, 16 bits, DIGITS_RATE). Out: one line of text a clip, "label L logits … ticks T T stack S":
 * the class, what the model answered, what features and inference took on the timer, and the deepest stack so far.
 * ek_… is edgekd's harness (start-up, transport, stack painting), ekp_… the board's port: docs/porting.md. On hardware a driver's buffer
 * takes the place of ek_read, and everything from digits_stream_push on stays as it is.
 */
#include "digits.h"
#include "digits_frontend.h"
#include "ek_harness.h"
#include "ek_port.h"

/* What a microphone's driver hands over at a time: 20 ms. */
#define BLOCK 160u

typedef struct {
    char riff[4];
    uint32_t file_bytes;
    char wave_fmt[8];
    uint32_t fmt_bytes;
    uint16_t format, channels;
    uint32_t rate, bytes_a_second;
    uint16_t block, bits;
    char data[4];
    uint32_t data_bytes;
} wav_header;

static __attribute__((section(".ek_arena"), aligned(16))) int8_t arena[DIGITS_ARENA_BYTES];
static digits_stream_t stream;

static void say(const char *text) {
    uint32_t length = 0;
    while (text[length]) {
        length++;
    }
    ek_write(text, length);
}

static void say_number(int32_t number) {
    char text[12];
    uint32_t at = sizeof text, left = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    text[--at] = 0;
    do {
        text[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (number < 0) {
        text[--at] = '-';
    }
    text[--at] = ' ';
    say(text + at);
}

/* The clip goes through in blocks; says how long the features took. A clip that is too short leaves silence before it. */
static uint32_t listen(uint32_t samples) {
    int16_t block[BLOCK];
    uint32_t ticks = 0;
    digits_stream_start(&stream);
    while (samples) {
        const uint32_t count = samples < BLOCK ? samples : BLOCK;
        if (!ek_read(block, count * sizeof *block)) {
            break;
        }
        const uint32_t before = ekp_ticks();
        /* While it listens the model does not run: its arena serves as the scratch that a frame needs. */
        digits_stream_push(&stream, block, count, DIGITS_FEATURES_SCRATCH(arena));
        ticks += ekp_ticks() - before;
        samples -= count;
    }
    return ticks;
}

static uint32_t infer(void) {
    const uint32_t before = ekp_ticks();
    digits_stream_read(&stream, digits_input(arena));
    digits_run(arena);
    return ekp_ticks() - before;
}

static uint32_t best(const digits_output_t *logits) {
    uint32_t label = 0;
    for (uint32_t n = 1; n < DIGITS_OUTPUT_SIZE; n++) {
        if (logits[n] > logits[label]) { /* ties go to the lowest */
            label = n;
        }
    }
    return label;
}

int ek_main(void) {
    wav_header header;
    ek_open();
    ek_paint();
    while (ek_read(&header, sizeof header)) {
        if (header.format != 1 || header.channels != 1 || header.bits != 16 || header.rate != DIGITS_RATE) {
            say("no clip for this model\n");
            return 1;
        }
        const uint32_t heard = listen(header.data_bytes / 2), thought = infer();
        const digits_output_t *logits = digits_output(arena);
        say("label ");
        say(digits_labels[best(logits)]);
        say(" logits");
        for (uint32_t n = 0; n < DIGITS_OUTPUT_SIZE; n++) {
            say_number(logits[n]);
        }
        say(" ticks");
        say_number((int32_t)heard);
        say_number((int32_t)thought);
        say(" stack");
        say_number((int32_t)((uintptr_t)ek_stack_top - ek_lowest_used()));
        say("\n");
    }
    return 0;
}
