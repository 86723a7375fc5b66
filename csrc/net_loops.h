/*
 * The data path (net_device.h) over one layout of the ring. Included once for each, with RING(name) naming
 * the layout's half of a device: one source, and no question about the layout where frames are moved.
 * And once more with NET_HEADERS 1, where frames carry virtio headers that say something: the loops without
 * (0) do not even know how long a header could be.
 */
#include "frame_header.h"
#include "net_device.h"

#define NET_AHEAD 8u
#define NET_LONG  256u

/* Frames at the front that are one descriptor each, inside one region. Anything else goes by chain. */
static uint32_t net_peek(struct vdp_queue *tx, const struct vdp_queue *to, struct vdp_frame frames[VDP_BURST])
{
	struct vdp_ring *q = &tx->ring;
	const uint32_t header = NET_HDR(q), longest = q->longest - header;
	uint32_t n = RING(ready)(q, VDP_BURST), i;
	const struct RING(run) run = RING(run)(q);
	struct vdp_window window = vdp_ring_window(q, VDP_CHAIN_MAX);

	if (to && n > 0)
		RING(expect)(&to->ring, n);
	RING(prefetch)(q, n);
	for (i = 0; i < n; i++) {
		struct vdp_buffer buffer;
		uint8_t *data;

		if (!RING(plain)(&run, i, &buffer))
			break;
		if (VDP_UNLIKELY(buffer.length - header > longest)) /* or shorter than a header */
			break;
		if (!vdp_ring_reach(q, &window, VDP_CHAIN_MAX, &buffer, &data))
			break;
		frames[i].data = data + header;
		frames[i].length = buffer.length - header;
		/* A bad one is looked at again and dropped when it is the first. */
		if (NET_HEADERS && !net_header_in(q, &frames[i].header, data, frames[i].length))
			break;
		frames[i].id = buffer.link;
		vdp_prefetch(frames[i].data);
	}
	return i;
}

static void net_done(struct vdp_queue *tx, const struct vdp_frame *frames, uint32_t n)
{
	struct vdp_ring *q = &tx->ring;
	const struct RING(run) run = RING(run)(q);
	const bool batch = q->batch;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		bytes += frames[i].length;
		if (!batch)
			RING(set)(q, &run, i, frames[i].id, 0);
	}
	if (batch)
		RING(put_batch)(q, frames[n - 1].id);
	q->next = RING(after)(q, q->next, n);
	vdp_count(&tx->stats.packets, n);
	vdp_count(&tx->stats.bytes, bytes);
}

static void net_done_chain(struct vdp_queue *tx, const struct vdp_chain *chain)
{
	struct vdp_ring *q = &tx->ring;

	if (q->batch)
		RING(put_batch)(q, chain->id);
	else
		RING(put)(q, q->next, chain->id, 0);
	q->next = RING(after)(q, q->next, chain->slots);
	vdp_count(&tx->stats.packets, 1);
	vdp_count(&tx->stats.bytes, chain->frame);
}

static int net_peek_chain(struct vdp_queue *tx, struct vdp_scratch *scratch, struct vdp_chain *chain)
{
	struct vdp_ring *q = &tx->ring;
	int rc = RING(read)(q, q->next, VDP_CHAIN_MAX, scratch->src + 1, chain);
	struct vdp_piece *piece = scratch->src + 1;
	uint32_t skip = 0;

	if (rc <= 0)
		return rc;
	/* The header may lie alone or with data, and in several pieces: empty them, the copy steps over. */
	for (; skip < NET_HDR(q); piece++) {
		uint32_t n = NET_HDR(q) - skip;

		if (n > piece->length)
			n = piece->length;
		if (NET_HEADERS)
			memcpy(scratch->header + skip, piece->addr, n);
		piece->addr += n;
		piece->length -= n;
		skip += n;
	}
	chain->frame = (uint32_t)chain->length - NET_HDR(q);
	if (q->saw_indirect)
		vdp_count(&tx->stats.indirect, 1);
	if (!NET_HEADERS)
		scratch->frame = (struct vdp_net_hdr){0};
	else if (!net_header_in(q, &scratch->frame, scratch->header, chain->frame)) {
		vdp_count(&tx->stats.bad_headers, 1);
		net_done_chain(tx, chain);
		return VDP_NET_DROPPED;
	}
	return 1;
}

