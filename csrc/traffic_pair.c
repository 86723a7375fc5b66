#include "traffic_pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AT_NUM_BUFFERS 10u
#define AT_HASH_REPORT 16u

int vdp_pair_init(struct vdp_pair *pair, const struct vdp_traffic_conf *conf, uint32_t flow,
    struct vdp_traffic_stats *stats)
{
	pair->conf = conf;
	pair->rx = conf->pair[flow].rx;
	pair->tx = conf->pair[flow].tx;
	pair->flow = flow;
	pair->header = conf->header ? conf->header : VDP_TRAFFIC_HEADER;
	pair->stats = stats;
	pair->scratch = malloc(VDP_FRAME_MAX);
	pair->shapes = calloc(conf->size_count, sizeof(*pair->shapes));
	if (!pair->scratch || !pair->shapes)
		return -ENOMEM;
	vdp_ledger_init(&pair->ledger, 0);
	if (pair->tx.driver)
		vdp_pair_prepare(pair);
	return 0;
}

void vdp_pair_fini(struct vdp_pair *pair)
{
	free(pair->scratch);
	free(pair->shapes);
}

static bool failed(const struct vdp_pair *pair)
{
	return pair->stats->fault;
}

static int pop(struct vdp_pair *pair, struct vdp_driver *driver, struct vdp_used *used)
{
	int n = vdp_driver_pop(driver, used, pair->conf->burst);
	struct vdp_driver_state state;

	if (n >= 0)
		return n;
	vdp_driver_state(driver, &state);
	pair->stats->fault_detail = state.fault_detail;
	pair->stats->fault = state.fault;
	return 0;
}

/* The first of several buffers holds the header. */
static uint32_t cut(
    const struct vdp_pair *pair, struct vdp_buf *bufs, uint32_t segments, uint64_t addr, uint32_t length)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < segments; i++) {
		uint32_t piece = (length - at) / (segments - i);

		if (i == 0 && segments > 1)
			piece = pair->header;
		bufs[i] = (struct vdp_buf){.addr = addr + at, .len = piece};
		at += piece;
	}
	return segments;
}

/* Hand the buffer of the next free head to the device; there is room. */
static void give(
    const struct vdp_pair *pair, const struct vdp_traffic_ring *ring, uint32_t length, bool writable)
{
	struct vdp_buf bufs[VDP_TRAFFIC_MAX_SEGMENTS];
	uint32_t head = (uint32_t)vdp_driver_next_head(ring->driver);
	uint64_t addr = ring->gpa + (uint64_t)head * ring->stride;
	uint32_t count = cut(pair, bufs, ring->segments, addr, length);

	for (uint32_t i = 0; i < count; i++)
		bufs[i].writable = writable;
	vdp_driver_add(ring->driver, bufs, count, head);
}

static void publish(struct vdp_pair *pair, const struct vdp_traffic_ring *ring)
{
	vdp_driver_publish(ring->driver);
	if (!vdp_driver_must_kick(ring->driver))
		return;
	pair->stats->kicks++;
	vdp_doorbell_ring(&ring->bell);
}

static void fill(struct vdp_pair *pair)
{
	uint32_t room;

	for (room = vdp_driver_room(pair->rx.driver, pair->rx.segments); room; room--)
		give(pair, &pair->rx, pair->rx.stride, true);
	publish(pair, &pair->rx);
}

void vdp_pair_begin(struct vdp_pair *pair, uint64_t now_ms)
{
	pair->stall_ms = now_ms;
	if (pair->rx.driver)
		fill(pair);
}

/* A good frame: what does its number say? */
static void see(struct vdp_pair *pair, uint64_t sequence)
{
	struct vdp_traffic_stats *stats = pair->stats;
	int verdict = vdp_ledger_see(&pair->ledger, sequence);

	stats->missing = pair->ledger.missing;
	if (verdict == VDP_LEDGER_TWICE) {
		stats->duplicated++;
		return;
	}
	stats->distinct++;
	stats->reordered += verdict == VDP_LEDGER_LATE;
	if (sequence < pair->off_below && stats->written_off)
		stats->written_off--;
}

