#include "envelope.h"

#include <string.h>

#include "net_header.h"

#define IP     14u
#define TCP    34u
#define SUM_AT 16u /* in the TCP header */

static void store16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t load16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

/* The sum of 16-bit words, folded. Ref: RFC 1071 */
static uint32_t add(const uint8_t *data, uint32_t length, uint32_t sum)
{
	uint64_t wide = sum;
	uint32_t at;

	for (at = 0; at + 2 <= length; at += 2)
		wide += load16(data + at);
	if (at < length)
		wide += (uint64_t)data[at] << 8;
	while (wide >> 16)
		wide = (wide & 0xffff) + (wide >> 16);
	return (uint32_t)wide;
}

static uint32_t pseudo(const uint8_t *frame, uint32_t length)
{
	return add(frame + IP + 12, 8, 6 + length - TCP);
}

void vdp_envelope_prepare(uint8_t *frame, uint32_t flow, const uint8_t *dst, const uint8_t *src)
{
	static const uint8_t ip[20] = {
	    0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 18, 0, 1, 198, 19, 0, 1}; /* RFC 2544 */

	memset(frame, 0, VDP_ENVELOPE);
	memcpy(frame, dst, 6);
	memcpy(frame + 6, src, 6);
	store16(frame + 12, 0x0800);
	memcpy(frame + IP, ip, sizeof(ip));
	store16(frame + TCP, 1024 + flow);
	store16(frame + TCP + 2, 1024 + flow);
	frame[TCP + 12] = 0x50;
	frame[TCP + 13] = 0x10;
}

void vdp_envelope_close(uint8_t *header, uint8_t *frame, uint32_t payload, uint32_t gso_size)
{
	uint32_t length = VDP_ENVELOPE + payload;
	const struct vdp_net_hdr says = {
	    .flags = VDP_HDR_NEEDS_CSUM,
	    .gso_type = gso_size ? VDP_GSO_TCPV4 : VDP_GSO_NONE,
	    .hdr_len = VDP_ENVELOPE,
	    .gso_size = (uint16_t)gso_size,
	    .csum_start = TCP,
	    .csum_offset = SUM_AT,
	};

	vdp_net_hdr_pack(&says, header);
	store16(frame + IP + 2, length - IP);
	store16(frame + IP + 10, 0);
	store16(frame + IP + 10, ~add(frame + IP, 20, 0));
	store16(frame + TCP + SUM_AT, pseudo(frame, length));
}

bool vdp_envelope_open(struct vdp_opened *ret, const uint8_t *header, const uint8_t *frame, uint32_t length)
{
	struct vdp_net_hdr says = vdp_net_hdr_unpack(header);

	if (length <= VDP_ENVELOPE || load16(frame + 12) != 0x0800 || frame[IP] != 0x45 ||
	    load16(frame + IP + 2) != length - IP || add(frame + IP, 20, 0) != 0xffff)
		return false;
	*ret = (struct vdp_opened){.payload = length - VDP_ENVELOPE, .size = length - VDP_ENVELOPE};
	ret->asked = vdp_net_hdr_set(&says);
	if (!ret->asked)
		return add(frame + TCP, length - TCP, pseudo(frame, length)) == 0xffff;
	if (says.gso_type == VDP_GSO_TCPV4)
		ret->size = says.gso_size;
	else if (says.gso_type != VDP_GSO_NONE)
		return false;
	return says.csum_start == TCP && says.csum_offset == SUM_AT && says.hdr_len == VDP_ENVELOPE &&
	       ret->size > 0 && load16(frame + TCP + SUM_AT) == pseudo(frame, length);
}
