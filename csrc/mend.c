#include "mend.h"

#include "flow.h"

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u
#define TCP     6u
#define UDP     17u
#define TCP_SUM 16u /* of the checksum, in the header */
#define UDP_SUM 6u

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
	if (ret->tcp || ret->outer_network || ret->size == 0 || length < ret->transport + 8)
		return false;
	if (ret->ipv6 && ret->transport != ret->network + IPV6_HEADER)
		return false;
	return ret->headers + FRAGMENT + ret->size <= UINT16_MAX;
}

/* From the outer headers to the inner ones, which are where the header says; false: they are not. */
static bool enter_tunnel(struct vdp_segments *ret, struct vdp_flow *flow, const uint8_t *frame,
    const struct vdp_net_hdr *header, const struct vdp_tunnel *tunnel)
{
	const uint8_t *inner = frame + tunnel->inner_nh;
	bool ipv6 = header->gso_type & VDP_GSO_TUNNEL_V6;
	uint8_t protocol = vdp_gso_kind(header->gso_type) == VDP_GSO_UDP_L4 ? UDP : TCP;

	if (header->csum_start + 8u > VDP_FLOW_HEAD) /* not found in a frame without a tunnel, either */
		return false;
	if (flow->protocol != UDP || flow->transport != tunnel->outer_th || inner[0] >> 4 != (ipv6 ? 6 : 4))
		return false;
	if (!ipv6 && (tunnel->inner_nh + (inner[0] & 15) * 4u != header->csum_start || inner[9] != protocol))
		return false;
	ret->outer_network = flow->network;
	ret->outer_transport = flow->transport;
	ret->outer_ipv6 = flow->ipv6;
	ret->outer_sum =
	    header->flags & VDP_HDR_TUNNEL_CSUM || load16(frame + flow->transport + UDP_SUM) != 0;
	*flow = (struct vdp_flow){
	    .network = tunnel->inner_nh, .transport = header->csum_start, .protocol = protocol, .ipv6 = ipv6};
	return true;
}

bool vdp_segments_init(struct vdp_segments *ret, const uint8_t *frame, uint32_t length,
    const struct vdp_net_hdr *header, const struct vdp_tunnel *tunnel, uint32_t id)
{
	uint8_t gso = vdp_gso_kind(header->gso_type);
	struct vdp_flow flow;
	uint32_t end, outermost;

	*ret = (struct vdp_segments){.frame = frame, .size = header->gso_size, .id = id};
	vdp_flow_parse(&flow, frame, length < VDP_FLOW_HEAD ? length : VDP_FLOW_HEAD);
	if (header->gso_type & VDP_GSO_TUNNEL && !enter_tunnel(ret, &flow, frame, header, tunnel))
		return false;
	if (!flow.transport || (gso == VDP_GSO_TCPV4 && flow.ipv6) || (gso == VDP_GSO_TCPV6 && !flow.ipv6))
		return false;
	ret->network = flow.network;
	ret->transport = flow.transport;
	ret->ipv6 = flow.ipv6;
	ret->tcp = flow.protocol == TCP;
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
	outermost = ret->outer_network ? ret->outer_network : flow.network;
	/* 65535 is as long as an IP packet can say that it is. */
	if (end >= length || end - outermost + ret->size > UINT16_MAX)
		return false;
	ret->headers = end;
	ret->payload = length - end;
	return true;
}

/* Lengths, numbers and sums of the IP header at ip, which has so many bytes and is of so many in all. */
static void mend_network(uint8_t *ip, bool ipv6, uint32_t header, uint32_t length, uint32_t index)
{
	if (ipv6) {
		store16(ip + 4, length - 40);
		return;
	}
	store16(ip + 2, length);
	store16(ip + 4, load16(ip + 4) + index);
	store16(ip + 10, 0);
	store16(ip + 10, fold(add_words(ip, header, 0)));
}

/* The checksum of TCP or UDP over all that is behind it. */
static uint16_t transport_sum(
    const uint8_t *ip, bool ipv6, const uint8_t *transport, uint32_t length, uint32_t protocol)
{
	uint64_t pseudo = add_words(ip + (ipv6 ? 8 : 12), ipv6 ? 32 : 8, length + protocol);

	return never_zero(fold(add_words(transport, length, pseudo)));
}

static void mend_tcp(uint32_t at, uint8_t *tcp, bool last)
{
	add32(tcp + 4, at);
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (at > 0)
		tcp[13] &= (uint8_t)~TCP_CWR; /* said once, in the first. Ref: RFC 3168, 6.1.2 */
}

static void mend_outer(const struct vdp_segments *segments, uint32_t index, uint8_t *to, uint32_t length)
{
	uint8_t *ip = to + segments->outer_network, *udp = to + segments->outer_transport;
	uint32_t header = segments->outer_transport - segments->outer_network,
		 rest = length - segments->outer_transport;

	mend_network(ip, segments->outer_ipv6, header, length - segments->outer_network, index);
	store16(udp + 4, rest);
	store16(udp + UDP_SUM, 0);
	if (segments->outer_sum)
		store16(udp + UDP_SUM, transport_sum(ip, segments->outer_ipv6, udp, rest, UDP));
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
	uint32_t index = at / segments->size;
	uint8_t *ip = to + segments->network, *transport = to + segments->transport;
	uint8_t *sum = transport + (segments->tcp ? TCP_SUM : UDP_SUM);

	memcpy(to, segments->frame, segments->headers);
	memcpy(to + segments->headers, segments->frame + segments->headers + at, n);
	mend_network(
	    ip, segments->ipv6, segments->transport - segments->network, length - segments->network, index);
	if (segments->tcp)
		mend_tcp(at, transport, left == n);
	else
		store16(transport + 4, rest);
	store16(sum, 0);
	store16(sum, transport_sum(ip, segments->ipv6, transport, rest, segments->tcp ? TCP : UDP));
	if (segments->outer_network)
		mend_outer(segments, index, to, length);
	return length;
}

uint32_t vdp_segments_cut(const struct vdp_segments *segments, uint32_t at, uint8_t *to)
{
	return segments->fragments ? cut_fragment(segments, at, to) : cut_segment(segments, at, to);
}
