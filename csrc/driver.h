/*
 * The driver's half of a virtqueue, split or packed (virtio 1.3, 2.7 and 2.8), over memory that we share with
 * a device.
 *
 * One thread at a time. The device is not trusted: what it writes is read once and checked, and a breach ends
 * the queue with an error. What the driver itself must know (free descriptors, chains) is kept privately.
 */
#ifndef VDP_DRIVER_H
#define VDP_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#define VDP_DRIVER_EVENT_IDX 1u
#define VDP_DRIVER_INDIRECT  2u /* chains of more than one buffer go through a table */
#define VDP_DRIVER_PACKED    4u
#define VDP_DRIVER_IN_ORDER  8u /* one used entry may tell of a batch */

struct vdp_driver_conf {
	/*
	 * Host addresses of the ring's parts; overwritten by init. Packed: descriptors, driver event area,
	 * device event area.
	 */
	void *desc, *avail, *used;
	void *tables; /* with INDIRECT: one table of table_len descriptors per head */
	uint64_t tables_gpa;
	uint16_t table_len;
	uint16_t size;  /* up to 32768; split: a power of two */
	uint16_t start; /* split: both indices; packed: the descriptor, and the wrap counter in bit 15 */
	uint16_t flags; /* VDP_DRIVER_* */
};

struct vdp_buf {
	uint64_t addr; /* guest physical */
	uint32_t len;
	uint32_t writable; /* by the device */
};

struct vdp_used {
	uint64_t cookie;
	uint32_t len;  /* bytes the device wrote */
	uint32_t head; /* packed: the buffer id */
};

enum vdp_driver_fault_code {
	VDP_DRIVER_OK,
	VDP_DRIVER_USED_JUMP,       /* used idx moved past what was made available; detail: by how much */
	VDP_DRIVER_BAD_ID,          /* used id not below the size; detail: the id */
	VDP_DRIVER_NOT_OUTSTANDING, /* used id that the device did not own; detail: the id */
	VDP_DRIVER_BAD_LENGTH,      /* used len exceeds the writable bytes; detail: the length */
	VDP_DRIVER_MEMORY_GONE,     /* SIGBUS (reported by traffic.h only) */
	VDP_DRIVER_OUT_OF_ORDER,    /* split: used id further on than the used index tells; detail: the id */
};

struct vdp_driver_state {
	uint16_t size, free;         /* descriptors */
	uint16_t avail_idx;          /* as published; packed: as in conf->start */
	uint16_t used_idx;           /* next to pop; packed: as in conf->start */
	uint32_t added, outstanding; /* chains: not yet published; owned by the device */
	uint32_t fault;              /* enum vdp_driver_fault_code */
	uint32_t fault_detail;
};

struct vdp_driver;

int vdp_driver_init(struct vdp_driver **ret, const struct vdp_driver_conf *conf);
void vdp_driver_fini(struct vdp_driver *drv);

/*
 * Add a chain, readable buffers first; the device sees it after publish. Returns its head, -ENOSPC when too
 * few descriptors are free, -EINVAL when the chain is empty or writable buffers precede readable ones.
 */
int vdp_driver_add(struct vdp_driver *drv, const struct vdp_buf *bufs, uint32_t count, uint64_t cookie);
int vdp_driver_next_head(const struct vdp_driver *drv);                 /* of the next add, or -ENOSPC */
uint32_t vdp_driver_room(const struct vdp_driver *drv, uint32_t count); /* chains of count */

/* Make added chains available; returns how many. Then ask whether the device wants to be notified of them. */
uint32_t vdp_driver_publish(struct vdp_driver *drv);
bool vdp_driver_must_kick(struct vdp_driver *drv);

/* Take up to max used chains; returns how many, or -EPROTO once the device broke the rules. */
int vdp_driver_pop(struct vdp_driver *drv, struct vdp_used *out, uint32_t max);

/*
 * Ask not to be notified; a hint. want_calls asks for a notification once more than `after` further chains
 * were used (without EVENT_IDX: of any; packed: maybe earlier) and returns false when that may have happened
 * already: pop again.
 */
void vdp_driver_no_calls(struct vdp_driver *drv);
bool vdp_driver_want_calls(struct vdp_driver *drv, uint16_t after);

void vdp_driver_state(const struct vdp_driver *drv, struct vdp_driver_state *ret);

/* Raw store (release) of a ring index, for tests that play a hostile driver. 0, or -EFAULT on SIGBUS. */
int vdp_ring_store16(void *addr, uint16_t value);

#endif
