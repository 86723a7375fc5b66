/* A device's half, split or packed, with the net layer and a port on top; the input is the driver. */
#ifndef VDP_FUZZ_DEVICE_H
#define VDP_FUZZ_DEVICE_H

#include "input.h"

int fuzz_device(struct fuzz_input *in, bool packed);

#endif
