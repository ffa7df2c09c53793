/* edgekd port
 * machine: mps2-an505
 * cores: cortex-m33
 * flash: 0x10000000 4096K
 * ram: 0x38000000 2048K
 * timer: 20000000
 *
 * Arm MPS2 with FPGA image AN505 (IoT kit), its peripherals and memories by their secure addresses.
 */
#define CMSDK_TIMER 0x50000000u
#define CMSDK_UART 0x50200000u
#include "cmsdk.h"
