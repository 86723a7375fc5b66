#include "guest.h"

#include <string.h>

#include "packed_ring.h"
#include "split_ring.h"

static uint32_t pick_length(struct fuzz_input *in)
{
	static const uint32_t odd[] = {
	    0, 1, 11, 12, 13, 4096, 65562, 65563, 0x80000000, 0xffffffff, 0xfffffff0};
	uint8_t kind = fuzz_u8(in);

	if (kind < 0x80)
		return 12u + kind;
	if (kind < 0xe0)
		return fuzz_u16(in) % 4200;
	return kind < 0xf8 ? odd[kind % (sizeof(odd) / sizeof(odd[0]))] : fuzz_u32(in);
}

/* A word; its highest values stand for those around a size, where bounds are. */
static uint16_t pick_link(struct fuzz_input *in, uint16_t size)
{
	uint16_t value = fuzz_u16(in);

	return value >= 0xff00 ? (uint16_t)(size + (value & 3) - 1) : value;
}

static void store16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint16_t load16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* A descriptor, in a ring or a table; link: next, or the id. */
static void put(uint8_t *at, bool packed, uint64_t addr, uint32_t length, uint16_t flags, uint16_t link)
{
	memcpy(at, &addr, 8);
	memcpy(at + 8, &length, 4);
	store16(at + (packed ? 12 : 14), link);
	store16(at + (packed ? 14 : 12), flags);
}

/* Entry i of the tables; beyond the first area's end they go on in the second. */
static void put_table(struct guest *guest, uint32_t i, bool packed, uint64_t addr, uint32_t length,
    uint16_t flags, uint16_t link)
{
	const struct arena_region *first = guest->arena->region + ARENA_TABLES, *second = first + 1;
	uint32_t offset = 16 * (i % 256), head = 0;
	uint8_t bytes[16];

	put(bytes, packed, addr, length, flags, link);
	if (offset < first->length)
		head = first->length - offset < 16 ? first->length - offset : 16;
	memcpy(first->host + offset, bytes, head);
	if (head < 16 && offset + 16 - first->length <= second->length)
		memcpy(second->host + offset + head - first->length, bytes + head, 16 - head);
}

static void pick_conf(struct model_queue *queue, const struct arena *arena, struct fuzz_input *in)
{
	const struct arena_region *parts = arena->region + ARENA_RINGS + queue->index * ARENA_PARTS;

	queue->conf.desc = parts[0].iova;
	queue->conf.driver = parts[1].iova;
	queue->conf.device = parts[2].iova;
	queue->desc = parts[0].host;
	queue->driver = parts[1].host;
	queue->device = parts[2].host;
	queue->enabled = true;
	queue->conf.last_avail = fuzz_u16(in);
	if (queue->packed)
		queue->conf.last_avail =
		    (queue->conf.last_avail & 0x8000) | (queue->conf.last_avail & 0x7fff) % queue->conf.size;
}

void guest_restart(struct guest *guest, struct fuzz_input *in, uint32_t index)
{
	struct model_queue *queue = guest->queue + index;
	uint16_t start;

	pick_conf(queue, guest->arena, in);
	start = queue->conf.last_avail;
	guest->next[index] = start;
	if (!queue->packed) {
		store16(queue->driver + 2, start);
		store16(queue->device + 2, start);
		return;
	}
	for (uint16_t i = 0; i < queue->conf.size; i++) /* as if it had gone around so far */
		store16(queue->desc + 16 * i + 14,
		    vdp_packed_used_flags(start ^ (i < vdp_packed_at(start) ? 0 : VDP_PACKED_WRAP)));
}

void guest_open(struct guest *guest, struct arena *arena, struct fuzz_input *in, bool packed)
{
	uint32_t bytes[ARENA_QUEUES * ARENA_PARTS];
	uint8_t shape = fuzz_u8(in);

	memset(guest, 0, sizeof(*guest));
	guest->arena = arena;
	for (uint32_t i = 0; i < ARENA_QUEUES; i++) {
		uint8_t size = fuzz_u8(in);
		struct model_queue *queue = guest->queue + i;

		queue->index = i;
		queue->packed = packed;
		queue->conf.size = (uint16_t)(packed ? 1 + size % MODEL_MAX_SIZE : 1u << size % 7);
		bytes[3 * i] = 16u * queue->conf.size;
		bytes[3 * i + 1] = packed ? 4 : 6 + 2u * queue->conf.size;
		bytes[3 * i + 2] = packed ? 4 : 6 + 8u * queue->conf.size;
	}
	arena_open(arena, bytes, packed, shape & 1);
	for (uint32_t i = 0; i < ARENA_QUEUES; i++) {
		guest->queue[i].writable = i == 0;
		guest_restart(guest, in, i);
	}
}

