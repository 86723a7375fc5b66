/* A driver's half for the tests: memory, rings and a NIC on them. Checks instead of returning errors. */
#ifndef VDP_RIG_H
#define VDP_RIG_H

#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "dma.h"
#include "nic.h"
#include "packed_ring.h"
#include "split_ring.h"

#define RIG_IOVA    0x10000000ull
#define RIG_BYTES   0x400000ull
#define RIG_QUEUES  4
#define RIG_BUFFERS 0x100000ull /* offset where buffers may lie */
#define RIG_PAGE    0x1000u
#define RIG_RX      0
#define RIG_TX      1

#define RIG_F_MRG      (1ull << 15)
#define RIG_F_INDIRECT (1ull << 28)
#define RIG_F_EVENT    (1ull << 29)
#define RIG_F_VERSION1 (1ull << 32)
#define RIG_F_PACKED   (1ull << 34)
#define RIG_F_IN_ORDER (1ull << 35)

struct rig_ring {
	struct vdp_split_desc *desc;
	struct vdp_split_avail *avail;
	struct vdp_split_used *used;
	struct vdp_packed_desc *packed; /* where desc is, and the areas where avail and used are */
	struct vdp_packed_event *driver, *device;
	struct vdp_queue_conf conf;
	uint16_t next; /* avail idx; of a packed ring the position */
	uint16_t back; /* packed: the position of the next used descriptor */
	int call, kick;
};

struct rig {
	struct vdp_nic *nic;
	struct vdp_dma *dma;
	int memfd, config_call;
	uint8_t *mem;
	bool event_idx, packed, in_order;
	struct rig_ring ring[RIG_QUEUES];
};

struct rig_conf {
	uint64_t features, high; /* bits 0 to 63, and from 64 on */
	uint16_t size;
	uint16_t start; /* last_avail; of a packed ring counted from its first position */
	uint32_t pairs, port, poll_us, generate_size;
	uint64_t generate_pps;
	bool unmapped;             /* the test maps memory itself */
	void *pages;               /* doorbell pages, RIG_PAGE apart */
	struct vdp_worker *worker; /* NULL: one of its own */
};

/* Rings are enabled and the NIC runs, but it is paused still. */
void rig_open(struct rig *rig, const struct rig_conf *conf);
void rig_close(struct rig *rig);
void rig_enable(struct rig *rig, uint32_t queue, uint16_t size, uint16_t start);

static inline uint64_t rig_iova(uint64_t offset)
{
	return RIG_IOVA + offset;
}

void rig_desc(struct rig *rig, uint32_t queue, uint16_t at, uint64_t iova, uint32_t length, uint16_t flags,
    uint16_t next);
void rig_offer(struct rig *rig, uint32_t queue, uint16_t head); /* one more in avail */
void rig_kick(struct rig *rig, uint32_t queue);
/* Kick as a driver does that offered one buffer: only if the NIC asked for it. Ref: 2.7.13.4 */
void rig_kick_if_wanted(struct rig *rig, uint32_t queue);
/* Packed: one descriptor more, with the flags of an offer; alone it is offered at once. */
void rig_packed(struct rig *rig, uint32_t queue, uint64_t iova, uint32_t length, uint16_t flags, uint16_t id);
/* Packed: wait, at most 5 s, for the next used descriptor, which stands for so many. */
struct vdp_packed_desc rig_packed_used(struct rig *rig, uint32_t queue, uint32_t slots);
bool rig_packed_is_used(struct rig *rig, uint32_t queue); /* the next one, now */
/* One descriptor, offered. */
void rig_buffer(struct rig *rig, uint32_t queue, uint16_t at, uint64_t offset, uint32_t length);
uint16_t rig_used(struct rig *rig, uint32_t queue);                /* used idx */
void rig_wait_used(struct rig *rig, uint32_t queue, uint16_t idx); /* at most 5 s */
void rig_wait_asleep(const struct rig *rig);                       /* the worker; at most 5 s */
void rig_wait_error(struct rig *rig, struct vdp_nic_error *error); /* at most 5 s */
void rig_expect(struct rig *rig, uint32_t code, uint32_t queue);   /* that very error */
uint64_t rig_take(int fd);                                         /* the count of an eventfd, now */
uint64_t rig_stat(const uint64_t *counter);
/* Payload that names itself. */
void rig_fill(uint8_t *at, uint32_t length, uint32_t seed);
bool rig_same(const uint8_t *at, uint32_t length, uint32_t seed);
/* 16-bit words added to a sum, folded: plainly, and not as the NIC does it. Ref: RFC 1071 */
uint32_t rig_sum(const uint8_t *data, uint32_t length, uint32_t sum);
void rig_sleep_ms(uint32_t ms);

#endif
