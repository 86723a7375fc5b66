/* One run of a driver's half: what its user did, by the specification, and where the device is
 * (driver_run.c). */
#ifndef VDP_FUZZ_DRIVER_STATE_H
#define VDP_FUZZ_DRIVER_STATE_H

#include <string.h>

#include "arena.h"
#include "driver.h"
#include "packed_ring.h"

#define RUN_MAX_SIZE  32u
#define RUN_TABLE     4u
#define RUN_MAX_BURST 40u

/* What the user gave away under an id. */
struct owned {
	uint64_t cookie;
	uint64_t serial;
	uint32_t writable;
	uint16_t length; /* descriptors; 0: not given away */
};

struct run {
	struct vdp_driver *driver;
	struct arena arena;
	struct vdp_driver_conf conf;
	uint8_t *desc, *avail, *used;
	bool packed;
	struct owned owned[RUN_MAX_SIZE];
	uint64_t serial, published, popped; /* chains */
	uint16_t next, avail_at;            /* packed: where chains go, where the published ones end */
	uint16_t used_at;                   /* where the next used entry is looked for */
	uint16_t device_at;                 /* where an honest device writes it */
	uint64_t device_serial;             /* IN_ORDER: the chain that it uses next */
	uint64_t batch;                     /* IN_ORDER: chains of the open batch that were not taken */
	uint32_t batch_length;              /* of its last chain */
	uint32_t fault;
};

static inline uint16_t load16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline void store(uint8_t *at, uint64_t value, uint32_t bytes)
{
	memcpy(at, &value, bytes);
}

static inline uint16_t advance(const struct run *run, uint16_t at, uint32_t n)
{
	return run->packed ? vdp_packed_advance(at, n, run->conf.size) : (uint16_t)(at + n);
}

static inline bool in_order(const struct run *run)
{
	return run->conf.flags & VDP_DRIVER_IN_ORDER;
}

/* The chain that was added as the n-th, if the user still waits for it; else the size. */
static inline uint32_t find_chain(const struct run *run, uint64_t serial)
{
	uint32_t id = 0;

	while (id < run->conf.size && (!run->owned[id].length || run->owned[id].serial != serial))
		id++;
	return id;
}

/* driver_device.c: give something back that was published; or lie. */
void device_honest(struct run *run, struct fuzz_input *in);
void device_lies(struct run *run, struct fuzz_input *in, uint8_t how);

#endif