/* How a packed ring's descriptor at a position is offered; the flags of an offer are the driver's. */
static void offer_packed(
    struct guest *guest, uint32_t index, uint64_t addr, uint32_t length, uint16_t flags, uint16_t id)
{
	struct model_queue *queue = guest->queue + index;
	uint16_t at = guest->next[index];

	put(queue->desc + 16 * vdp_packed_at(at), true, addr, length,
	    (uint16_t)(flags | vdp_packed_avail_flags(at)), id);
	guest->next[index] = model_advance(queue, at, 1);
}

static uint16_t put_split(struct guest *guest, uint32_t index, uint64_t addr, uint32_t length, uint16_t flags)
{
	struct model_queue *queue = guest->queue + index;
	uint16_t at = guest->slot[index], next = (uint16_t)((at + 1) % queue->conf.size);

	put(queue->desc + 16 * at, false, addr, length, flags, next);
	guest->slot[index] = next;
	return at;
}

static void offer_split(struct guest *guest, uint32_t index, uint16_t head)
{
	struct model_queue *queue = guest->queue + index;

	store16(queue->driver + 4 + 2 * (guest->next[index] % queue->conf.size), head);
	store16(queue->driver + 2, ++guest->next[index]);
}

static void offer(
    struct guest *guest, uint32_t index, uint64_t addr, uint32_t length, uint16_t flags, uint16_t *head)
{
	uint16_t at;

	if (guest->queue[index].packed) {
		offer_packed(guest, index, addr, length, flags, *head);
		return;
	}
	at = put_split(guest, index, addr, length, flags);
	if (*head == UINT16_MAX)
		*head = at;
}

void guest_chain(struct guest *guest, struct fuzz_input *in, uint32_t index, bool mixed)
{
	uint8_t shape = fuzz_u8(in), table_at = 0;
	uint32_t count = 1 + (shape & 0x80 ? shape % 8u : 0);
	bool packed = guest->queue[index].packed, indirect = (shape & 0xc0) == 0xc0, write;
	uint16_t head = packed ? fuzz_u8(in) % guest->queue[index].conf.size : UINT16_MAX;

	table_at = indirect ? fuzz_u8(in) : 0;
	for (uint32_t i = 0; i < count; i++) {
		uint16_t flags = i + 1 < count ? VDP_DESC_NEXT : 0;
		uint64_t addr;
		uint32_t length;

		write = mixed ? i + 1 + (shape >> 4 & 3) > count : guest->queue[index].writable;
		flags |= write ? VDP_DESC_WRITE : 0;
		addr = arena_address(guest->arena, in, write);
		length = pick_length(in);
		if (indirect)
			put_table(guest, table_at + i, packed, addr, length, flags, (uint16_t)(i + 1));
		else
			offer(guest, index, addr, length, flags, &head);
	}
	if (indirect)
		offer(guest, index, guest->arena->region[ARENA_TABLES].iova + 16u * table_at, 16 * count,
		    VDP_DESC_INDIRECT, &head);
	if (!packed)
		offer_split(guest, index, head);
}

