/* The data path over split rings, of frames whose headers say something. */
#include "split_device.h"

#define NET_HEADERS 1
#define RING(name)  vdp_split_##name
#include "net_loops.h"

const struct vdp_net vdp_net_split_headers = NET_OPS;
