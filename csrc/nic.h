/*
 * The software NIC's data path: a worker serves its virtqueues as a device would, through a software IOMMU.
 * Registers live in Python (vfiodpa/soft/); this is what lies behind them. One worker may serve many NICs. Of
 * a device with several workers each serves a NIC of its own, with some of the device's pairs (engine.py).
 *
 * Control calls marked [paused] are made between vdp_nic_pause and vdp_nic_resume by one control thread.
 * No function here needs Python, and no worker ever takes the GIL.
 */
#ifndef VDP_NIC_H
#define VDP_NIC_H

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"
#include "dma.h"
#include "filter.h"
#include "flow_rules.h"
#include "mutant.h"
#include "rss.h"
#include "worker.h"

#define VDP_NIC_MAX_PAIRS 128u

#define VDP_NIC_MAX_SIZES   16u      /* of generated frames */
#define VDP_LINK_RING_BYTES 0x81000u /* of one direction of one pair on a wire between two NICs */
/* The receive ring of a packet socket */
#define VDP_PACKET_FRAME  2048u
#define VDP_PACKET_BLOCK  65536u
#define VDP_PACKET_BLOCKS 16u

enum vdp_port {
	VDP_PORT_ECHO,
	VDP_PORT_DISCARD,
	VDP_PORT_GENERATE,
	VDP_PORT_TAP,
	VDP_PORT_PACKET,
	VDP_PORT_PCAP,
	VDP_PORT_LINK,
};

struct vdp_nic_conf {
	uint32_t pairs;   /* receive/transmit pairs; queue 2p receives, 2p + 1 transmits */
	uint32_t port;    /* enum vdp_port */
	uint32_t poll_us; /* poll this long after the last frame, then sleep; UINT32_MAX: never sleep */
	struct vdp_worker *worker; /* borrowed; NULL: one of its own */
	int32_t cpu;               /* where its own worker is pinned, or -1 */
	uint32_t generate_size;    /* bytes of a generated frame, 60 to 65535; the longest of a mix */
	uint32_t generate_mix;     /* sizes that take turns, or 0 */
	uint32_t generate_sizes[VDP_NIC_MAX_SIZES];
	uint32_t generate_flows; /* IPv4 and UDP frames of so many flows, or 0: frames of our own ethertype */
	uint64_t generate_pps;   /* frames a second and pair, 0: as fast as it goes */
	uint8_t mac[6];          /* destination of generated frames */
	/*
	 * Of a device with several workers: our pair p is its pair first_pair + p * pair_step (0: 1), and
	 * that is what the wire knows it by.
	 */
	uint32_t first_pair, pair_step;
	const int32_t *port_fds;     /* TAP and PACKET: of each of the device's pairs, O_NONBLOCK; borrowed */
	struct vdp_capture *capture; /* PCAP must have one; borrowed, or NULL */
	int32_t event_fd;            /* eventfd, signalled when vdp_nic_port_error changes; borrowed, or -1 */
	/*
	 * Doorbell pages, or NULL: those of pair p lie p * pair_stride bytes behind pages, that of its
	 * transmit queue another page_stride behind. Whoever can reach one rings by a store to its first
	 * bytes, which wakes nobody: the worker looks at them instead of sleeping. Borrowed.
	 */
	void *pages;
	uint32_t page_stride, pair_stride;
	uint32_t mutant; /* enum vdp_mutant: which rule it breaks, or 0 */
};

struct vdp_queue_conf {
	uint64_t desc, driver, device; /* iova of the ring's parts */
	uint16_t size;
	uint16_t last_avail; /* where to start; of a packed ring with the wrap counter in bit 15 */
};

