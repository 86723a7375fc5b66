/*
 * The data path of a NIC that breaks one rule (mutant.h): net_loops.h, with something done before or after.
 * Included once for each layout behind net_loops.h and the layout's own
 *
 *   mutant_front        the first descriptor of what is next; there must be one
 *   mutant_refuses      will not take what is next
 *   mutant_used         what is next was taken and given back; q->next is behind it
 *   mutant_publish      as vdp_*_publish
 *   mutant_wants_call   as vdp_*_wants_call
 *   mutant_notify       as vdp_*_notify
 *   mutant_look         before availability is looked at
 *
 * The ordinary NIC has none of this: it takes another table (nic_features.c).
 */
#include "mutant.h"
#include "mutant_frames.h"

#define MUTANT_LATE_NS 400000 /* long enough to be seen by who spins, perhaps on our processor */

static const struct vdp_net mutant_plain = NET_OPS;

static void mutant_wait(void)
{
	struct timespec late = {.tv_nsec = MUTANT_LATE_NS};

	nanosleep(&late, NULL);
}

/* Where a buffer lies, all of it, or NULL. */
static uint8_t *mutant_reach(struct vdp_ring *q, const struct vdp_buffer *buffer, uint32_t perm)
{
	struct vdp_dma_cache cache = {0};

	if (buffer->length == 0 || buffer->flags & VDP_DESC_INDIRECT)
		return NULL;
	return vdp_dma_reach(q->dma, &cache, buffer->addr, buffer->length, perm);
}

/* Transmission */

static uint32_t mutant_peek(
    struct vdp_queue *tx, const struct vdp_queue *to, struct vdp_frame frames[VDP_BURST])
{
	uint32_t mutant = tx->ring.mutant, n;

	mutant_look(&tx->ring);
	if (mutant != VDP_MUTANT_OUT_OF_ORDER && mutant != VDP_MUTANT_FAVOURS_LAST)
		return 0; /* what else they break is in chains of one as well */
	n = mutant_plain.peek(tx, to, frames);
	if (mutant == VDP_MUTANT_FAVOURS_LAST && n > 1) {
		struct vdp_frame first = frames[0];

		frames[0] = frames[n - 1];
		frames[n - 1] = first;
	}
	return n;
}

static void mutant_done(struct vdp_queue *tx, const struct vdp_frame *frames, uint32_t n)
{
	struct vdp_frame back[VDP_BURST];
	bool batch = tx->ring.batch;

	if (tx->ring.mutant == VDP_MUTANT_OUT_OF_ORDER) {
		for (uint32_t i = 0; i < n; i++)
			back[i] = frames[n - 1 - i];
		frames = back;
		tx->ring.batch = false;
	}
	mutant_plain.done(tx, frames, n);
	tx->ring.batch = batch;
}

static void mutant_scribble(struct vdp_ring *q, const struct vdp_buffer *front)
{
	uint8_t *host = mutant_reach(q, front, VDP_DMA_WRITE);

	if (host)
		host[front->length - 1] ^= 0xff;
	else if (!(front->flags & VDP_DESC_INDIRECT))
		vdp_ring_fault(q, front->addr, front->length, VDP_DMA_WRITE);
}

static void mutant_done_chain(struct vdp_queue *tx, const struct vdp_chain *chain)
{
	struct vdp_ring *q = &tx->ring;
	struct vdp_chain mine = *chain;
	struct vdp_buffer front = mutant_front(q);
	uint16_t before = q->next;

	if (q->mutant == VDP_MUTANT_WRITES_READABLE)
		mutant_scribble(q, &front);
	if (q->mutant == VDP_MUTANT_INDIRECT_ID && q->saw_indirect)
		mine.id ^= 1;
	mutant_plain.done_chain(tx, &mine);
	mutant_used(q, before, chain->id);
}

/* What is next, with a header that the device likes better; the driver's own is put back. */
static int mutant_peek_forgiven(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	struct vdp_ring *q = &tx->ring;
	struct vdp_buffer front = {0};
	uint8_t *host = NULL, was[2];
	int rc;

	if (RING(available)(q, 1) > 0) {
		front = mutant_front(q);
		host = front.length >= VDP_NET_HDR ? mutant_reach(q, &front, VDP_DMA_READ) : NULL;
	}
	if (!host)
		return mutant_plain.peek_chain(tx, scratch, chain);
	memcpy(was, host, sizeof(was));
	vdp_mutant_forgive(q->mutant, host);
	rc = mutant_plain.peek_chain(tx, scratch, chain);
	memcpy(host, was, sizeof(was));
	return rc;
}

static bool mutant_forgives(const struct vdp_ring *q)
{
	return q->mutant == VDP_MUTANT_BOTH_TUNNELS || q->mutant == VDP_MUTANT_HALF_TUNNEL ||
	       q->mutant == VDP_MUTANT_SUM_ALONE;
}

static int mutant_peek_chain(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	struct vdp_ring *q = &tx->ring;
	struct vdp_piece *last, piece;
	int rc;

	mutant_look(q);
	if (RING(available)(q, 1) > 0 && mutant_refuses(q))
		return -1;
	rc = mutant_forgives(q) ? mutant_peek_forgiven(tx, scratch, chain)
				: mutant_plain.peek_chain(tx, scratch, chain);
	if (rc != 1)
		return rc;
	if (q->mutant == VDP_MUTANT_ONE_BUFFER && chain->pieces > 1) {
		vdp_ring_fail(q, VDP_NIC_LOOP, chain->id);
		return -1;
	}
	if (!vdp_mutant_sent(q->mutant, scratch, chain)) {
		mutant_plain.done_chain(tx, chain);
		return VDP_NET_DROPPED;
	}
	if (q->mutant == VDP_MUTANT_ONE_HEADER && chain->pieces > 1 && scratch->src[1].length == 0) {
		mutant_plain.done_chain(tx, chain);
		return VDP_NET_DROPPED;
	}
	if (q->mutant == VDP_MUTANT_SHUFFLED && chain->pieces > 2) {
		last = scratch->src + chain->pieces;
		piece = *last;
		*last = last[-1];
		last[-1] = piece;
	}
	return 1;
}

