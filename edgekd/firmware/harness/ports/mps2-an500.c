/* edgekd port
 * machine: mps2-an500
 * cores: cortex-m7
 * flash: 0x00000000 4096K
 * ram: 0x20000000 4096K
 * timer: 25000000
 *
 * Arm MPS2 with FPGA image AN500. CMSDK timer 0 (counts down) and UART 0: Arm DDI 0479, Cortex-M System Design Kit.
 */
#include "cmsdk.h"
