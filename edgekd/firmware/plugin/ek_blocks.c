/* edgekd plugin of QEMU: how often each block of instructions ran, and how often a jump ended it. Arguments: out=FILE.
 * Writes lines "address instructions runs taken" when QEMU ends. QEMU's interface is declared here, since Debian does not ship its header:
 * qemu-plugin.h (QEMU 7.2 and later), of which only what never changed is used. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef EK_PLUGIN_VERSION
#define EK_PLUGIN_VERSION 1
#endif
#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*callback)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*callback)(unsigned cpu, void *data), int flags, void *data);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*callback)(uint64_t id, void *data), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

EXPORT int qemu_plugin_version = EK_PLUGIN_VERSION;

typedef struct block {
    uint64_t address, count, end, runs, taken;
    struct block *next;
} block;

#define BUCKETS 4096
static block *blocks[BUCKETS], *before;
static char path[4096];

static void ran(unsigned cpu, void *data) {
    (void)cpu;
    block *const now = data;
    /* Where a block ends before an instruction that crosses a page, QEMU counts two bytes of that to the one before. */
    if (before && before->end != now->address && before->end - 2 != now->address) before->taken++;
    now->runs++;
    before = now;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    const uint64_t address = qemu_plugin_tb_vaddr(tb);
    const uint64_t count = qemu_plugin_tb_n_insns(tb);
    uint64_t end = address;
    for (size_t i = 0; i < count; i++) end += qemu_plugin_insn_size(qemu_plugin_tb_get_insn(tb, i));
    block **at = &blocks[address / 2 % BUCKETS];
    while (*at && ((*at)->address != address || (*at)->count != count)) at = &(*at)->next;
    if (!*at) {
        *at = calloc(1, sizeof **at);
        if (!*at) abort();
        (*at)->address = address;
        (*at)->count = count;
        (*at)->end = end;
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, 0, *at);
}

static void ended(uint64_t id, void *data) {
    (void)id;
    (void)data;
    FILE *out = fopen(path, "w");
    if (!out) return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const block *b = blocks[i]; b; b = b->next)
            if (b->runs)
                fprintf(out, "%llu %llu %llu %llu\n", (unsigned long long)b->address, (unsigned long long)b->count, (unsigned long long)b->runs,
                        (unsigned long long)b->taken);
    fclose(out);
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4) && strlen(argv[i]) < sizeof path) strcpy(path, argv[i] + 4);
    if (!path[0]) return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
