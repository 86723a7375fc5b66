/* Frames out of nothing, at a rate; what is transmitted is gone. */
#include <arpa/inet.h>
#include <stddef.h>

#include "port.h"

#define GENERATE_LATE_NS    10000000u /* a generator that is later than this starts its clock anew */
#define GENERATE_SLOT_BYTES 2048u     /* up to this size, frames are made a burst at a time */
#define GENERATE_AT         14u       /* behind the Ethernet header */
#define GENERATE_PORT       49152u    /* the first of the dynamic ones */
#define GENERATE_PORTS      16384u

struct generate {
	uint32_t slots, stride;
	uint8_t frames[]; /* slots, stride bytes apart */
};

/* Of a flow. Ref: RFC 791, RFC 768 */
struct generate_ip {
	uint8_t version, tos;
	uint16_t length, id, fragment;
	uint8_t ttl, protocol;
	uint16_t sum;
	uint32_t from, to;
	uint16_t from_port, to_port, udp_length, udp_sum;
} __attribute__((packed));

/* Destination, a source that is nobody's, the ethertype for experiments, a pattern. */
static void generate_prepare(const struct vdp_nic *nic, uint8_t *frame, uint32_t size)
{
	static const uint8_t rest[8] = {
	    0x02, 0, 0, 0, 0, 0, 0x88, 0xb5}; /* frame.h: VDP_GENERATED_ETHERTYPE */

	for (uint32_t i = 0; i < size; i++)
		frame[i] = (uint8_t)i;
	memcpy(frame, nic->conf.mac, 6);
	memcpy(frame + 6, rest, sizeof(rest));
	if (nic->conf.generate_flows)
		memcpy(frame + 12, "\x08\x00", 2);
}

static int generate_init(struct vdp_nic *nic)
{
	uint32_t size = nic->conf.generate_size, slots = size <= GENERATE_SLOT_BYTES ? VDP_BURST : 1;
	int rc = vdp_port_init_pairs(nic, sizeof(struct generate) + (size_t)slots * size);

	for (uint32_t i = 0; i < nic->conf.pairs && rc == 0; i++) {
		struct generate *own = nic->pairs[i].port;

		own->slots = slots;
		own->stride = size;
		for (uint32_t slot = 0; slot < slots; slot++)
			generate_prepare(nic, own->frames + (size_t)slot * size, size);
	}
	return rc;
}

/* How many frames are due, at most max. */
static uint32_t generate_due(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t max)
{
	uint64_t pps = nic->conf.generate_pps, now, due;

	if (pps == 0)
		return max;
	now = vdp_now_ns(CLOCK_MONOTONIC);
	if (pair->next_ns == 0 || now > pair->next_ns + GENERATE_LATE_NS)
		pair->next_ns = now;
	if (now < pair->next_ns)
		return 0;
	due = (now - pair->next_ns) * pps / 1000000000u + 1;
	return due < max ? (uint32_t)due : max;
}

static uint16_t generate_sum(const struct generate_ip *ip)
{
	uint16_t words[10];
	uint32_t sum = 0;

	memcpy(words, ip, sizeof(words));
	for (uint32_t i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

/* Flows differ in address and port of both ends, so that each kind of hash tells them apart. */
static void generate_flow(uint8_t *frame, uint32_t size, uint32_t flow, uint64_t sequence)
{
	uint16_t length = (uint16_t)(size - GENERATE_AT),
		 port = (uint16_t)(GENERATE_PORT + flow % GENERATE_PORTS);
	struct generate_ip ip = {
	    .version = 0x45,
	    .length = htons(length),
	    .ttl = 64,
	    .protocol = 17,
	    .from = htonl(0xc6120000u + flow % 0x10000u), /* 198.18.0.0/15, for benchmarks: RFC 2544 */
	    .to = htonl(0xc6130000u + flow % 0x10000u),
	    .from_port = htons(port),
	    .to_port = htons(port),
	    .udp_length = htons((uint16_t)(length - offsetof(struct generate_ip, from_port))),
	};

	ip.sum = generate_sum(&ip);
	memcpy(frame + GENERATE_AT, &ip, sizeof(ip));
	sequence = __builtin_bswap64(sequence);
	memcpy(frame + GENERATE_AT + sizeof(ip), &sequence, sizeof(sequence));
}

static void generate_stamp(struct vdp_nic *nic, struct vdp_pair *pair, struct vdp_frame *frames, uint32_t n)
{
	const struct vdp_nic_conf *conf = &nic->conf;
	struct generate *own = pair->port;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *frame = own->frames + (size_t)i * own->stride;
		uint64_t sequence = pair->sequence + i, wire = __builtin_bswap64(sequence);
		uint32_t size = conf->generate_mix ? conf->generate_sizes[sequence % conf->generate_mix]
						   : conf->generate_size;

		frames[i] = (struct vdp_frame){.data = frame, .length = size};
		if (conf->generate_flows)
			generate_flow(frame, size, (uint32_t)(sequence % conf->generate_flows), sequence);
		else
			memcpy(frame + GENERATE_AT, &wire, sizeof(wire));
	}
}

static uint32_t generate_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_ring *ring = &pair->rx->ring;
	struct generate *own = pair->port;
	struct vdp_frame frames[VDP_BURST];
	uint32_t due, available, n;

	nic->serving = ring->index;
	if (pair->rx_starved && !nic->net->moved(ring))
		return 0;
	due = generate_due(nic, pair, own->slots);
	if (due == 0)
		return 0;
	/* A frame without a buffer is not made, so it is not lost either: the wire waits for the driver. */
	available = nic->net->available(ring, (uint16_t)due);
	n = due < available ? due : available;
	generate_stamp(nic, pair, frames, n);
	n = vdp_port_deliver(nic, pair, frames, n);
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
		n += vdp_port_move(nic, pair, false);
	if (rx && nic->error.code == VDP_NIC_OK)
		n += generate_receive(nic, pair);
	if (nic->error.code == VDP_NIC_OK)
		nic->net->flush(rx, tx);
	return n;
}

const struct vdp_port_ops vdp_port_generate = {
    .init = generate_init,
    .fini = vdp_port_fini_pairs,
    .poll = generate_poll,
    .generates = true,
};
