/* Each frame comes back on the pair that sent it. */
#include "port.h"

static uint32_t echo_poll(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_queue *rx;
	uint32_t n;

	if (!vdp_nic_usable(nic, pair->tx))
		return 0;
	rx = vdp_nic_usable(nic, pair->rx) ? pair->rx : NULL;
	if (nic->error.code != VDP_NIC_OK)
		return 0;
	n = vdp_port_move(nic, pair, rx != NULL);
	if (n > 0 && VDP_UNLIKELY(vdp_ring_at_start(&pair->tx->ring)) && nic->error.code == VDP_NIC_OK)
		n += vdp_port_move(nic, pair, rx != NULL); /* the end of the ring cut the burst in two */
	if (n == 0 || nic->error.code != VDP_NIC_OK)
		return n;
	if (!rx)
		vdp_count(&pair->rx->stats.dropped, n);
	nic->net->flush(rx, pair->tx);
	return n;
}

static void echo_inject(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	if (!vdp_nic_usable(nic, pair->rx)) {
		vdp_count(&pair->rx->stats.dropped, 1);
		return;
	}
	if (vdp_port_deliver_pieces(nic, pair, length))
		nic->net->flush(pair->rx, NULL);
}

const struct vdp_port_ops vdp_port_echo = {.poll = echo_poll, .inject = echo_inject};
