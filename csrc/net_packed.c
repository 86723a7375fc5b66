/* The data path over packed rings. */
#include "packed_device.h"

#define NET_HEADERS 0
#define RING(name)  vdp_packed_##name
#include "net_loops.h"

const struct vdp_net vdp_net_packed = NET_OPS;
