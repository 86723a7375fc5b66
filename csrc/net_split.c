/* The data path over split rings. */
#include "split_device.h"

#define NET_HEADERS 0
#define RING(name)  vdp_split_##name
#include "net_loops.h"

const struct vdp_net vdp_net_split = NET_OPS;
