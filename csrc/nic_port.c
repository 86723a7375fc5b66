/* What is at the other end of the software NIC's wire. */
#include "nic_impl.h"

#define PORT_LATE_NS 10000000u /* a generator that is later than this starts its clock anew */

/* The frame at the front of a transmit queue, of any shape, to the pair's driver or (NULL) nowhere. */
static uint32_t port_move_chain(struct vdp_nic *nic, struct vdp_queue *tx, struct vdp_pair *to)
{
	struct vdp_chain chain;
	int rc = nic->net->peek_chain(tx, nic->scratch, &chain);

	if (rc <= 0)
		return 0;
	if (rc == VDP_NET_DROPPED)
		return 1;
	if (to)
		vdp_receive_pieces(nic, to, chain.frame);
	nic->net->done_chain(tx, &chain);
	return 1;
}

/* A burst of what waits in tx, to the pair's driver or (NULL) nowhere. */
static uint32_t port_move(struct vdp_nic *nic, struct vdp_queue *tx, struct vdp_pair *to)
{
	struct vdp_frame frames[VDP_BURST];
	uint32_t n;

	nic->serving = tx->ring.index;
	n = nic->net->peek(tx, frames);
	if (n == 0)
		return port_move_chain(nic, tx, to);
	if (to) {
		vdp_receive(nic, to, frames, n);
		nic->serving = tx->ring.index;
	}
	nic->net->done(tx, frames, n);
	return n;
}

static uint32_t echo_poll(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_queue *rx;
	uint32_t n;

	if (!vdp_nic_usable(nic, pair->tx))
		return 0;
	rx = vdp_nic_usable(nic, pair->rx) ? pair->rx : NULL;
	if (nic->error.code != VDP_NIC_OK)
		return 0;
	n = port_move(nic, pair->tx, rx ? pair : NULL);
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
	if (vdp_receive_pieces(nic, pair, length))
		nic->net->flush(pair->rx, NULL);
}

static uint32_t discard_poll(struct vdp_nic *nic, struct vdp_pair *pair)
{
	uint32_t n;

	if (!vdp_nic_usable(nic, pair->tx))
		return 0;
	n = port_move(nic, pair->tx, NULL);
	if (n > 0 && nic->error.code == VDP_NIC_OK)
		nic->net->flush(NULL, pair->tx);
	return n;
}

/* How many frames are due, at most max. */
static uint32_t generate_due(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t max)
{
	uint64_t pps = nic->conf.generate_pps, now, due;

	if (pps == 0)
		return max;
	now = vdp_now_ns(CLOCK_MONOTONIC);
	if (pair->next_ns == 0 || now > pair->next_ns + PORT_LATE_NS)
		pair->next_ns = now;
	if (now < pair->next_ns)
		return 0;
	due = (now - pair->next_ns) * pps / 1000000000u + 1;
	return due < max ? (uint32_t)due : max;
}

static void generate_stamp(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_frame *frames, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *frame = nic->generated + (size_t)i * nic->conf.generate_size;
		uint64_t sequence = __builtin_bswap64(pair->sequence + i);

		memcpy(frame + 14, &sequence, sizeof(sequence));
		frames[i] = (struct vdp_frame){.data = frame, .length = nic->conf.generate_size};
	}
}

static uint32_t generate_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_ring *ring = &pair->rx->ring;
	struct vdp_frame frames[VDP_BURST];
	uint32_t due, available, n;

	nic->serving = ring->index;
	if (pair->rx_starved && !nic->net->moved(ring))
		return 0;
	due = generate_due(nic, pair, nic->generated_slots);
	if (due == 0)
		return 0;
	/* A frame without a buffer is not made, so it is not lost either: the wire waits for the driver. */
	available = nic->net->available(ring, (uint16_t)due);
	n = due < available ? due : available;
	generate_stamp(nic, pair, frames, n);
	n = vdp_receive(nic, pair, frames, n);
	pair->rx_starved = n < due;
	pair->sequence += n;
	if (nic->conf.generate_pps)
		pair->next_ns += n * (uint64_t)1000000000u / nic->conf.generate_pps;
	return n;
}

static uint32_t generate_poll(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_queue *rx = vdp_nic_usable(nic, pair->rx) ? pair->rx : NULL;
	struct vdp_queue *tx = vdp_nic_usable(nic, pair->tx) ? pair->tx : NULL;
	uint32_t n = 0;

	if (nic->error.code != VDP_NIC_OK)
		return 0;
	if (tx)
		n += port_move(nic, tx, NULL);
	if (rx && nic->error.code == VDP_NIC_OK)
		n += generate_receive(nic, pair);
	if (nic->error.code == VDP_NIC_OK)
		nic->net->flush(rx, tx);
	return n;
}

static const struct vdp_port_ops port_echo = {.poll = echo_poll, .inject = echo_inject};
static const struct vdp_port_ops port_discard = {.poll = discard_poll};
static const struct vdp_port_ops port_generate = {.poll = generate_poll, .generates = true};

const struct vdp_port_ops *const vdp_ports[] = {
    [VDP_PORT_ECHO] = &port_echo,
    [VDP_PORT_DISCARD] = &port_discard,
    [VDP_PORT_GENERATE] = &port_generate,
};
const uint32_t vdp_ports_count = sizeof(vdp_ports) / sizeof(vdp_ports[0]);
