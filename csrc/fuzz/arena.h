/*
 * The memory of a guest, for a device under test: areas that the software IOMMU maps, with gaps between them
 * that AddressSanitizer guards, a copy to compare with, and what a device may write.
 */
#ifndef VDP_FUZZ_ARENA_H
#define VDP_FUZZ_ARENA_H

#include "dma.h"
#include "input.h"

#define ARENA_QUEUES 2u
#define ARENA_PARTS  3u /* of a ring: descriptors, driver area, device area */

enum arena_area {
	ARENA_RINGS, /* three for each queue */
	ARENA_TABLES = ARENA_RINGS + ARENA_QUEUES * ARENA_PARTS,
	ARENA_TABLES_END, /* follows it at an odd place: a descriptor lies in both */
	ARENA_FIRST,
	ARENA_SECOND, /* follows it, in the address space only */
	ARENA_READ_ONLY,
	ARENA_WRITE_ONLY,
	ARENA_AREAS
};

#define ARENA_AREA_BYTES 4096u
#define ARENA_GAP        64u
#define ARENA_BYTES      (ARENA_AREAS * (ARENA_AREA_BYTES + ARENA_GAP))

/* What a device may do to a byte, or makes of it. */
#define ARENA_RING      1u /* may write it: used entries */
#define ARENA_STRUCTURE 2u /* reads it to learn what else to do */
#define ARENA_BUFFER    4u /* may write it: receive buffers */
#define ARENA_LOG       8u /* may write it: dirty log */

struct arena_region {
	uint64_t iova;
	uint32_t length, perm; /* perm 0: not mapped */
	uint8_t *host;
};

struct arena {
	struct vdp_dma *dma;
	struct arena_region region[ARENA_AREAS];
	uint8_t bytes[ARENA_BYTES] __attribute__((aligned(64)));
	uint8_t before[ARENA_BYTES];
	uint8_t marks[ARENA_BYTES];
	bool wild; /* one byte serves two purposes: what the device reads may change while it writes */
};

/* All areas; ring parts have these lengths, and with strict only the right a device needs. */
void arena_open(struct arena *arena, const uint32_t *ring_bytes, bool packed, bool strict);
void arena_close(struct arena *arena);
void arena_remap(struct arena *arena, uint32_t area, uint32_t perm);

/* Copy from what the device may read, or all of it is false. */
bool arena_read(const struct arena *arena, uint64_t iova, void *to, uint32_t length, uint32_t perm);
/* Mark what of [iova, iova + length) the device reaches with perm; returns how many bytes from the start on.
 */
uint32_t arena_mark(struct arena *arena, uint64_t iova, uint64_t length, uint32_t perm, uint8_t mark);
void arena_mark_host(struct arena *arena, const void *at, uint32_t length, uint8_t mark);

void arena_snapshot(struct arena *arena); /* and no marks */
/* Ends the process when a byte changed that the device may not write. */
void arena_check(const struct arena *arena);
/* Each page of a written buffer has its bit in the log; [base, end) is where that is. */
void arena_check_log(const struct arena *arena, uint64_t base, uint64_t end);

/* An address: mostly in an area with buffers to read or to write, or near one; sometimes anywhere. */
uint64_t arena_address(const struct arena *arena, struct fuzz_input *in, bool write);

#endif
