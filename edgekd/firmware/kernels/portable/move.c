/* edgekd kernel; needs: */
/* Bytes from one place to another: slices, transpositions, parts of a concatenation, what lies inside of a padding. */
enum { EK_MOVE_AXES = 6 };

typedef struct {
    const int32_t *axes; /* from the innermost, at least one: size, bytes that a step moves the source by, and the target */
    int32_t from, to;    /* where the first value lies (bytes) */
    int32_t run;         /* bytes that lie side by side on both ends */
    int32_t rank;        /* of axes */
} ek_move;

static void ek_move_bytes(const ek_move *p, const void *x, void *y, void *scratch)
{
    const uint8_t *from = (const uint8_t *)x + p->from;
    uint8_t *to = (uint8_t *)y + p->to;
    const int32_t run = p->run, rank = p->rank, count = p->axes[0], from_step = p->axes[1], to_step = p->axes[2];
    int32_t at[EK_MOVE_AXES] = {0};
    (void)scratch;
    for (;;) {
        const uint8_t *source = from;
        uint8_t *target = to;
        const int32_t *axis = p->axes + 3;
        for (int32_t n = count; n > 0; n--, source += from_step, target += to_step) {
            if (run >= 16) {
                memcpy(target, source, (size_t)run);
                continue;
            }
            int32_t i = 0;
            do {
                target[i] = source[i];
            } while (++i < run);
        }
        int32_t k = 1;
        for (; k < rank; k++, axis += 3) {
            if (++at[k] < axis[0]) {
                from += axis[1];
                to += axis[2];
                break;
            }
            at[k] = 0;
            from -= axis[1] * (axis[0] - 1);
            to -= axis[2] * (axis[0] - 1);
        }
        if (k >= rank) {
            return;
        }
    }
}