static int check(struct vdp_pair *pair, const uint8_t *frame, uint32_t length, uint64_t *sequence)
{
	uint32_t flow;
	int verdict;

	if (pair->conf->mode == VDP_TRAFFIC_RECEIVE) {
		verdict = vdp_frame_check_generated(frame, length, sequence);
		if (verdict == VDP_FRAME_GOOD && !pair->stats->received)
			vdp_ledger_init(&pair->ledger, *sequence); /* it may have begun before us */
		return verdict;
	}
	verdict = vdp_frame_check(frame, length, &flow, sequence);
	if (verdict == VDP_FRAME_GOOD && flow != pair->flow)
		return VDP_FRAME_FOREIGN;
	if (verdict == VDP_FRAME_GOOD && *sequence >= pair->stats->sent)
		return VDP_FRAME_CORRUPT; /* a number that was never sent */
	return verdict;
}

static void account_one(struct vdp_pair *pair, const uint8_t *frame, uint32_t length)
{
	struct vdp_traffic_stats *stats = pair->stats;
	uint64_t sequence;

	switch (check(pair, frame, length, &sequence)) {
	case VDP_FRAME_GOOD:
		see(pair, sequence);
		stats->received++;
		stats->received_bytes += length;
		break;
	case VDP_FRAME_CORRUPT:
		stats->corrupt++;
		break;
	default:
		stats->foreign++;
	}
}

static void account(struct vdp_pair *pair, const uint8_t *frame, uint32_t length)
{
	struct vdp_opened opened;

	if (!pair->conf->offload) {
		account_one(pair, frame, length);
		return;
	}
	if (!vdp_envelope_open(&opened, pair->says, frame, length)) {
		pair->stats->corrupt++;
		return;
	}
	for (uint32_t at = 0; at < opened.payload; at += opened.size) {
		uint32_t left = opened.payload - at;

		account_one(pair, frame + VDP_ENVELOPE + at, left < opened.size ? left : opened.size);
		pair->stats->offloaded += opened.asked;
	}
}

static void append(struct vdp_pair *pair, const uint8_t *data, uint32_t length)
{
	if (length > VDP_FRAME_MAX - pair->have) {
		pair->oversize = true;
		return;
	}
	memcpy(pair->scratch + pair->have, data, length);
	pair->have += length;
}

static void append_last(struct vdp_pair *pair)
{
	if (pair->oversize)
		pair->stats->corrupt++;
	else
		account(pair, pair->scratch, pair->have);
	pair->have = 0;
	pair->oversize = false;
}

static uint32_t num_buffers(const struct vdp_pair *pair, const uint8_t *header)
{
	return pair->conf->mergeable ? header[AT_NUM_BUFFERS] | (uint32_t)header[AT_NUM_BUFFERS + 1] << 8 : 1;
}

/* One receive buffer with what the device wrote: a frame, or a piece of one (5.1.6.4). */
static void take(struct vdp_pair *pair, const uint8_t *data, uint32_t length)
{
	uint32_t buffers;

	if (pair->need) {
		append(pair, data, length);
		if (!--pair->need)
			append_last(pair);
		return;
	}
	buffers = length < pair->header ? 0 : num_buffers(pair, data);
	if (buffers && pair->header > AT_HASH_REPORT)
		pair->stats->hashed += (data[AT_HASH_REPORT] | data[AT_HASH_REPORT + 1]) != 0;
	if (buffers && pair->conf->offload)
		memcpy(pair->says, data, VDP_ENVELOPE_HEADER);
	if (buffers == 0) {
		pair->stats->corrupt++;
	} else if (buffers == 1) {
		account(pair, data + pair->header, length - pair->header);
	} else {
		append(pair, data + pair->header, length - pair->header);
		pair->need = buffers - 1;
	}
}

uint32_t vdp_pair_receive(struct vdp_pair *pair)
{
	struct vdp_used used[VDP_TRAFFIC_MAX_BURST];
	int n;

	if (!pair->rx.driver || failed(pair))
		return 0;
	n = pop(pair, pair->rx.driver, used);
	for (int i = 0; i < n; i++)
		take(pair, pair->rx.buffers + used[i].cookie * pair->rx.stride, used[i].len);
	if (n)
		fill(pair);
	return (uint32_t)n;
}

uint32_t vdp_pair_reclaim(struct vdp_pair *pair)
{
	struct vdp_used used[VDP_TRAFFIC_MAX_BURST];
	int n;

	if (!pair->tx.driver || failed(pair))
		return 0;
	n = pop(pair, pair->tx.driver, used);
	pair->stats->transmitted += (uint32_t)n;
	return (uint32_t)n;
}