/* Ethernet, IP of either version, and the first bytes of TCP or UDP. Returns where that begins. */
static uint32_t put_protocols(uint8_t *frame, bool ipv6, bool udp)
{
	static const uint8_t ipv4[] = {0x45, 0, 0, 200, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
	static const uint8_t version6[] = {0x60, 0, 0, 0, 0, 200, 6, 64, 0xfe, 0x80};
	uint32_t transport = ipv6 ? 54 : 34;

	memset(frame, 0, 74);
	frame[12] = ipv6 ? 0x86 : 0x08;
	frame[13] = ipv6 ? 0xdd : 0x00;
	if (ipv6)
		memcpy(frame + 14, version6, sizeof(version6));
	else
		memcpy(frame + 14, ipv4, sizeof(ipv4));
	if (udp)
		frame[ipv6 ? 20 : 23] = 17;
	frame[transport + 12] = 0x50;
	frame[transport + 13] = 0x89; /* CWR, PSH, FIN */
	return transport;
}

/* A tunnel over IPv4 with TCP over IPv4 in it, of which the rest is what lies there; outer: its UDP header.
 */
static void put_tunnel(uint8_t *header, uint8_t *frame, uint32_t outer, uint8_t kind)
{
	uint32_t inner = outer + 22, transport = inner + 20;

	header[1] = (uint8_t)(1 | 0x20 | (kind & 4 ? 0x80 : 0));
	header[0] |= kind & 8;
	store16(header + 6, (uint16_t)transport);
	store16(header + 8, 16);
	store16(header + 20, (uint16_t)outer);
	store16(header + 22, (uint16_t)inner);
	frame[inner] = 0x45;
	frame[inner + 9] = 6;
	frame[transport + 12] = 0x50;
}

void guest_frame(struct guest *guest, struct fuzz_input *in)
{
	static const uint8_t gso[] = {0, 0, 1, 4, 5, 5, 0x81, 0x84, 3, 1, 4};
	const struct arena_region *region = guest->arena->region + ARENA_FIRST;
	uint8_t shape = fuzz_u8(in), kind = fuzz_u8(in);
	bool tunnel = (shape & 0x0b) == 0x0a && kind & 1; /* in UDP over IPv4 */
	uint8_t header_length = tunnel ? 24 : shape & 8 ? 20 : 12;
	uint32_t offset = fuzz_u16(in) % (region->length - 128), transport;
	uint8_t *header = region->host + offset;
	uint16_t head = guest->queue[1].packed ? shape >> 4 : UINT16_MAX;
	uint64_t addr = region->iova + offset;
	uint16_t length = (uint16_t)(header_length + 74 + fuzz_u16(in) % 5000);

	memset(header, 0, header_length);
	transport = put_protocols(header + header_length, shape & 1, shape & 2);
	header[0] = kind != 0; /* NEEDS_CSUM */
	header[1] = kind < 0xf0 ? gso[kind % sizeof(gso)] : kind;
	store16(header + 2, kind & 0x80 ? fuzz_u16(in) : 0);
	store16(header + 4, fuzz_u16(in) % 2000);
	store16(header + 6, (uint16_t)(transport + (kind > 0xe0 ? fuzz_u16(in) : 0)));
	store16(header + 8, shape & 2 ? 6 : 16);
	if (tunnel)
		put_tunnel(header, header + header_length, transport, kind);
	if (shape & 4) { /* the header by itself */
		offer(guest, 1, addr, header_length, VDP_DESC_NEXT, &head);
		addr += header_length;
		length = (uint16_t)(length - header_length);
	}
	offer(guest, 1, addr, length, 0, &head);
	if (!guest->queue[1].packed)
		offer_split(guest, 1, head);
}

static void lie_descriptor(struct guest *guest, struct fuzz_input *in, uint32_t index)
{
	struct model_queue *queue = guest->queue + index;
	uint8_t *at = queue->desc + 16 * (fuzz_u8(in) % queue->conf.size), what = fuzz_u8(in);
	uint64_t addr = arena_address(guest->arena, in, queue->writable);
	uint32_t length = pick_length(in);

	switch (what % 4) {
	case 0:
		memcpy(at, &addr, 8);
		break;
	case 1:
		memcpy(at + 8, &length, 4);
		break;
	case 2: /* flags, or next and id */
		store16(at + (what & 4 ? 12 : 14), pick_link(in, queue->conf.size));
		break;
	case 3: /* one flag */
		at += queue->packed ? 14 : 12;
		store16(at, load16(at) ^ (uint16_t)(1u << (what >> 2) % 16));
		break;
	}
}

static void lie_index(struct guest *guest, struct fuzz_input *in, uint32_t index)
{
	struct model_queue *queue = guest->queue + index;
	uint16_t value = pick_link(in, queue->conf.size);
	uint8_t what = fuzz_u8(in);

	if (queue->packed) /* go on elsewhere */
		guest->next[index] = model_advance(queue, guest->next[index], value % queue->conf.size);
	else if (what & 1)
		store16(queue->driver + 4 + 2 * (what % queue->conf.size), value);
	else
		store16(queue->driver + 2, what & 2 ? value : guest->next[index] + (value & 3) - 1);
}

static void lie_event(struct guest *guest, struct fuzz_input *in, uint32_t index)
{
	struct model_queue *queue = guest->queue + index;
	uint16_t event = fuzz_u16(in), flags = fuzz_u8(in);

	if (queue->packed) {
		store16(queue->driver, event);
		store16(queue->driver + 2, flags);
	} else {
		store16(queue->driver, flags);
		store16(queue->driver + 4 + 2 * queue->conf.size, event);
	}
}

static void lie_anywhere(struct guest *guest, struct fuzz_input *in)
{
	const struct arena_region *region = guest->arena->region + fuzz_u8(in) % ARENA_AREAS;
	uint32_t at = fuzz_u16(in) % region->length;

	for (uint32_t n = 1 + fuzz_u8(in) % 8; n > 0 && at < region->length; n--)
		region->host[at++] = fuzz_u8(in);
}

void guest_lie(struct guest *guest, struct fuzz_input *in, uint32_t index)
{
	uint8_t kind = fuzz_u8(in);
	uint64_t addr;
	uint32_t length;
	uint16_t flags;

	switch (kind % 5) {
	case 0:
		lie_descriptor(guest, in, index);
		break;
	case 1:
		addr = arena_address(guest->arena, in, guest->queue[index].writable);
		length = pick_length(in);
		flags = fuzz_u16(in);
		put_table(guest, kind / 5, guest->queue[index].packed, addr, length, flags, fuzz_u16(in));
		break;
	case 2:
		lie_index(guest, in, index);
		break;
	case 3:
		lie_event(guest, in, index);
		break;
	case 4:
		lie_anywhere(guest, in);
		break;
	}
}
