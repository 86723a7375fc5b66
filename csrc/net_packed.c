/* The data path over packed rings. */
#include "packed_device.h"

#define RING(name) vdp_packed_##name
#include "net_loops.h"

static bool size_ok(const struct vdp_queue_conf *conf)
{
	uint16_t size = conf->size;

	return size > 0 && size <= VDP_PACKED_MAX_SIZE && vdp_packed_at(conf->last_avail) < size;
}

const struct vdp_net vdp_net_packed = NET_OPS;
