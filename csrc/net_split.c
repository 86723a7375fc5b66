/* The data path over split rings. */
#include "split_device.h"

#define RING(name) vdp_split_##name
#include "net_loops.h"

static bool size_ok(const struct vdp_queue_conf *conf)
{
	uint16_t size = conf->size;

	return size > 0 && size <= VDP_SPLIT_MAX_SIZE && !(size & (size - 1));
}

const struct vdp_net vdp_net_split = NET_OPS;
