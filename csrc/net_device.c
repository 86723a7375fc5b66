#include "net_device.h"

/* A whole descriptor inside one region, of the queue's own direction. Anything else goes by chain. */
static inline uint8_t *net_plain(
    struct vdp_split *q, uint16_t head, uint32_t shortest, struct vdp_split_desc *desc)
{
	if (VDP_UNLIKELY(head >= q->size))
		return NULL;
	*desc = vdp_split_load_desc(q->desc + head);
	if (desc->flags != q->flags || desc->length < shortest || desc->length > q->longest)
		return NULL;
	return vdp_dma_reach(q->dma, &q->cache, desc->addr, desc->length, q->perm);
}

uint32_t vdp_net_peek(struct vdp_queue *tx, struct vdp_frame frames[VDP_BURST])
{
	struct vdp_split *q = &tx->ring;
	uint32_t n = vdp_split_available(q, VDP_BURST), i;

	if (n > VDP_BURST)
		n = VDP_BURST;
	for (i = 0; i < n; i++) {
		frames[i].head = vdp_split_head(q, (uint16_t)i);
		vdp_prefetch(q->desc + (frames[i].head & q->mask));
	}
	for (i = 0; i < n; i++) {
		struct vdp_split_desc desc;
		uint8_t *data = net_plain(q, frames[i].head, VDP_NET_HDR, &desc);

		if (!data)
			break;
		frames[i].data = data + VDP_NET_HDR;
		frames[i].length = desc.length - VDP_NET_HDR;
		vdp_prefetch(frames[i].data);
	}
	return i;
}

void vdp_net_done(struct vdp_queue *tx, const struct vdp_frame *frames, uint32_t n)
{
	struct vdp_split *q = &tx->ring;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		vdp_split_set_used(q, (uint16_t)i, frames[i].head, 0);
		bytes += frames[i].length;
	}
	q->next = (uint16_t)(q->next + n);
	vdp_count(&tx->stats.packets, n);
	vdp_count(&tx->stats.bytes, bytes);
}

int vdp_net_peek_chain(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	int rc = vdp_split_read(&tx->ring, 0, VDP_CHAIN_MAX, scratch->src + 1, chain);
	struct vdp_piece *piece = scratch->src + 1;
	uint32_t skip = VDP_NET_HDR;

	if (rc <= 0)
		return rc;
	/* The header may lie alone or with data, and in several pieces: empty them, the copy steps over. */
	for (; skip > 0; piece++) {
		uint32_t n = piece->length < skip ? piece->length : skip;

		piece->addr += n;
		piece->length -= n;
		skip -= n;
	}
	if (tx->ring.saw_indirect)
		vdp_count(&tx->stats.indirect, 1);
	return 1;
}

/* Ref: 5.1.6.4.1: num_buffers is 1 unless a frame was merged; no offloads, so the rest is 0. */
static inline void net_header(uint8_t *header, uint16_t buffers)
{
	uint64_t low;
	uint32_t high, want = (uint32_t)buffers << 16;

	/* Mostly it says so already: then the line stays shared with the driver's processor. */
	__builtin_memcpy(&low, header, 8);
	__builtin_memcpy(&high, header + 8, 4);
	if (low == 0 && high == want)
		return;
	low = 0;
	__builtin_memcpy(header, &low, 8);
	__builtin_memcpy(header + 8, &want, 4);
}

