/*
 * Two NICs on one wire: each transmits into a ring in memory that both share, out of which the other
 * receives.
 *
 * One copy in and one out. A ring that is full stops the sender; for how long depends on who is to blame: a
 * receiver without buffers loses the frames at once, as on any wire; one that does not move at all, after
 * LINK_PATIENCE_NS.
 */
#include "port.h"

#define LINK_HEAD        0x1000u
#define LINK_DATA        (VDP_LINK_RING_BYTES - LINK_HEAD)
#define LINK_ALIGN       16u
#define LINK_SKIP        UINT32_MAX /* the next record is at the ring's start */
#define LINK_PATIENCE_NS 100000000u

_Static_assert((LINK_DATA & (LINK_DATA - 1)) == 0, "positions wrap by a mask");

/* Shared. Positions count bytes and run free. */
struct link_ring {
	uint32_t head __attribute__((aligned(VDP_CACHE_LINE))); /* the sender's */
	uint32_t tail __attribute__((aligned(VDP_CACHE_LINE))); /* the receiver's, and the rest, too */
	uint32_t asleep;                                        /* wants to be woken */
	uint32_t starved;                                       /* its driver offers no buffers */
	uint8_t data[LINK_DATA] __attribute__((aligned(LINK_HEAD)));
};

_Static_assert(sizeof(struct link_ring) == VDP_LINK_RING_BYTES, "as both processes lay it out");

struct link_record {
	uint32_t length; /* of the frame behind, or LINK_SKIP */
	uint8_t header[VDP_NET_HDR];
};

_Static_assert(sizeof(struct link_record) == LINK_ALIGN, "records are aligned");

struct link {
	struct link_ring *out, *in; /* NULL: nobody is there */
	uint32_t head, tail;        /* our ends: what the other side says of them does not matter */
	uint64_t full_since;        /* 0: there was room */
	uint32_t stuck_at;          /* the tail that the ring was full with */
	bool given_up;              /* on a receiver that does not move */
	int wake_fd, peer_fd;
};

static int link_init(struct vdp_nic *nic)
{
	__atomic_store_n(&nic->port_error, ENOTCONN, __ATOMIC_RELAXED);
	return vdp_port_init_pairs(nic, sizeof(struct link));
}

int vdp_nic_link_attach(
    struct vdp_nic *nic, void *memory, uint32_t side, const int32_t *wake, const int32_t *peer_wake)
{
	struct link_ring *rings = memory;

	if (nic->port != &vdp_port_link || side > 1)
		return -EINVAL;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		uint32_t wire = vdp_port_index(nic, nic->pairs + i);
		struct link *link = nic->pairs[i].port;
		int rc = vdp_nic_watch(nic, wake[wire], VDP_NIC_NO_QUEUE);

		if (rc < 0) {
			vdp_nic_link_detach(nic);
			return rc;
		}
		*link = (struct link){.out = rings + 2 * wire + side,
		    .in = rings + 2 * wire + !side,
		    .wake_fd = wake[wire],
		    .peer_fd = peer_wake[wire]};
	}
	vdp_port_trouble(nic, 0);
	return 0;
}

void vdp_nic_link_detach(struct vdp_nic *nic)
{
	if (nic->port != &vdp_port_link)
		return;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		struct link *link = nic->pairs[i].port;

		if (link->out)
			vdp_nic_unwatch(nic, link->wake_fd);
		*link = (struct link){.out = NULL};
	}
	vdp_port_trouble(nic, ENOTCONN);
}

/* Sending */

/* Nobody takes frames out: lose them (true), or wait? */
static bool link_lose(struct link *link, uint32_t tail)
{
	uint64_t now;

	if (__atomic_load_n(&link->out->starved, __ATOMIC_RELAXED))
		return true;
	if (link->full_since && link->stuck_at == tail && link->given_up)
		return true;
	now = vdp_now_ns(CLOCK_MONOTONIC);
	if (link->full_since == 0 || link->stuck_at != tail) {
		link->full_since = now;
		link->stuck_at = tail;
		link->given_up = false;
	}
	link->given_up = now - link->full_since > LINK_PATIENCE_NS;
	return link->given_up;
}

/* A record for a frame of so many bytes, behind head; NULL: there is no room, *lose says what to do. */
static struct link_record *link_room(struct link *link, uint32_t length, bool *lose)
{
	uint32_t need = LINK_ALIGN + ((length + LINK_ALIGN - 1) & ~(LINK_ALIGN - 1));
	uint32_t tail = __atomic_load_n(&link->out->tail, __ATOMIC_ACQUIRE);
	uint32_t at = link->head & (LINK_DATA - 1), to_end = LINK_DATA - at,
		 skip = to_end < need ? to_end : 0;
	struct link_record *record = (struct link_record *)(link->out->data + at);

	if (link->head - tail + skip + need > LINK_DATA) {
		*lose = link_lose(link, tail);
		return NULL;
	}
	link->full_since = 0;
	if (skip) {
		record->length = LINK_SKIP;
		record = (struct link_record *)link->out->data;
	}
	record->length = length;
	link->head += skip + need;
	return record;
}

/* In the places of hdr_len, which the receiver finds itself, and of num_buffers. */
static void link_pack_tunnel(struct link_record *record, const struct vdp_tunnel *tunnel)
{
	uint16_t outer = htole16(tunnel->outer_th), inner = htole16(tunnel->inner_nh);

	memcpy(record->header + 2, &outer, sizeof(outer));
	memcpy(record->header + 10, &inner, sizeof(inner));
}

static void link_header(struct vdp_nic *nic, struct link_record *record, const struct vdp_net_hdr *header)
{
	memset(record->header, 0, VDP_NET_HDR);
	if (nic->net->headers)
		vdp_net_hdr_pack(header, record->header);
	if (nic->net->headers && header->gso_type & VDP_GSO_TUNNEL)
		link_pack_tunnel(record, &header->tunnel);
}

