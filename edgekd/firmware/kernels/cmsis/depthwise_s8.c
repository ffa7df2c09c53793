/* edgekd kernel; needs: nn */
/* Weights as TFLite has them, [k_h, k_w, out_c]. */
static void ek_depthwise_nn_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const cmsis_nn_context context = {scratch, 0};
    const cmsis_nn_dw_conv_params params = {
        -p->in_zero,
        p->out_zero,
        p->multiplier_or_groups,
        {p->stride_w, p->stride_h},
        {p->pad_left, p->pad_top},
        {p->dilation_w, p->dilation_h},
        {p->low, p->high},
    };
    const cmsis_nn_per_channel_quant_params scales = ek_nn_scales(p);
    const cmsis_nn_dims in = ek_nn_dims(1, p->in_h, p->in_w, p->in_c), filter = ek_nn_dims(1, p->k_h, p->k_w, p->out_c);
    const cmsis_nn_dims bias = ek_nn_dims(0, 0, 0, p->out_c), out = ek_nn_dims(1, p->out_h, p->out_w, p->out_c);
    (void)arm_depthwise_conv_wrapper_s8(&context, &params, &scales, &in, x, &filter, p->weights, &bias, p->bias, &out, y);
}
