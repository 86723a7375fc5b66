/* A driver's half, split or packed; the input is what its user asks for, and a device that lies. */
#ifndef VDP_FUZZ_DRIVER_RUN_H
#define VDP_FUZZ_DRIVER_RUN_H

#include "input.h"

int fuzz_driver(struct fuzz_input *in, bool packed);

#endif
