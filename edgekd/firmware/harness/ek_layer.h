/* Included before a model that is compiled to be measured layer by layer (-include ek_layer.h). */
#include <stdint.h>
void ek_mark(uint32_t index);
#define EK_LAYER(index) ek_mark(index)
