/* What is transmitted is gone, and nothing comes. */
#include "port.h"

static uint32_t discard_poll(struct vdp_nic *nic, struct vdp_pair *pair)
{
	uint32_t n;

	if (!vdp_nic_usable(nic, pair->tx))
		return 0;
	n = vdp_port_move(nic, pair, false);
	if (n > 0 && nic->error.code == VDP_NIC_OK)
		nic->net->flush(NULL, pair->tx);
	return n;
}

const struct vdp_port_ops vdp_port_discard = {.poll = discard_poll};