/* Show what was written to the receiver, who may sleep. */
static void link_publish(struct link *link)
{
	uint64_t one = 1;

	if (link->out->head == link->head)
		return;
	__atomic_store_n(&link->out->head, link->head, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* it looks at head once more behind a fence of its own */
	if (__atomic_load_n(&link->out->asleep, __ATOMIC_RELAXED) &&
	    write(link->peer_fd, &one, sizeof(one)) < 0)
		return; /* a full counter wakes as well */
}

static uint32_t link_send(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	struct link *link = pair->port;
	uint32_t i;

	if (!link->out) {
		vdp_port_dropped(pair->tx, n);
		return n;
	}
	link->head = link->out->head; /* an access that was cut off left nothing behind */
	for (i = 0; i < n; i++) {
		bool lose = false;
		struct link_record *record = link_room(link, frames[i].length, &lose);

		if (!record && !lose)
			break;
		if (!record) {
			vdp_port_dropped(pair->tx, 1);
			continue;
		}
		link_header(nic, record, &frames[i].header);
		vdp_copy((uint8_t *)(record + 1), frames[i].data, frames[i].length);
	}
	link_publish(link);
	return i;
}

static bool link_send_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t pieces, uint32_t length)
{
	struct link *link = pair->port;
	struct link_record *record;
	struct vdp_piece to;
	bool lose = true;

	(void)pieces;
	if (link->out)
		link->head = link->out->head;
	record = link->out ? link_room(link, length, &lose) : NULL;
	if (!record) {
		vdp_port_dropped(pair->tx, lose);
		return lose;
	}
	link_header(nic, record, &nic->scratch->frame);
	to = (struct vdp_piece){.addr = (uint8_t *)(record + 1), .length = length};
	vdp_copy_pieces(&to, nic->scratch->src + 1, length);
	link_publish(link);
	return true;
}

/* Receiving */

/* A frame whose header asks for something; false: it makes no sense. */
static bool link_finish(struct vdp_nic *nic, struct vdp_frame *frame, const struct link_record *record)
{
	struct vdp_net_hdr *header = &frame->header;
	uint16_t inner;

	if (header->gso_type & VDP_GSO_TUNNEL) {
		memcpy(&inner, record->header + 10, sizeof(inner));
		header->flags |= record->header[0] & VDP_HDR_TUNNEL_CSUM;
		header->tunnel = (struct vdp_tunnel){.outer_th = header->hdr_len, .inner_nh = le16toh(inner)};
		header->hdr_len = 0;
	}
	return vdp_port_finish(nic, frame);
}

/* Up to max frames from the tail on; *dropped counts those that make no sense to this driver. */
static uint32_t link_take(
    struct vdp_nic *nic, struct link *link, struct vdp_frame *frames, uint32_t max, uint32_t *dropped)
{
	uint32_t head = __atomic_load_n(&link->in->head, __ATOMIC_ACQUIRE), n = 0;

	while (n < max && link->tail != head) {
		uint32_t at = link->tail & (LINK_DATA - 1);
		const struct link_record *record = (const struct link_record *)(link->in->data + at);
		uint32_t length = __atomic_load_n(&record->length, __ATOMIC_RELAXED);

		if (length == LINK_SKIP) {
			link->tail += LINK_DATA - at;
			continue;
		}
		if (length > VDP_FRAME_MAX || length + LINK_ALIGN > LINK_DATA - at) {
			link->tail = head; /* written by somebody who does not know how: start anew */
			break;
		}
		frames[n] = (struct vdp_frame){.data = (const uint8_t *)(record + 1), .length = length};
		frames[n].header = vdp_net_hdr_unpack(record->header);
		if (VDP_LIKELY(!vdp_net_hdr_set(&frames[n].header)) || link_finish(nic, frames + n, record))
			n++;
		else
			++*dropped;
		link->tail += LINK_ALIGN + ((length + LINK_ALIGN - 1) & ~(LINK_ALIGN - 1));
	}
	return n;
}

static uint32_t link_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_frame frames[VDP_BURST];
	struct link *link = pair->port;
	uint32_t room, n, dropped = 0;

	if (!link->in)
		return 0;
	room = vdp_port_room(nic, pair, VDP_BURST);
	__atomic_store_n(&link->in->starved, pair->rx_starved, __ATOMIC_RELAXED);
	if (room == 0)
		return 0;
	link->tail = link->in->tail;
	n = link_take(nic, link, frames, room, &dropped);
	vdp_port_dropped(pair->rx, dropped);
	if (n > 0)
		n = vdp_port_deliver(nic, pair, frames, n);
	if (link->tail != link->in->tail)
		__atomic_store_n(&link->in->tail, link->tail, __ATOMIC_RELEASE);
	return n;
}

static void link_asleep(struct vdp_nic *nic, struct vdp_pair *pair, bool asleep)
{
	struct link *link = pair->port;

	(void)nic;
	if (link->in)
		__atomic_store_n(&link->in->asleep, asleep, __ATOMIC_RELAXED);
}

static bool link_waiting(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct link *link = pair->port;

	(void)nic;
	return link->in && !pair->rx_starved &&
	       __atomic_load_n(&link->in->head, __ATOMIC_RELAXED) != link->in->tail;
}

const struct vdp_port_ops vdp_port_link = {
    .init = link_init,
    .fini = vdp_port_fini_pairs,
    .poll = vdp_port_exchange,
    .steers = true,
    .inject = vdp_port_inject,
    .send = link_send,
    .send_pieces = link_send_pieces,
    .receive = link_receive,
    .asleep = link_asleep,
    .waiting = link_waiting,
};
