/* edgekd kernel; needs: */
/* Calls of CMSIS-NN: its structs from ours. ``multiplier`` of ek_conv holds all multipliers, then all shifts, as CMSIS-NN wants them. */
#include "arm_nnfunctions.h"

EK_INLINE cmsis_nn_dims ek_nn_dims(int32_t n, int32_t h, int32_t w, int32_t c)
{
    const cmsis_nn_dims dims = {n, h, w, c};
    return dims;
}

EK_INLINE cmsis_nn_per_channel_quant_params ek_nn_scales(const ek_conv *p)
{
    /* CMSIS-NN reads them only, but does not say so. */
    int32_t *const multiplier = (int32_t *)(uintptr_t)p->multiplier;
    const cmsis_nn_per_channel_quant_params scales = {multiplier, multiplier + p->out_c};
    return scales;
}
