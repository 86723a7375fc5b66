#include "port.h"

#include "mend.h"

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
	if (VDP_UNLIKELY(nic->conf.capture && !nic->port->captures))
		vdp_capture_pieces(
		    nic->conf.capture, vdp_port_index(nic, pair), way, nic->scratch->src + 1, length);
}

static void port_capture(struct vdp_nic *nic, struct vdp_pair *pair, enum vdp_capture_way way,
    const struct vdp_frame *frames, uint32_t n)
{
	if (VDP_UNLIKELY(nic->conf.capture && !nic->port->captures))
		vdp_capture_frames(nic->conf.capture, vdp_port_index(nic, pair), way, frames, n);
}

uint32_t vdp_port_deliver(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	port_capture(nic, pair, VDP_CAPTURE_RECEIVED, frames, n);
	return vdp_receive(nic, pair, frames, n);
}

uint32_t vdp_port_deliver_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	port_capture_pieces(nic, pair, VDP_CAPTURE_RECEIVED, length);
	return vdp_receive_pieces(nic, pair, length);
}

/* The frame at the front of a transmit queue, of any shape, to the pair's driver or nowhere. */
static uint32_t port_move_chain(struct vdp_nic *nic, struct vdp_pair *pair, bool back)
{
	struct vdp_chain chain;
	int rc = nic->net->peek_chain(pair->tx, nic->scratch, &chain);

	if (rc <= 0)
		return 0;
	if (rc == VDP_NET_DROPPED)
		return 1;
	port_capture_pieces(nic, pair, VDP_CAPTURE_SENT, chain.frame);
	if (back)
		vdp_port_deliver_pieces(nic, pair, chain.frame);
	nic->net->done_chain(pair->tx, &chain);
	return 1;
}

uint32_t vdp_port_move(struct vdp_nic *nic, struct vdp_pair *pair, bool back)
{
	struct vdp_frame frames[VDP_BURST];
	struct vdp_queue *tx = pair->tx;
	uint32_t n;

	nic->serving = tx->ring.index;
	n = nic->net->peek(tx, back ? pair->rx : NULL, frames);
	if (n == 0)
		return port_move_chain(nic, pair, back);
	port_capture(nic, pair, VDP_CAPTURE_SENT, frames, n);
	if (back) {
		vdp_port_deliver(nic, pair, frames, n);
		nic->serving = tx->ring.index;
	}
	nic->net->done(tx, frames, n);
	return n;
}

uint32_t vdp_port_room(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t max)
{
	struct vdp_ring *ring = &pair->rx->ring;
	uint32_t room;

	nic->serving = ring->index;
	if (VDP_UNLIKELY(!pair->rx->live))
		return max; /* they are lost, or steered elsewhere: not kept. Ref: 5.1.6.5.6.1 */
	if (pair->rx_starved && !nic->net->moved(ring))
		return 0;
	room = nic->net->available(ring, (uint16_t)max);
	pair->rx_starved = room == 0;
	return room < max ? room : max;
}

static void port_learn_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	struct vdp_piece to = {.addr = nic->scratch->linear, .length = VDP_FLOW_HEAD};
	struct vdp_frame frame = {.data = to.addr, .length = length < VDP_FLOW_HEAD ? length : VDP_FLOW_HEAD};

	vdp_copy_pieces(&to, nic->scratch->src + 1, frame.length);
	vdp_receive_learn(nic, pair, &frame, 1);
}

/* The frame at the front, of any shape, to the port. */
static uint32_t port_transmit_chain(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_chain chain;
	int rc = nic->net->peek_chain(pair->tx, nic->scratch, &chain);

	if (rc <= 0)
		return 0;
	if (rc == VDP_NET_DROPPED)
		return 1;
	if (VDP_UNLIKELY(nic->steers))
		port_learn_pieces(nic, pair, chain.frame);
	pair->tx_blocked = !nic->port->send_pieces(nic, pair, chain.pieces, chain.frame);
	if (pair->tx_blocked)
		return 0;
	port_capture_pieces(nic, pair, VDP_CAPTURE_SENT, chain.frame);
	nic->net->done_chain(pair->tx, &chain);
	return 1;
}

/* A burst of what waits, to the port; returns how much it took. */
static uint32_t port_transmit(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_frame frames[VDP_BURST];
	uint32_t n, taken;

	nic->serving = pair->tx->ring.index;
	n = nic->net->peek(pair->tx, NULL, frames);
	if (n == 0)
		return port_transmit_chain(nic, pair);
	if (VDP_UNLIKELY(nic->steers))
		vdp_receive_learn(nic, pair, frames, n);
	taken = nic->port->send(nic, pair, frames, n);
	pair->tx_blocked = taken < n;
	if (taken == 0)
		return 0;
	port_capture(nic, pair, VDP_CAPTURE_SENT, frames, taken);
	nic->net->done(pair->tx, frames, taken);
	return taken;
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
	if (nic->error.code == VDP_NIC_OK)
		n += nic->port->receive(nic, pair);
	if (nic->error.code == VDP_NIC_OK)
		nic->net->flush(rx, tx);
	return n;
}

void vdp_port_inject(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t length)
{
	struct vdp_frame frame = {.data = nic->scratch->src[1].addr, .length = length};

	port_capture(nic, pair, VDP_CAPTURE_SENT, &frame, 1);
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

bool vdp_port_finish(const struct vdp_nic *nic, struct vdp_frame *frame)
{
	if (VDP_LIKELY(!vdp_net_hdr_set(&frame->header)))
		return true;
	if (!vdp_net_hdr_check(&frame->header, frame->length, UINT32_MAX))
		return false;
	vdp_net_hdr_measure(&frame->header, frame->data, frame->length);
	if (nic->net->headers)
		return true; /* vdp_receive knows what the driver takes */
	if (frame->header.gso_type)
		return false;
	vdp_mend_checksum((uint8_t *)frame->data, frame->length, &frame->header);
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
