/* Whose frame is it: addresses and ports found in its first bytes, and the hash over them. */
#ifndef VDP_FLOW_H
#define VDP_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#define VDP_FLOW_HEAD 256u /* bytes that are looked at; what begins behind them is not found */

/* Offsets in the frame; 0: there is none. Nothing is found behind what does not fit the bytes given. */
struct vdp_flow {
	uint32_t network;   /* of the IP header */
	uint32_t transport; /* of the TCP or UDP header; not of fragments */
	uint16_t vlan;      /* of the outermost tag, 0 also without one */
	uint8_t protocol;   /* 6 or 17 with transport */
	uint8_t next; /* that the IP header, or the last extension header that is known, says comes behind */
	bool ipv6;
};

/* head: private memory. */
void vdp_flow_parse(struct vdp_flow *ret, const uint8_t *head, uint32_t length);

/* Bits of enabled_tunnel_types. Ref: virtio 1.3, 5.1.6.5.5 */
enum vdp_tunnel_type {
	VDP_TUNNEL_VXLAN = 16,
};

/*
 * Of a frame in a tunnel of one of these types (enum vdp_tunnel_type): where its inner headers are, in *flow.
 * Any other is left as it is.
 */
void vdp_flow_inner(struct vdp_flow *flow, const uint8_t *head, uint32_t length, uint32_t tunnels);

#define VDP_HASH_KEY 40u

/* Bits of hash_types, and the numbers of hash_report. Ref: virtio 1.3, 5.1.6.4.3 */
enum vdp_hash_type {
	VDP_HASH_IPV4 = 1,
	VDP_HASH_TCPV4 = 2,
	VDP_HASH_UDPV4 = 4,
	VDP_HASH_IPV6 = 8,
	VDP_HASH_TCPV6 = 16,
	VDP_HASH_UDPV6 = 32,
};

enum vdp_hash_report {
	VDP_REPORT_NONE,
	VDP_REPORT_IPV4,
	VDP_REPORT_TCPV4,
	VDP_REPORT_UDPV4,
	VDP_REPORT_IPV6,
	VDP_REPORT_TCPV6,
	VDP_REPORT_UDPV6,
};

/* Toeplitz over up to 36 bytes. */
uint32_t vdp_toeplitz(const uint8_t key[VDP_HASH_KEY], const uint8_t *data, uint32_t length);

/* The hash of the best type among types (enum vdp_hash_type); *report says which it was. */
uint32_t vdp_flow_hash(const struct vdp_flow *flow, const uint8_t *head, uint32_t types,
    const uint8_t key[VDP_HASH_KEY], uint16_t *report);

#endif
