#include "mend.h"

#include "flow.h"

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u

#define IPV6_HEADER   40u
#define IPV6_FRAGMENT 44u /* next header */
#define FRAGMENT      8u  /* bytes of that header; and what all fragments but the last are multiples of */

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void store16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void add32(uint8_t *at, uint32_t n)
{
	n += (uint32_t)load16(at) << 16 | load16(at + 2);
	store16(at, n >> 16);
	store16(at + 2, n);
}

/* Of 16-bit words, not folded; up to 64 KiB. Ref: RFC 1071 */
static uint64_t add_words(const uint8_t *data, uint32_t length, uint64_t sum)
{
	uint32_t at;

	for (at = 0; at + 2 <= length; at += 2)
		sum += load16(data + at);
	return at < length ? sum + ((uint64_t)data[at] << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* 0 would say "no checksum" in UDP; both are the same number. */
static uint16_t never_zero(uint16_t sum)
{
	return sum ? sum : 0xffff;
}

void vdp_mend_checksum(uint8_t *frame, uint32_t length, const struct vdp_net_hdr *header)
{
	uint32_t start = header->csum_start;

	/* The field holds the sum of the pseudo header already (5.1.6.2). */
	store16(frame + start + header->csum_offset,
	    never_zero(fold(add_words(frame + start, length - start, 0))));
}

/* Everything behind the IP header. Refused: IPv6 with other headers there, of which some would stay in front.
 */
static bool fragments_init(struct vdp_segments *ret, uint32_t length)
{
	ret->fragments = true;
	ret->size &= ~(FRAGMENT - 1);
	ret->headers = ret->transport;
	ret->payload = length - ret->headers;
	if (ret->tcp || ret->size == 0 || length < ret->transport + 8)
		return false;
	if (ret->ipv6 && ret->transport != ret->network + IPV6_HEADER)
		return false;
	return ret->headers + FRAGMENT + ret->size <= UINT16_MAX;
}

bool vdp_segments_init(struct vdp_segments *ret, const uint8_t *frame, uint32_t length,
    const struct vdp_net_hdr *header, uint32_t id)
{
	uint8_t gso = header->gso_type & (uint8_t)~VDP_GSO_ECN;
	struct vdp_flow flow;
	uint32_t end;

	vdp_flow_parse(&flow, frame, length < VDP_FLOW_HEAD ? length : VDP_FLOW_HEAD);
	if (!flow.transport || (gso == VDP_GSO_TCPV4 && flow.ipv6) || (gso == VDP_GSO_TCPV6 && !flow.ipv6))
		return false;
	*ret = (struct vdp_segments){
	    .frame = frame,
	    .network = flow.network,
	    .transport = flow.transport,
	    .size = header->gso_size,
	    .id = id,
	    .ipv6 = flow.ipv6,
	    .tcp = flow.protocol == 6,
	};
	if (gso == VDP_GSO_UDP)
		return fragments_init(ret, length);
	if (ret->tcp != (gso != VDP_GSO_UDP_L4))
		return false;
	end = flow.transport + 8;
	if (ret->tcp) {
		if (flow.transport + 20 > length || frame[flow.transport + 12] >> 4 < 5)
			return false;
		end = flow.transport + (frame[flow.transport + 12] >> 4) * 4u;
	}
	/* 65535 is as long as an IP packet can say that it is. */
	if (end >= length || end - flow.network + ret->size > UINT16_MAX)
		return false;
	ret->headers = end;
	ret->payload = length - end;
	return true;
}

static void mend_network(const struct vdp_segments *segments, uint32_t index, uint8_t *to, uint32_t length)
{
	uint8_t *ip = to + segments->network;
	uint32_t header = segments->transport - segments->network;

	if (segments->ipv6) {
		store16(ip + 4, length - segments->network - 40);
		return;
	}
	store16(ip + 2, length - segments->network);
	store16(ip + 4, load16(ip + 4) + index);
	store16(ip + 10, 0);
	store16(ip + 10, fold(add_words(ip, header, 0)));
}

static void mend_tcp(uint32_t at, uint8_t *tcp, bool last)
{
	add32(tcp + 4, at);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (at > 0)
		tcp[13] &= (uint8_t)~TCP_CWR; /* said once, in the first. Ref: RFC 3168, 6.1.2 */
}

/* Ref: RFC 791, 3.2; every fragment has the whole IP header. */
static void mend_fragment4(
    const struct vdp_segments *segments, uint32_t at, bool last, uint8_t *ip, uint32_t length)
{
	store16(ip + 2, length);
	if (load16(ip + 4) == 0)
		store16(ip + 4, segments->id);
	store16(ip + 6, at / FRAGMENT | (last ? 0u : 0x2000u));
	store16(ip + 10, 0);
	store16(ip + 10, fold(add_words(ip, segments->headers - segments->network, 0)));
}

/* Ref: RFC 8200, 4.5 */
static void mend_fragment6(
    const struct vdp_segments *segments, uint32_t at, bool last, uint8_t *ip, uint32_t length)
{
	uint8_t *fragment = ip + IPV6_HEADER;

	store16(ip + 4, length - IPV6_HEADER);
	fragment[0] = ip[6];
	fragment[1] = 0;
	store16(fragment + 2, at | !last);
	store16(fragment + 4, segments->id >> 16);
	store16(fragment + 6, segments->id);
	ip[6] = IPV6_FRAGMENT;
}

static uint32_t cut_fragment(const struct vdp_segments *segments, uint32_t at, uint8_t *to)
{
	uint32_t left = segments->payload - at, n = left < segments->size ? left : segments->size;
	uint32_t headers = segments->headers + (segments->ipv6 ? FRAGMENT : 0), length = headers + n;
	uint8_t *ip = to + segments->network;

	memcpy(to, segments->frame, segments->headers);
	memcpy(to + headers, segments->frame + segments->headers + at, n);
	if (segments->ipv6)
		mend_fragment6(segments, at, left == n, ip, length - segments->network);
	else
		mend_fragment4(segments, at, left == n, ip, length - segments->network);
	return length;
}

static uint32_t cut_segment(const struct vdp_segments *segments, uint32_t at, uint8_t *to)
{
	uint32_t left = segments->payload - at, n = left < segments->size ? left : segments->size;
	uint32_t length = segments->headers + n, rest = length - segments->transport;
	uint32_t addresses = segments->ipv6 ? 8 : 12, addresses_length = segments->ipv6 ? 32 : 8;
	uint8_t *transport = to + segments->transport, *sum = transport + (segments->tcp ? 16 : 6);
	uint64_t pseudo = rest + (segments->tcp ? 6u : 17u);

	memcpy(to, segments->frame, segments->headers);
	memcpy(to + segments->headers, segments->frame + segments->headers + at, n);
	mend_network(segments, at / segments->size, to, length);
	if (segments->tcp)
		mend_tcp(at, transport, left == n);
	else
		store16(transport + 4, rest);
	store16(sum, 0);
	pseudo = add_words(to + segments->network + addresses, addresses_length, pseudo);
	store16(sum, never_zero(fold(add_words(transport, rest, pseudo))));
	return length;
}

uint32_t vdp_segments_cut(const struct vdp_segments *segments, uint32_t at, uint8_t *to)
{
	return segments->fragments ? cut_fragment(segments, at, to) : cut_segment(segments, at, to);
}