/* Single writer: the queue's worker. Python reads it as numpy (vfiodpa/soft/stats.py has the twin). */
struct vdp_queue_stats {
	uint64_t packets, bytes;
	uint64_t dropped; /* no receive buffer, or a frame too long for it */
	uint64_t kicks;   /* wake-ups by the doorbell */
	uint64_t calls;   /* notifications sent */
	uint64_t calls_suppressed;
	uint64_t indirect;    /* chains with an indirect table */
	uint64_t errors;      /* ring or buffer errors: each stops the NIC */
	uint64_t page_kicks;  /* wake-ups by a store to the doorbell page; several stores may be one */
	uint64_t bad_headers; /* frames from the driver dropped for their virtio header (5.1.6.2) */
	uint64_t filtered;    /* frames from the wire that the driver's filters stopped */
	uint64_t mended;   /* frames whose checksum or segments we made, because the driver does not take the
			      offload */
	uint64_t too_long; /* frames from the wire that no MTU of the driver's allows (5.1.4.1) */
};

enum vdp_nic_error_code {
	VDP_NIC_OK,
	VDP_NIC_AVAIL_JUMP,   /* avail idx moved by more than the queue size */
	VDP_NIC_BAD_HEAD,     /* head or next not below the table's size */
	VDP_NIC_LOOP,         /* chain longer than the queue */
	VDP_NIC_BAD_INDIRECT, /* nested, with NEXT, empty, too long or not a multiple of 16 */
	VDP_NIC_BAD_ORDER,    /* readable after writable, or a buffer of the wrong direction */
	VDP_NIC_BAD_LENGTH,   /* no room for a header, or lengths that wrap */
	VDP_NIC_DMA_FAULT,    /* the IOMMU stopped an access: see the faults */
	VDP_NIC_MEMORY_GONE,  /* SIGBUS: the guest's memory was truncated */
	VDP_NIC_BAD_RING,     /* a part of the ring is not aligned */
	VDP_NIC_BAD_WRAP,     /* a chain runs into descriptors that are not available (packed) */
};

struct vdp_nic_error {
	uint32_t code;   /* enum vdp_nic_error_code; the first error wins until vdp_nic_reset */
	uint32_t queue;  /* that was served; of MEMORY_GONE in a copy between two queues, the receiving one */
	uint64_t detail; /* head, index, length or iova, as the code says */
};

struct vdp_nic;

/* It begins paused, and with it the worker: the first vdp_nic_resume lets it go. */
int vdp_nic_init(struct vdp_nic **ret, const struct vdp_nic_conf *conf);
void vdp_nic_fini(struct vdp_nic *nic); /* in any state; joins its own worker */

/*
 * Park the worker between two polls, and with it all NICs that it serves; nestable. -ETIMEDOUT when it does
 * not come to rest: then not paused.
 */
int vdp_nic_pause(struct vdp_nic *nic, uint32_t timeout_ms);
void vdp_nic_resume(struct vdp_nic *nic);

void vdp_nic_set_dma(struct vdp_nic *nic, struct vdp_dma *dma); /* [paused] borrowed */
/* [paused] bits 0 to 63, and those from 64 on */
void vdp_nic_set_features(struct vdp_nic *nic, uint64_t features, uint64_t high);
void vdp_nic_run(struct vdp_nic *nic, bool on); /* [paused] DRIVER_OK */
void vdp_nic_reset(struct vdp_nic *nic);   /* [paused] all queues off, no fds, no features, error cleared */
void vdp_nic_refresh(struct vdp_nic *nic); /* [paused] after a change of the DMA map: translate rings again */
void vdp_nic_set_active_pairs(struct vdp_nic *nic, uint32_t pairs); /* [paused] */

/*
 * [paused] What the driver says over its control queue; copied. A reset takes all of it away: no filter, no
 * hash, offloads as negotiated.
 */
void vdp_nic_set_filter(struct vdp_nic *nic, const struct vdp_filter *filter);
void vdp_nic_set_rss(struct vdp_nic *nic, const struct vdp_rss *rss);
/* [paused] The driver's flow filter, in front of all steering; copied. A reset takes it away. */
void vdp_nic_set_flow_rules(struct vdp_nic *nic, const struct vdp_flow_rules *rules);
/* Of one queue: notify after so many packets (0: however many) or microseconds (0: at once). Ref: 5.1.6.5.9
 */