/* As many frames as find a plain buffer that is long enough. */
static uint32_t net_deliver_plain(struct vdp_queue *rx, const struct vdp_frame *frames, uint32_t n)
{
	struct vdp_split *q = &rx->ring;
	uint8_t *to[VDP_BURST];
	uint64_t iova[VDP_BURST];
	uint32_t available = vdp_split_available(q, (uint16_t)n), i;
	uint64_t bytes = 0;

	if (n > available)
		n = available;
	for (i = 0; i < n; i++)
		vdp_prefetch(q->desc + (vdp_split_head(q, (uint16_t)i) & q->mask));
	for (i = 0; i < n; i++) {
		uint32_t need = frames[i].length + VDP_NET_HDR;
		uint16_t head = vdp_split_head(q, (uint16_t)i);
		struct vdp_split_desc desc;

		to[i] = net_plain(q, head, need, &desc);
		if (!to[i])
			break;
		iova[i] = desc.addr;
		vdp_prefetch(to[i]);
		vdp_prefetch_write(to[i] + VDP_NET_HDR);
		vdp_split_set_used(q, (uint16_t)i, head, need);
	}
	n = i;
	for (i = 0; i < n; i++) {
		net_header(to[i], 1);
		vdp_copy(to[i] + VDP_NET_HDR, frames[i].data, frames[i].length);
		bytes += frames[i].length;
	}
	/* After the write and before the driver sees it: who copies a page clears its bit first. */
	for (i = 0; VDP_UNLIKELY(q->log) && i < n; i++)
		vdp_split_log(q, iova[i], frames[i].length + VDP_NET_HDR);
	q->next = (uint16_t)(q->next + n);
	vdp_count(&rx->stats.packets, n);
	vdp_count(&rx->stats.bytes, bytes);
	return n;
}

/* Buffers for need bytes, in scratch->dst; returns how many chains, 0 when there are too few, -1 for an
 * error. */
static int net_gather(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t need)
{
	uint32_t pieces = 0, got = 0;
	uint16_t chains = 0;

	while (got < need) {
		struct vdp_chain chain;
		uint32_t left = need - got;
		int rc;

		if (chains > 0 && !mergeable)
			return 0; /* the frame is longer than the buffer */
		rc = vdp_split_read(&rx->ring, chains, left, scratch->dst + pieces, &chain);
		if (rc <= 0)
			return rc;
		if (rx->ring.saw_indirect)
			vdp_count(&rx->stats.indirect, 1);
		if (chain.length < left)
			left = (uint32_t)chain.length;
		vdp_split_set_used(&rx->ring, chains++, chain.head, left);
		pieces += chain.pieces;
		got += left;
	}
	return chains;
}

static void net_log_pieces(struct vdp_split *q, const struct vdp_piece *piece, uint32_t length)
{
	for (; length > 0; piece++) {
		vdp_split_log(q, piece->iova, piece->length);
		length -= piece->length;
	}
}

uint32_t vdp_net_deliver_pieces(
    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t length)
{
	int chains = net_gather(rx, mergeable, scratch, length + VDP_NET_HDR);

	if (chains <= 0) {
		vdp_count(&rx->stats.dropped, chains == 0);
		return 0;
	}
	memset(scratch->header, 0, VDP_NET_HDR);
	scratch->header[10] = (uint8_t)chains;
	scratch->header[11] = (uint8_t)(chains >> 8);
	scratch->src[0] = (struct vdp_piece){.addr = scratch->header, .length = VDP_NET_HDR};
	vdp_copy_pieces(scratch->dst, scratch->src, length + VDP_NET_HDR);
	if (VDP_UNLIKELY(rx->ring.log))
		net_log_pieces(&rx->ring, scratch->dst, length + VDP_NET_HDR);
	rx->ring.next = (uint16_t)(rx->ring.next + chains);
	vdp_count(&rx->stats.packets, 1);
	vdp_count(&rx->stats.bytes, length);
	return 1;
}

uint32_t vdp_net_deliver(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
    const struct vdp_frame *frames, uint32_t n)
{
	uint32_t received = 0;

	for (uint32_t i = 0; i < n && rx->ring.error->code == VDP_NIC_OK;) {
		uint32_t plain = net_deliver_plain(rx, frames + i, n - i);

		received += plain;
		i += plain;
		if (i == n)
			break;
		scratch->src[1] =
		    (struct vdp_piece){.addr = (uint8_t *)frames[i].data, .length = frames[i].length};
		received += vdp_net_deliver_pieces(rx, mergeable, scratch, frames[i].length);
		i++;
	}
	return received;
}

void vdp_net_flush(struct vdp_queue *rx, struct vdp_queue *tx)
{
	bool call_rx = rx && vdp_split_publish(&rx->ring);
	bool call_tx = tx && vdp_split_publish(&tx->ring);

	if (!call_rx && !call_tx)
		return;
	/* used idx must be out before we look whether the driver sleeps; it does the same the other way. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (call_rx)
		vdp_queue_call(rx);
	if (call_tx)
		vdp_queue_call(tx);
}
