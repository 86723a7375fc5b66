#include "port.h"

const struct vdp_port_ops *const vdp_ports[] = {
    [VDP_PORT_ECHO] = &vdp_port_echo,
    [VDP_PORT_DISCARD] = &vdp_port_discard,
    [VDP_PORT_GENERATE] = &vdp_port_generate,
    [VDP_PORT_TAP] = &vdp_port_tap,
    [VDP_PORT_PACKET] = &vdp_port_packet,
    [VDP_PORT_PCAP] = &vdp_port_pcap,
    [VDP_PORT_LINK] = &vdp_port_link,
};
const uint32_t vdp_ports_count = sizeof(vdp_ports) / sizeof(vdp_ports[0]);

static void port_capture_pieces(
    struct vdp_nic *nic, struct vdp_pair *pair, enum vdp_capture_way way, uint32_t length)
{
	vdp_capture_pieces(nic->capture, vdp_port_index(nic, pair), way, nic->scratch->src + 1, length);
}

/* The frame at the front of a transmit queue, of any shape, to the receive queue or nowhere. */
static uint32_t port_move_chain(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_queue *rx)
{
	struct vdp_chain chain;
	uint32_t length;

	if (nic->net->peek_chain(pair->tx, nic->scratch, &chain) <= 0)
		return 0;
	length = (uint32_t)chain.length - VDP_NET_HDR;
	if (VDP_UNLIKELY(nic->capture))
		port_capture_pieces(nic, pair, VDP_CAPTURE_SENT, length);
	if (rx) {
		nic->serving = rx->ring.index;
		if (VDP_UNLIKELY(nic->capture))
			port_capture_pieces(nic, pair, VDP_CAPTURE_RECEIVED, length);
		nic->net->deliver_pieces(rx, nic->mergeable, nic->scratch, length);
	}
	nic->net->done_chain(pair->tx, &chain);
	return 1;
}

uint32_t vdp_port_move(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_queue *rx)
{
	struct vdp_frame frames[VDP_BURST];
	struct vdp_queue *tx = pair->tx;
	uint32_t n;

	nic->serving = tx->ring.index;
	n = nic->net->peek(tx, frames);
	if (n == 0)
		return port_move_chain(nic, pair, rx);
	if (VDP_UNLIKELY(nic->capture))
		vdp_capture_frames(nic->capture, vdp_port_index(nic, pair), VDP_CAPTURE_SENT, frames, n);
	if (rx) {
		vdp_port_deliver(nic, pair, frames, n);
		nic->serving = tx->ring.index;
	}
	nic->net->done(tx, frames, n);
	return n;
}

uint32_t vdp_port_deliver(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	if (VDP_UNLIKELY(nic->capture))
		vdp_capture_frames(nic->capture, vdp_port_index(nic, pair), VDP_CAPTURE_RECEIVED, frames, n);
	nic->serving = pair->rx->ring.index;
	return nic->net->deliver(pair->rx, nic->mergeable, nic->scratch, frames, n);
}

uint32_t vdp_port_room(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t max)
{
	struct vdp_ring *ring = &pair->rx->ring;
	uint32_t room;

	nic->serving = ring->index;
	if (pair->rx_starved && !nic->net->moved(ring))
		return 0;
	room = nic->net->available(ring, (uint16_t)max);
	pair->rx_starved = room == 0;
	return room < max ? room : max;
}

/* A burst of what waits, to the port; returns how much it took. */
static uint32_t port_transmit(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_frame frames[VDP_BURST];
	struct vdp_chain chain;
	uint32_t n, taken, length;

	nic->serving = pair->tx->ring.index;
	n = nic->net->peek(pair->tx, frames);
	if (n > 0) {
		taken = nic->port->send(nic, pair, frames, n);
		pair->tx_blocked = taken < n;
		if (taken > 0)
			nic->net->done(pair->tx, frames, taken);
		return taken;
	}
	if (nic->net->peek_chain(pair->tx, nic->scratch, &chain) <= 0)
		return 0;
	length = (uint32_t)chain.length - VDP_NET_HDR;
	pair->tx_blocked = !nic->port->send_pieces(nic, pair, chain.pieces, length);
	if (pair->tx_blocked)
		return 0;
	nic->net->done_chain(pair->tx, &chain);
	return 1;
}

uint32_t vdp_port_exchange(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_queue *rx = vdp_nic_usable(nic, pair->rx) ? pair->rx : NULL;
	struct vdp_queue *tx = vdp_nic_usable(nic, pair->tx) ? pair->tx : NULL;
	uint32_t n = 0;

	if (nic->error.code != VDP_NIC_OK)
		return 0;
	if (tx)
		n += port_transmit(nic, pair);
	if (rx && nic->error.code == VDP_NIC_OK)
		n += nic->port->receive(nic, pair);
	if (nic->error.code == VDP_NIC_OK)
		nic->net->flush(rx, tx);
	return n;
}

void vdp_port_inject(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	struct vdp_frame frame = {.data = nic->scratch->src[1].addr, .length = length};

	nic->port->send(nic, pair, &frame, 1);
}

bool vdp_port_iovs(struct vdp_nic *nic, struct iovec iov[VDP_PORT_IOVS], uint32_t pieces)
{
	const struct vdp_piece *piece = nic->scratch->src + 1;

	if (pieces >= VDP_PORT_IOVS)
		return false;
	for (uint32_t i = 0; i < pieces; i++)
		iov[i + 1] = (struct iovec){piece[i].addr, piece[i].length};
	return true;
}

int vdp_port_init_pairs(struct vdp_nic *nic, size_t bytes)
{
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		nic->pairs[i].port = calloc(1, bytes);
		if (!nic->pairs[i].port)
			return -ENOMEM;
	}
	return 0;
}

void vdp_port_fini_pairs(struct vdp_nic *nic)
{
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		free(nic->pairs[i].port);
		nic->pairs[i].port = NULL;
	}
}

void vdp_port_trouble(struct vdp_nic *nic, int error)
{
	uint64_t one = 1;

	if (VDP_LIKELY(__atomic_load_n(&nic->port_error, __ATOMIC_RELAXED) == error))
		return;
	__atomic_store_n(&nic->port_error, error, __ATOMIC_RELEASE);
	if (nic->conf.event_fd >= 0 && write(nic->conf.event_fd, &one, sizeof(one)) < 0)
		return; /* a full counter wakes as well */
}