/*
 * A plain buffer that is long enough. Its used entry is written, though the driver does not see it yet.
 * False: the next buffer is not such a one.
 */
static inline bool net_take(struct vdp_ring *q, const struct RING(run) * run, struct vdp_window *window,
    uint32_t i, uint32_t need, struct vdp_piece *to)
{
	struct vdp_buffer buffer;

	if (!RING(plain)(run, i, &buffer) || VDP_UNLIKELY(buffer.length < need))
		return false;
	if (!vdp_ring_reach(q, window, VDP_CHAIN_MAX, &buffer, &to->addr))
		return false;
	vdp_prefetch(to->addr);
	vdp_prefetch_write(to->addr + NET_HDR(q));
	to->iova = buffer.addr;
	RING(set)(q, run, i, buffer.link, need);
	return true;
}

/*
 * How many buffers to take before the first copy. Short copies are done before a line comes from another
 * processor: all of them. While a long one waits for memory, the processor takes the next buffer.
 */
static inline uint32_t net_ahead(const struct vdp_frame *frames)
{
	return frames[0].length > NET_LONG ? NET_AHEAD : VDP_BURST;
}

/* To plain buffers, as many of the frames as find one up to the end of the ring. Returns how many. */
static uint32_t net_deliver_plain(struct vdp_queue *rx, const struct vdp_frame *frames, uint32_t n)
{
	struct vdp_ring *q = &rx->ring;
	const uint32_t header = NET_HDR(q), ahead = net_ahead(frames);
	struct vdp_window window = vdp_ring_window(q, VDP_CHAIN_MAX);
	struct vdp_piece to[VDP_BURST];
	struct RING(run) run;
	uint32_t taken = 0;
	uint64_t bytes = 0;

	n = RING(ready)(q, (uint16_t)n);
	RING(prefetch)(q, n);
	run = RING(run)(q);
	while (taken < n && taken < ahead &&
	       net_take(q, &run, &window, taken, frames[taken].length + header, to + taken))
		taken++;
	if (taken < ahead)
		n = taken;
	for (uint32_t i = 0; i < n; i++) {
		if (taken < n && net_take(q, &run, &window, taken, frames[taken].length + header, to + taken))
			taken++;
		else
			n = taken;
		net_header_out(q, to[i].addr, &frames[i].header, 1);
		vdp_copy(to[i].addr + header, frames[i].data, frames[i].length);
		bytes += frames[i].length;
	}
	/* After the write and before the driver sees it: who copies a page clears its bit first. */
	for (uint32_t i = 0; VDP_UNLIKELY(q->log) && i < n; i++)
		vdp_ring_log(q, to[i].iova, frames[i].length + header);
	q->next = RING(after)(q, q->next, n);
	vdp_count(&rx->stats.packets, n);
	vdp_count(&rx->stats.bytes, bytes);
	return n;
}

/*
 * Buffers for need bytes: pieces in scratch->dst, chains in scratch->taken. Returns how many chains, 0 when
 * there are too few, -1 for an error; *next is where they end.
 */
static int net_gather(
    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t need, uint16_t *next)
{
	struct vdp_ring *q = &rx->ring;
	uint32_t pieces = 0, got = 0;
	int chains = 0;

	*next = q->next;
	while (got < need) {
		struct vdp_chain chain;
		uint32_t left = need - got;
		int rc;

		if (chains > 0 && !mergeable)
			return 0; /* the frame is longer than the buffer */
		rc = RING(read)(q, *next, left, scratch->dst + pieces, &chain);
		if (rc <= 0)
			return rc;
		if (q->saw_indirect)
			vdp_count(&rx->stats.indirect, 1);
		if (chain.length < left)
			left = (uint32_t)chain.length;
		scratch->taken[chains++] = (struct vdp_taken){.length = left, .at = *next, .id = chain.id};
		*next = RING(after)(q, *next, chain.slots);
		pieces += chain.pieces;
		got += left;
	}
	return chains;
}

