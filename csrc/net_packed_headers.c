/* The data path over packed rings, of frames whose headers say something. */
#include "packed_device.h"

#define NET_HEADERS 1
#define RING(name)  vdp_packed_##name
#include "net_loops.h"

const struct vdp_net vdp_net_packed_headers = NET_OPS;