void vdp_nic_set_calm(struct vdp_nic *nic, uint32_t queue, uint32_t packets, uint32_t usecs);
/* NET_GUEST_* bits that the driver takes from now on. Ref: 5.1.6.5.8 */
void vdp_nic_set_guest_offloads(struct vdp_nic *nic, uint64_t features, uint64_t high);

/*
 * [paused] Drop frames from the wire beyond this MTU, 0: whatever their length. A reset takes it away.
 * Ref: 5.1.4.1
 */
void vdp_nic_set_mtu(struct vdp_nic *nic, uint32_t mtu);

/*
 * [paused] Log the pages that packets are written to: bit n of the bitmap in [base, end) is page n of 4 KiB
 * of the IOVA space. end 0: off. A reset leaves it as it is.
 */
void vdp_nic_set_log(struct vdp_nic *nic, uint64_t base, uint64_t end);

/*
 * [paused] Ring errors (unmapped, unaligned) are reported as the NIC's error once it runs and touches the
 * ring, as hardware would. -EINVAL for a queue or a size that does not exist, -EBUSY when it is on.
 */
int vdp_nic_queue_enable(struct vdp_nic *nic, uint32_t queue, const struct vdp_queue_conf *conf);
void vdp_nic_queue_disable(struct vdp_nic *nic, uint32_t queue);   /* [paused] queue reset */
uint16_t vdp_nic_queue_avail(struct vdp_nic *nic, uint32_t queue); /* [paused] next to take, as last_avail */

/*
 * [paused] -1 takes one away. Must be eventfds, O_NONBLOCK. Call fds are borrowed: take them away before
 * closing them. Of a kick fd a duplicate is kept, so one fd may kick several queues; it is never read.
 */
int vdp_nic_set_kick(struct vdp_nic *nic, uint32_t queue, int fd);
void vdp_nic_set_call(struct vdp_nic *nic, uint32_t queue, int fd);
void vdp_nic_set_config_call(struct vdp_nic *nic, int fd);

/* Any thread. Was a call wanted of a queue without call fd since this was asked last? (What an ISR register
 * shows.) */
bool vdp_nic_take_unheard(struct vdp_nic *nic);

int vdp_nic_kick(struct vdp_nic *nic, uint32_t queue);        /* the doorbell, any thread */
int vdp_nic_doorbell_fd(struct vdp_nic *nic, uint32_t queue); /* eventfd that does it; owned by the NIC */

/* Deliver a frame (no virtio header) to the wire as if transmitted on a pair; one at a time, -EAGAIN when
 * busy. */
int vdp_nic_inject(struct vdp_nic *nic, uint32_t pair, const void *frame, uint32_t length);

/*
 * [paused] LINK: the wire to the other NIC. side 0 or 1: we transmit into ring 2p + side of shared memory and
 * receive from the other. wake and peer_wake: eventfds, one for each of the device's pairs. All borrowed
 * until detach.
 */
int vdp_nic_link_attach(
    struct vdp_nic *nic, void *memory, uint32_t side, const int32_t *wake, const int32_t *peer_wake);
void vdp_nic_link_detach(struct vdp_nic *nic);

/* Any thread. errno that keeps the port from moving frames, or 0. */
int vdp_nic_port_error(const struct vdp_nic *nic);

/* Any thread. */
const struct vdp_queue_stats *vdp_nic_queue_stats(const struct vdp_nic *nic, uint32_t queue);
const struct vdp_worker_stats *vdp_nic_worker_stats(const struct vdp_nic *nic); /* of all its NICs */
void vdp_nic_error(const struct vdp_nic *nic, struct vdp_nic_error *ret);
uint64_t vdp_tsc_hz(void); /* ticks a second of busy_cycles, 0 when there is no such counter */

#endif