static void net_log_pieces(struct vdp_ring *q, const struct vdp_piece *piece, uint32_t length)
{
	for (; length > 0; piece++) {
		vdp_ring_log(q, piece->iova, piece->length);
		length -= piece->length;
	}
}

static uint32_t net_deliver_pieces(
    struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch, uint32_t length)
{
	struct vdp_ring *q = &rx->ring;
	uint16_t next;
	uint32_t need = length + NET_HDR(q);
	int chains = net_gather(rx, mergeable, scratch, need, &next);

	if (chains <= 0) {
		vdp_count(&rx->stats.dropped, chains == 0);
		return 0;
	}
	net_header_out(q, scratch->header, &scratch->frame, (uint16_t)chains);
	scratch->src[0] = (struct vdp_piece){.addr = scratch->header, .length = NET_HDR(q)};
	vdp_copy_pieces(scratch->dst, scratch->src, need);
	if (VDP_UNLIKELY(q->log))
		net_log_pieces(q, scratch->dst, need);
	for (int i = 0; i < chains; i++)
		RING(put)(q, scratch->taken[i].at, scratch->taken[i].id, scratch->taken[i].length);
	q->next = next;
	vdp_count(&rx->stats.packets, 1);
	vdp_count(&rx->stats.bytes, length);
	return 1;
}

static uint32_t net_deliver(struct vdp_queue *rx, bool mergeable, struct vdp_scratch *scratch,
    const struct vdp_frame *frames, uint32_t n)
{
	uint32_t received = 0;

	for (uint32_t i = 0; i < n && rx->ring.error->code == VDP_NIC_OK;) {
		uint32_t plain = net_deliver_plain(rx, frames + i, n - i);

		received += plain;
		i += plain;
		if (plain > 0)
			continue;
		if (NET_HEADERS)
			scratch->frame = frames[i].header;
		scratch->src[1] =
		    (struct vdp_piece){.addr = (uint8_t *)frames[i].data, .length = frames[i].length};
		received += net_deliver_pieces(rx, mergeable, scratch, frames[i].length);
		i++;
	}
	return received;
}

/* After a publish and a full fence. Ref: 2.7.7, 2.8.14 */
static void net_call(struct vdp_queue *queue)
{
	uint16_t since = queue->ring.published;
	bool wanted = RING(wants_call)(&queue->ring);

	if (VDP_LIKELY(queue->calm.wait_ns == 0))
		vdp_queue_call(queue, wanted);
	else
		vdp_queue_owe(queue, since);
}

/* Does the driver want a notification now of what was used since then? */
static bool net_wants_call(struct vdp_ring *q, uint16_t since)
{
	q->published = since;
	return RING(wants_call)(q);
}

static void net_flush(struct vdp_queue *rx, struct vdp_queue *tx)
{
	bool call_rx = rx && RING(publish)(&rx->ring);
	bool call_tx = tx && RING(publish)(&tx->ring);

	if (!call_rx && !call_tx)
		return;
	/* What was used must be out before we look whether the driver sleeps; it does the same the other way.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (call_rx)
		net_call(rx);
	if (call_tx)
		net_call(tx);
}

static bool net_moved(const struct vdp_ring *q)
{
	return RING(moved)(q);
}

static void net_notify(struct vdp_ring *q, bool on)
{
	RING(notify)(q, on);
}

static uint16_t net_available(struct vdp_ring *q, uint16_t want)
{
	return RING(available)(q, want);
}

#define NET_OPS                                                                                              \
	{                                                                                                    \
	    .headers = NET_HEADERS,                                                                          \
	    .size_ok = RING(size_ok),                                                                        \
	    .attach = RING(attach),                                                                          \
	    .moved = net_moved,                                                                              \
	    .notify = net_notify,                                                                            \
	    .available = net_available,                                                                      \
	    .peek = net_peek,                                                                                \
	    .done = net_done,                                                                                \
	    .peek_chain = net_peek_chain,                                                                    \
	    .done_chain = net_done_chain,                                                                    \
	    .deliver = net_deliver,                                                                          \
	    .deliver_pieces = net_deliver_pieces,                                                            \
	    .flush = net_flush,                                                                              \
	    .wants_call = net_wants_call,                                                                    \
	}
