/* edgekd port
 * machine: mps2-an386
 * cores: cortex-m4 cortex-m4f
 * flash: 0x00000000 4096K
 * ram: 0x20000000 4096K
 * timer: 25000000
 *
 * Arm MPS2 with FPGA image AN386. CMSDK timer 0 (counts down) and UART 0: Arm DDI 0479, Cortex-M System Design Kit.
 */
#include "cmsdk.h"