uint64_t vdp_pair_in_flight(const struct vdp_pair *pair)
{
	const struct vdp_traffic_stats *stats = pair->stats;
	uint64_t back = stats->distinct + stats->written_off;

	if (pair->conf->mode != VDP_TRAFFIC_ECHO || failed(pair))
		return 0;
	return stats->sent > back ? stats->sent - back : 0;
}

static uint32_t smaller(uint32_t a, uint64_t b)
{
	return a < b ? a : (uint32_t)b;
}

static uint32_t may_send(struct vdp_pair *pair)
{
	const struct vdp_traffic_conf *conf = pair->conf;
	uint32_t together = conf->together, n = conf->burst * together, room;
	uint64_t in_flight = vdp_pair_in_flight(pair);

	n = smaller(n, in_flight < conf->window ? conf->window - in_flight : 0);
	n -= n % together; /* a smaller envelope would take more room than the window counts for it */
	if (conf->count)
		n = smaller(n, conf->count - pair->stats->sent);
	room = vdp_driver_room(pair->tx.driver, pair->tx.segments) * together;
	if (n && room < n)
		vdp_pair_reclaim(pair);
	room = vdp_driver_room(pair->tx.driver, pair->tx.segments) * together;
	return smaller(n, room);
}

uint32_t vdp_pair_send(struct vdp_pair *pair)
{
	uint32_t n, head, length;

	if (!pair->tx.driver || failed(pair))
		return 0;
	n = may_send(pair);
	for (uint32_t i = 0; i < n;) {
		head = (uint32_t)vdp_driver_next_head(pair->tx.driver);
		i += vdp_pair_number(
		    pair, pair->tx.buffers + (uint64_t)head * pair->tx.stride, n - i, &length);
		give(pair, &pair->tx, length, false);
		pair->buffers++;
	}
	if (n)
		publish(pair, &pair->tx);
	return n;
}

bool vdp_pair_finished(const struct vdp_pair *pair)
{
	const struct vdp_traffic_stats *stats = pair->stats;
	uint64_t count = pair->conf->count;

	if (failed(pair))
		return true;
	if (!count)
		return false;
	switch (pair->conf->mode) {
	case VDP_TRAFFIC_RECEIVE:
		return stats->distinct >= count;
	case VDP_TRAFFIC_TRANSMIT:
		return stats->sent == count && stats->transmitted == pair->buffers;
	default:
		return stats->sent == count && !vdp_pair_in_flight(pair);
	}
}

bool vdp_pair_drained(const struct vdp_pair *pair)
{
	if (failed(pair) || !pair->tx.driver)
		return true;
	return !vdp_pair_in_flight(pair) && pair->stats->transmitted == pair->buffers;
}

void vdp_pair_look_for_stall(struct vdp_pair *pair, uint64_t now_ms)
{
	struct vdp_traffic_stats *stats = pair->stats;

	if (stats->distinct != pair->stall_seen || !vdp_pair_in_flight(pair)) {
		pair->stall_seen = stats->distinct;
		pair->stall_ms = now_ms;
		return;
	}
	if (now_ms - pair->stall_ms < pair->conf->stall_ms)
		return;
	stats->written_off = stats->sent - stats->distinct;
	pair->off_below = stats->sent;
}

void vdp_pair_no_calls(struct vdp_pair *pair)
{
	if (pair->rx.driver)
		vdp_driver_no_calls(pair->rx.driver);
	if (pair->tx.driver)
		vdp_driver_no_calls(pair->tx.driver);
}

/* Transmit completions are worth a wake-up only to who cannot go on without them. */
static bool waits_for_transmit(const struct vdp_pair *pair)
{
	return pair->conf->mode == VDP_TRAFFIC_TRANSMIT ||
	       !vdp_driver_room(pair->tx.driver, pair->tx.segments);
}

bool vdp_pair_want_calls(struct vdp_pair *pair)
{
	bool quiet = true;

	if (failed(pair))
		return true;
	if (pair->rx.driver)
		quiet = vdp_driver_want_calls(pair->rx.driver, 0);
	if (pair->tx.driver && waits_for_transmit(pair))
		quiet &= vdp_driver_want_calls(pair->tx.driver, 0);
	return quiet;
}
