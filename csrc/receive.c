/* Frames from the wire, for the driver. */
#include "nic_impl.h"

uint32_t vdp_receive(struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	nic->serving = pair->rx->ring.index;
	return nic->net->deliver(pair->rx, nic->mergeable, nic->scratch, frames, n);
}

uint32_t vdp_receive_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	nic->serving = pair->rx->ring.index;
	return nic->net->deliver_pieces(pair->rx, nic->mergeable, nic->scratch, length);
}