/* Reception */

static uint32_t mutant_deliver_late(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
    uint32_t length, const struct vdp_buffer *front)
{
	struct vdp_ring *q = &rx->ring;
	uint32_t size = front->length < VDP_FRAME_MAX ? front->length : VDP_FRAME_MAX, n;
	uint8_t *host = mutant_reach(q, front, VDP_DMA_WRITE);

	if (!host)
		return mutant_plain.deliver_pieces(rx, mergeable, scratch, length);
	memcpy(scratch->segment, host, size);
	n = mutant_plain.deliver_pieces(rx, mergeable, scratch, length);
	memcpy(scratch->linear, host, size);
	memcpy(host, scratch->segment, size);
	RING(publish)(q);
	mutant_wait();
	memcpy(host, scratch->linear, size);
	return n;
}

/* As if there were room for it. */
static void mutant_overrun(
    struct vdp_ring *q, const struct vdp_buffer *front, const struct vdp_scratch *scratch, uint32_t length)
{
	struct vdp_buffer wrong = *front;
	uint8_t *host;

	wrong.length = NET_HDR(q) + length;
	host = mutant_reach(q, &wrong, VDP_DMA_WRITE);
	if (host && front->length < wrong.length)
		memcpy(host + NET_HDR(q), scratch->src[1].addr, scratch->src[1].length);
}

/* A frame lies in buffers that the driver does not see yet. */
static void mutant_laid(struct vdp_ring *q, bool mergeable, const struct vdp_scratch *scratch, uint8_t *host)
{
	const struct vdp_taken *taken = scratch->taken;
	uint16_t buffers = (uint16_t)(scratch->header[10] | scratch->header[11] << 8), behind = q->next;
	uint16_t count = vdp_mutant_count(q->mutant, mergeable, buffers);

	if (host) {
		host[10] = (uint8_t)count;
		host[11] = (uint8_t)(count >> 8);
	}
	if (q->mutant == VDP_MUTANT_UNFILLED && buffers > 1)
		RING(put)(q, taken[0].at, taken[0].id, taken[0].length - 4);
	if (q->mutant == VDP_MUTANT_APART && buffers > 1) {
		q->next = taken[1].at;
		RING(publish)(q);
		mutant_wait();
		q->next = behind;
	}
}

static uint32_t mutant_deliver_pieces(
    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t length)
{
	struct vdp_ring *q = &rx->ring;
	struct vdp_buffer front = {0};
	uint32_t received;

	mutant_look(q);
	vdp_mutant_received(q->mutant, q->offloads, scratch, length);
	vdp_mutant_tunnel(q, scratch, q->tail, length);
	if (RING(available)(q, 1) > 0) {
		front = mutant_front(q);
		if (q->mutant == VDP_MUTANT_READS_WRITABLE && !mutant_reach(q, &front, VDP_DMA_READ)) {
			vdp_ring_fault(q, front.addr, front.length, VDP_DMA_READ);
			return 0;
		}
		if (q->mutant == VDP_MUTANT_DATA_LATE)
			return mutant_deliver_late(rx, mergeable, scratch, length, &front);
		if (q->mutant == VDP_MUTANT_OVERRUN)
			mutant_overrun(q, &front, scratch, length);
	}
	received = mutant_plain.deliver_pieces(rx, mergeable, scratch, length);
	if (received && front.length >= VDP_NET_HDR)
		mutant_laid(q, mergeable, scratch, mutant_reach(q, &front, VDP_DMA_WRITE));
	return received;
}

static uint32_t mutant_deliver(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
    const struct vdp_frame *frames, uint32_t n)
{
	uint32_t received = 0;

	for (uint32_t i = 0; i < n && rx->ring.error->code == VDP_NIC_OK; i++) {
		scratch->frame = frames[i].header;
		scratch->src[1] =
		    (struct vdp_piece){.addr = (uint8_t *)frames[i].data, .length = frames[i].length};
		received += mutant_deliver_pieces(rx, mergeable, scratch, frames[i].length);
	}
	return received;
}

static void mutant_flush(struct vdp_queue *rx, struct vdp_queue *tx)
{
	bool call_rx = rx && mutant_publish(&rx->ring);
	bool call_tx = tx && mutant_publish(&tx->ring);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (call_rx)
		vdp_queue_call(rx, mutant_wants_call(&rx->ring));
	if (call_tx)
		vdp_queue_call(tx, mutant_wants_call(&tx->ring));
}

#define MUTANT_OPS                                                                                           \
	{                                                                                                    \
	    .headers = NET_HEADERS,                                                                          \
	    .size_ok = RING(size_ok),                                                                        \
	    .attach = RING(attach),                                                                          \
	    .moved = net_moved,                                                                              \
	    .notify = mutant_notify,                                                                         \
	    .available = net_available,                                                                      \
	    .peek = mutant_peek,                                                                             \
	    .done = mutant_done,                                                                             \
	    .peek_chain = mutant_peek_chain,                                                                 \
	    .done_chain = mutant_done_chain,                                                                 \
	    .deliver = mutant_deliver,                                                                       \
	    .deliver_pieces = mutant_deliver_pieces,                                                         \
	    .flush = mutant_flush,                                                                           \
	}
